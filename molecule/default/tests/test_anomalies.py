"""Devices that misbehave, from the sensor to the table of anomalies and its topic."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from testinfra.host import Host

from simulator.devices import Device, make_devices
from simulator.publisher import Broker, Publisher
from telemetry.reading import Reading, encode
from telemetry.topics import telemetry_topic
from tools.hops import PUBLISHERS_PORT
from tools.pipeline import Pipeline, eventually

STEP = timedelta(minutes=5)
DAYS = 4  # the detector learns for three


def publish(pipeline: Pipeline, site: str, readings: list[Reading]) -> None:
    files = {name: Path(file) for name, file in pipeline.system.publisher().items()}
    broker = Broker(pipeline.system.gateway, PUBLISHERS_PORT, **files)
    publisher = Publisher(broker, max_in_flight=500, ack_seconds=30)
    publisher.connect()
    for reading in readings:
        publisher.publish(telemetry_topic(site, reading.device_id), encode(reading))
    publisher.finish()


def history(devices: list[Device]) -> Iterator[list[Reading]]:
    """Four days of readings of each device, up to now; the first and second misbehave."""
    rows = DAYS * timedelta(days=1) // STEP
    begin = datetime.now(UTC) - rows * STEP
    for number, device in enumerate(devices):
        readings = [device.read(begin + row * STEP) for row in range(rows)]
        if number == 0:
            stuck = readings[-31].temperature
            readings[-30:] = [replace(reading, temperature=stuck) for reading in readings[-30:]]
        if number == 1:
            readings[-10] = replace(readings[-10], temperature=readings[-10].temperature + 15)
            readings[-5] = replace(readings[-5], humidity=130.0)
        yield readings


def beats(pipeline: Pipeline, site: str, seconds: float) -> None:
    """One device goes on sending for so long; the other stops after a third of it."""
    began = time.monotonic()
    for seq in count():
        passed = time.monotonic() - began
        names = ["beating", "stopped"] if passed < seconds / 3 else ["beating"]
        now = datetime.now(UTC)
        publish(pipeline, site, [Reading(f"{site}-{name}", now, seq, 20.0, 50.0) for name in names])
        if passed > seconds:
            return
        time.sleep(0.1)


def test_misbehaving_devices_are_told_once(hosts: dict[str, Host], pipeline: Pipeline) -> None:
    site = pipeline.site("odd")
    topic = TopicPartition("sensor.anomalies", 0)
    consumer = Consumer({**pipeline.system.kafka("admin"), "group.id": "test-anomalies"})
    topic.offset = consumer.get_watermark_offsets(topic, timeout=20)[1]
    consumer.assign([topic])

    def found() -> set[tuple[str, str, str]]:
        statement = "SELECT device_id, quantity, kind FROM anomalies WHERE device_id LIKE %s"
        rows = pipeline.query(statement, f"{site}%")
        return {(device.removeprefix(f"{site}-"), *rest) for device, *rest in rows}

    devices = make_devices(site, 3, seed=7)
    for readings in history(devices):
        publish(pipeline, site, readings)
    beats(pipeline, site, 18)
    wanted = {
        ("0001", "temperature", "stuck"),
        ("0002", "temperature", "outlier"),
        ("0002", "humidity", "impossible"),
        ("stopped", "all", "silence"),
    }
    eventually("the anomalies", found, wanted.issubset)
    before = pipeline.query("SELECT count(*) FROM anomalies")
    gateways = pipeline.query(
        "SELECT DISTINCT gateway FROM anomalies WHERE device_id LIKE %s", f"{site}%"
    )
    assert gateways == [("gw1",)]

    # It starts anew where it last wrote down what it had learnt, and tells again what it told.
    hosts["core1"].check_output("systemctl kill --signal=KILL streaming-job")
    publish(pipeline, site, [replace(devices[2].read(datetime.now(UTC)), temperature=-60.0)])
    later = ("0003", "temperature", "impossible")
    eventually("what came later", found, lambda rows: later in rows, seconds=240)
    assert pipeline.query("SELECT count(*) FROM anomalies") == [(before[0][0] + 1,)]

    messages = consumer.consume(1000, timeout=5)
    told = [message.value() for message in messages if message.key().startswith(site.encode())]
    assert len(told) == len(set(told))
    assert (
        len(told)
        == pipeline.query("SELECT count(*) FROM anomalies WHERE device_id LIKE %s", f"{site}%")[0][
            0
        ]
    )
    consumer.close()
