"""What the bridge's tests share: waiting, free ports, messages, and a look into Kafka."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.services import free_port, listens
from bridge.clock import Stamp
from bridge.settings import Settings
from bridge.spool_file import Arrival, Entry

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
ROOT = Path(__file__).parents[3]
RAW = "sensor.raw"
DEAD = "sensor.dead_letter"
SECOND = 10**9
NOON = 1_795_500_000 * SECOND  # a time in 2026


@contextmanager
def mosquitto(folder: Path, *lines: str) -> Iterator[int]:
    """Run a real broker with lines of configuration; yield its port."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    port = free_port()
    configuration = folder / "mosquitto.conf"
    first = (f"listener {port} 127.0.0.1", "allow_anonymous true")
    configuration.write_text("\n".join([*first, *lines, ""]), encoding="utf-8")
    command = [MOSQUITTO, "-c", str(configuration)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: listens(port))
        try:
            yield port
        finally:
            process.terminate()


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def publish(port: int, payloads: list[bytes], qos: int = 1) -> None:
    """Publish, and wait until the broker has it all."""
    sensor = Client(CallbackAPIVersion.VERSION2, "sensor", protocol=MQTTv5)
    sensor.max_inflight_messages_set(1000)
    sensor.connect("127.0.0.1", port)
    sensor.loop_start()
    sent = [sensor.publish("sensors/s/d/telemetry", payload, qos=qos) for payload in payloads]
    for message in sent:
        message.wait_for_publish(30)
    sensor.disconnect()
    sensor.loop_stop()


def arrival(
    payload: bytes, packet_id: int = 0, *, repeated: bool = False, stamp: Stamp | None = None
) -> Arrival:
    now = stamp or Stamp(time.time_ns(), time.monotonic_ns(), "unsynchronised")
    return Arrival(b"sensors/s/d/telemetry", payload, now, packet_id, repeated)


def entry(payload: bytes, seq: int = 1) -> Entry:
    return Entry(seq, b"sensors/s/d/telemetry", payload, NOON, "unsynchronised", None, None)


def settings(folder: Path, **changes: Any) -> Settings:
    return Settings("127.0.0.1", "gw1", "127.0.0.1:1", spool_dir=str(folder), **changes)


@dataclass
class Gateway:
    """Clock and uptime that stand still until the test moves them."""

    wall: int = NOON
    uptime: int = 100 * SECOND

    def go_on(self, seconds: float) -> None:
        self.wall += int(seconds * SECOND)
        self.uptime += int(seconds * SECOND)


def read_all(address: str, topic: str, count: int) -> list[Any]:
    """Return what a topic has, waiting for so many records."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "test", "log_level": 3})
    partitions = consumer.list_topics(topic, timeout=5).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    messages: list[Any] = []
    deadline = time.monotonic() + 10
    while len(messages) < count and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            messages.append(message)
    consumer.close()
    return messages
