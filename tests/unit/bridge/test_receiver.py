"""The MQTT side and the whole service, with a real Mosquitto on a free port of this machine."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from prometheus_client import CollectorRegistry

from bridge.metrics import Metrics
from bridge.receiver import Receiver
from bridge.relay import Record
from bridge.settings import Settings

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")

ROOT = Path(__file__).parents[3]


class Hold:
    """An outlet that takes records and leaves it to the test when they are settled."""

    def __init__(self) -> None:
        self.taken: list[tuple[Record, Callable[[], None]]] = []
        self.abandoned = 0

    def send(self, record: Record, settled: Callable[[], None]) -> None:
        self.taken.append((record, settled))

    def abandon(self) -> None:
        self.abandoned += 1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    """Port of a Mosquitto of our own."""
    port = free_port()
    configuration = tmp_path / "mosquitto.conf"
    configuration.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\n"
        "max_queued_messages 0\nmax_inflight_messages 1000\n",
        encoding="utf-8",
    )
    with subprocess.Popen(
        [str(MOSQUITTO), "-c", str(configuration)], stderr=subprocess.DEVNULL
    ) as process:
        wait_for(lambda: _listens(port))
        yield port
        process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def publish(port: int, payloads: list[bytes], qos: int = 1) -> None:
    sensor = Client(CallbackAPIVersion.VERSION2, "sensor", protocol=MQTTv5)
    sensor.connect("127.0.0.1", port)
    sensor.loop_start()
    for payload in payloads:
        sensor.publish("sensors/s/d/telemetry", payload, qos=qos).wait_for_publish(5)
    sensor.disconnect()
    sensor.loop_stop()


class Bench:
    """A receiver on a broker."""

    def __init__(self, port: int, max_in_flight: int = 1000) -> None:
        self.hold = Hold()
        self.registry = CollectorRegistry()
        self.failures: list[str] = []
        settings = Settings("127.0.0.1", "gw1", "k", mqtt_port=port, max_in_flight=max_in_flight)
        self.receiver = Receiver(settings, self.hold, Metrics(self.registry), self.failures.append)
        self.receiver.start()
        wait_for(self.receiver.subscribed.is_set)

    def acknowledged(self) -> float:
        return self.registry.get_sample_value("bridge_acknowledged_total") or 0

    def cut(self) -> None:
        """Break the receiver's connection, and wait until it is back."""
        connection = self.receiver._client.socket()  # noqa: SLF001
        assert isinstance(connection, socket.socket)
        connection.shutdown(socket.SHUT_RDWR)
        wait_for(lambda: not self.receiver.subscribed.is_set())
        wait_for(self.receiver.subscribed.is_set)

    def values(self) -> list[bytes]:
        return [record.value for record, _ in self.hold.taken]


def test_unacknowledged_messages_come_again_and_old_settlements_count_for_nothing(
    broker: int,
) -> None:
    bench = Bench(broker)
    payloads = [b"%d" % number for number in range(5)]
    publish(broker, payloads)
    wait_for(lambda: len(bench.hold.taken) == 5)
    bench.cut()
    wait_for(lambda: len(bench.hold.taken) == 10)
    assert bench.values() == payloads * 2
    assert bench.hold.abandoned >= 1

    for _, settled in bench.hold.taken[:5]:  # late, from the connection that is gone
        settled()
    bench.receiver.acknowledge()
    assert bench.acknowledged() == 0

    for _, settled in reversed(bench.hold.taken[5:]):
        assert bench.acknowledged() == 0
        settled()
        bench.receiver.acknowledge()
    assert bench.acknowledged() == 5

    time.sleep(0.3)  # for the PUBACKs to leave
    bench.cut()
    time.sleep(0.3)
    assert len(bench.hold.taken) == 10, "an acknowledged message came again"
    bench.receiver.close()
    assert bench.failures == []


def test_the_broker_holds_back_what_exceeds_the_window(broker: int) -> None:
    bench = Bench(broker, max_in_flight=3)
    publish(broker, [b"%d" % number for number in range(8)])
    time.sleep(0.3)
    assert bench.values() == [b"0", b"1", b"2"]
    for position in range(8):
        wait_for(lambda position=position: len(bench.hold.taken) > position)  # type: ignore[misc]
        bench.hold.taken[position][1]()
        bench.receiver.acknowledge()
    assert bench.values() == [b"%d" % number for number in range(8)]
    bench.receiver.close()


def test_a_qos_0_message_goes_on_without_acknowledgement(broker: int) -> None:
    bench = Bench(broker)
    publish(broker, [b"{}"], qos=0)
    wait_for(lambda: bench.hold.taken)
    bench.hold.taken[0][1]()
    bench.receiver.acknowledge()
    assert bench.acknowledged() == 0
    bench.receiver.close()


def test_what_comes_while_stopping_waits_for_the_next_start(broker: int) -> None:
    bench = Bench(broker)
    bench.receiver.stop_receiving()
    publish(broker, [b"late"])
    time.sleep(0.3)
    assert bench.hold.taken == []
    bench.receiver.close()
    again = Bench(broker)
    wait_for(lambda: again.values() == [b"late"])
    again.receiver.close()


@pytest.fixture
def service(broker: int, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start `python -m bridge` with a Kafka address; its log is bridge.log in tmp_path."""
    started: list[subprocess.Popen[bytes]] = []

    def start(kafka: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "BRIDGE_MQTT_HOST": "127.0.0.1",
            "BRIDGE_MQTT_PORT": str(broker),
            "BRIDGE_GATEWAY": "gw1",
            "BRIDGE_KAFKA_BOOTSTRAP_SERVERS": kafka,
            "BRIDGE_METRICS_PORT": str(free_port()),
        }
        with (tmp_path / "bridge.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "bridge"], cwd=ROOT, env=environment, stderr=log
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_kafka_away_then_back_nothing_is_lost(
    broker: int, service: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    log = tmp_path / "bridge.log"
    first = service("127.0.0.1:1")
    wait_for(lambda: "mqtt_connected" in log.read_text())
    time.sleep(0.3)
    publish(broker, [b"%d" % number for number in range(20)])
    first.kill()  # no farewell at all: the broker has had no acknowledgement
    first.wait()

    kafka = Producer({"test.mock.num.brokers": 1, "log_level": 3})
    for topic in ("sensor.raw", "sensor.dead_letter"):
        kafka.list_topics(topic, timeout=5)
    address = next(iter(kafka.list_topics(timeout=5).brokers.values()))
    second = service(f"{address.host}:{address.port}")
    wait_for(lambda: "event=ready" in log.read_text())
    time.sleep(0.5)
    second.send_signal(signal.SIGTERM)
    assert second.wait(15) == 0
    assert "event=stopped unsent=0" in log.read_text()
    assert _offsets(f"{address.host}:{address.port}") == 20

    after = Bench(broker)
    time.sleep(0.3)
    assert after.values() == [], "an acknowledged message came again"
    after.receiver.close()


def _offsets(address: str) -> int:
    consumer = Consumer({"bootstrap.servers": address, "group.id": "test", "log_level": 3})
    partitions = consumer.list_topics("sensor.raw", timeout=5).topics["sensor.raw"].partitions
    ends = [
        consumer.get_watermark_offsets(TopicPartition("sensor.raw", partition), timeout=5)[1]
        for partition in partitions
    ]
    consumer.close()
    return sum(ends)


def test_wrong_settings_are_named_and_end_with_2() -> None:
    environment = {name: value for name, value in os.environ.items() if "BRIDGE" not in name}
    outcome = subprocess.run(
        [sys.executable, "-m", "bridge"],
        cwd=ROOT,
        env=environment | {"BRIDGE_MAX_IN_FLIGHT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 2
    assert "BRIDGE_MQTT_HOST is not set" in outcome.stderr
    assert "expected a whole number from 1 to 65535" in outcome.stderr
