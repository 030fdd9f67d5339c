"""The bridge between a real MQTT broker and a real Kafka."""

import json
import shlex
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion
from testinfra.host import Host

from tools.exposure import exposure

# As the role's own health check has it.
SUBSCRIBED = "curl -sf 127.0.0.1:9101/metrics | grep -q '^bridge_mqtt_connected 1'"
DEADLINE = 180  # seconds within which what was sent must have arrived, on a busy machine too

# Prints each record of the topic with the mark in its MQTT topic, one JSON a line.
READ = """
import json, sys
from confluent_kafka import Consumer, TopicPartition
HOME = "/etc/edge-telemetry/tls/kafka"
c = Consumer({"bootstrap.servers": "127.0.0.1:9092", "group.id": "test", "log_level": 0,
              "security.protocol": "ssl", "ssl.ca.location": HOME + "/ca.pem",
              "ssl.certificate.location": HOME + "/keystore.pem",
              "ssl.key.location": HOME + "/keystore.pem"})
for number in c.list_topics("sensor.raw", timeout=20).topics["sensor.raw"].partitions:
    low, high = c.get_watermark_offsets(TopicPartition("sensor.raw", number), timeout=20)
    c.assign([TopicPartition("sensor.raw", number, low)])
    while low < high:
        record = c.poll(20)
        low = record.offset() + 1
        headers = {name: value.decode() for name, value in record.headers()}
        if sys.argv[1] in headers["mqtt_topic"]:
            print(json.dumps([record.key().decode(), record.value().hex(), headers]))
"""


class Record(NamedTuple):
    """A Kafka record of the topic."""

    key: str
    value: bytes
    headers: dict[str, str]


def records(host: Host, site: str) -> list[Record]:
    """Read what Kafka has of a site."""
    python = f"/opt/mqtt_bridge/current/bin/python -c {shlex.quote(READ)} /{site}/"
    found = [json.loads(line) for line in host.check_output(python).splitlines()]
    return [Record(key, bytes.fromhex(value), headers) for key, value, headers in found]


def await_values(host: Host, site: str, wanted: set[bytes]) -> list[Record]:
    """Wait until Kafka has all values of a site."""
    deadline = time.monotonic() + DEADLINE
    while True:
        found = records(host, site)
        missing = wanted - {record.value for record in found}
        if not missing or time.monotonic() > deadline:
            assert not missing, f"{len(missing)} of {len(wanted)} did not arrive"
            return found
        time.sleep(0.5)


class Device:
    """A sensor that publishes from outside of the host."""

    def __init__(self, host: Host) -> None:
        self.site = uuid.uuid4().hex
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.username_pw_set("device", "test-only-device")
        self._client.connect(str(host.check_output("hostname -I")).split()[0])
        self._client.loop_start()
        self._sent: list[MQTTMessageInfo] = []

    def publish(self, payload: bytes) -> None:
        topic = f"sensors/{self.site}/d1/telemetry"
        self._sent.append(self._client.publish(topic, payload, qos=1))

    def close(self) -> None:
        """Wait for the broker's acknowledgements."""
        for message in self._sent:
            message.wait_for_publish(DEADLINE)
            assert message.is_published()
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def kafka_away(host: Host) -> Iterator[None]:
    """Stop Kafka for a while."""
    host.check_output("systemctl stop kafka")
    try:
        yield
    finally:
        host.check_output("systemctl start kafka")
        # On a busy machine that takes a minute, and is not what is tested.
        await_on_host(host, "ss --listening --tcp --numeric | grep -q ':9092 '")


def await_on_host(host: Host, condition: str) -> None:
    """Wait until a shell command succeeds."""
    wait = f"until {condition}; do sleep 0.1; done"
    host.check_output(f"timeout 120 sh -c {shlex.quote(wait)}")


def kill_bridge(host: Host) -> None:
    """Kill the bridge while it works."""
    await_on_host(host, SUBSCRIBED)
    host.check_output("systemctl kill --signal=KILL mqtt-bridge")


def test_a_reading_arrives_untouched(host: Host) -> None:
    payloads = {b'{"device_id": "d1",  "temperature":21.50}', b"\x00\xff not json", b""}
    before = time.time_ns()
    device = Device(host)
    for payload in payloads:
        device.publish(payload)
    device.close()
    found = await_values(host, device.site, payloads)
    assert len(found) == len(payloads)
    for record in found:
        assert record.key == "d1"
        assert record.headers["mqtt_topic"] == f"sensors/{device.site}/d1/telemetry"
        assert record.headers["gateway"].startswith("mqtt-bridge-")
        assert before < int(record.headers["received_ns"]) < time.time_ns()
        assert record.headers["clock_quality"] in {"synchronised", "unsynchronised"}
        assert int(record.headers["spool_seq"]) > 0
        assert record.headers["spool_id"]


def test_readings_wait_while_kafka_is_away(host: Host) -> None:
    sent = {b"%d" % number for number in range(3000)}
    with kafka_away(host):
        device = Device(host)
        for payload in sent:
            device.publish(payload)
        device.close()
    await_values(host, device.site, sent)


def test_readings_are_acknowledged_and_survive_a_kill_while_kafka_is_away(host: Host) -> None:
    sent = {b"%d" % number for number in range(2000)}
    await_on_host(host, SUBSCRIBED)
    with kafka_away(host):
        device = Device(host)
        for number, payload in enumerate(sorted(sent)):
            device.publish(payload)
            if number == 999:
                kill_bridge(host)
        device.close()
        await_on_host(host, SUBSCRIBED)
        # The broker has nothing left to deliver, so all is acknowledged, and Kafka has none of it.
        in_flight = "curl -sf 127.0.0.1:9101/metrics | grep -q '^bridge_in_flight 0'"
        await_on_host(host, in_flight)
        waiting = "curl -sf 127.0.0.1:9101/metrics | awk '/^bridge_spool_records /{exit $2 < 2000}'"
        await_on_host(host, waiting)
    await_values(host, device.site, sent)


def test_the_gateway_starts_while_kafka_is_away(host: Host) -> None:
    with kafka_away(host):
        # Did it wait for Kafka, it would do so until the timeout of its unit.
        host.check_output("timeout 60 systemctl restart mqtt-bridge")
        await_on_host(host, SUBSCRIBED)
        await_on_host(host, "systemctl status mqtt-bridge | grep -q 'Waiting for Kafka'")
        device = Device(host)
        device.publish(b"before kafka")
        device.close()
    await_values(host, device.site, {b"before kafka"})


def test_a_killed_bridge_loses_nothing(host: Host) -> None:
    device = Device(host)
    sent = {b"%d" % number for number in range(4000)}
    for number, payload in enumerate(sorted(sent)):
        device.publish(payload)
        if number % 1000 == 999:
            kill_bridge(host)
    device.close()
    await_values(host, device.site, sent)
    await_on_host(host, SUBSCRIBED)


def test_the_password_is_not_in_the_environment(host: Host) -> None:
    pid = host.check_output("systemctl show --property=MainPID --value mqtt-bridge")
    assert "test-only" not in host.check_output(f"tr '\\0' ' ' < /proc/{pid}/environ")
    assert "test-only" not in host.check_output("systemctl show mqtt-bridge")


PAST = """\
[Service]
Environment=LD_PRELOAD={library}
Environment=FAKETIME_TIMESTAMP_FILE=/run/faketime
Environment=FAKETIME_NO_CACHE=1
Environment=FAKETIME_DONT_FAKE_MONOTONIC=1
"""


@contextmanager
def clock_in_the_past(host: Host) -> Iterator[None]:
    """Have the bridge start 400 days ago, as on a Raspberry Pi that was without power."""
    host.check_output("apt-get install --quiet --yes faketime")
    library = host.check_output("ls /usr/lib/*/faketime/libfaketimeMT.so.1")
    folder = "/run/systemd/system/mqtt-bridge.service.d"
    host.check_output(
        f"mkdir -p {folder} && printf %s {shlex.quote(PAST.format(library=library))} "
        f"> {folder}/past.conf && echo -400d > /run/faketime"
    )
    host.check_output("systemctl daemon-reload && systemctl restart mqtt-bridge")
    await_on_host(host, SUBSCRIBED)
    try:
        yield
    finally:
        host.check_output(f"rm {folder}/past.conf && systemctl daemon-reload")
        host.check_output("systemctl restart mqtt-bridge")
        await_on_host(host, SUBSCRIBED)


def test_readings_of_a_clock_in_the_past_wait_in_order_and_get_their_true_times(
    host: Host,
) -> None:
    if host.system_info.codename == "trixie":
        pytest.skip("libfaketime before 0.9.12 has a process spin in its timed waits")
    device = Device(host)
    device.publish(b"before the power cut")
    await_values(host, device.site, {b"before the power cut"})
    sent = [b"%d" % number for number in range(5)]
    with clock_in_the_past(host):
        times = []
        for payload in sent:
            times.append(time.time_ns())
            device.publish(payload)
            time.sleep(0.5)
        device.close()
        await_on_host(
            host, "curl -sf 127.0.0.1:9101/metrics | grep -q '^bridge_acknowledged_total 5'"
        )
        arrived = {record.value for record in records(host, device.site)}
        assert arrived == {b"before the power cut"}, "they did not wait for the clock"
        host.check_output("echo +0 > /run/faketime.new && mv /run/faketime.new /run/faketime")
        await_values(host, device.site, set(sent))
        # Some may be there twice: each start sends the replay window again.
        found = [
            record
            for record in records(host, device.site)
            if record.value in sent and "resent" not in record.headers
        ]
    assert [record.value for record in found] == sent
    assert {record.headers["clock_quality"] for record in found} == {"corrected"}
    received = [int(record.headers["received_ns"]) for record in found]
    assert received == sorted(received)
    # Ten seconds for a busy machine; its clock was 400 days off.
    assert all(0 < got - at < 10**10 for got, at in zip(received, times, strict=True))


def test_the_unit_is_confined(host: Host) -> None:
    assert exposure(host, "mqtt-bridge") <= 2.0
