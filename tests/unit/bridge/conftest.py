"""A Mosquitto and a Kafka of our own."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bridge_bench import DEAD, RAW, free_port, wait_for
from confluent_kafka import Producer

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    """Port of a real Mosquitto."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    port = free_port()
    configuration = tmp_path / "mosquitto.conf"
    configuration.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\n"
        "max_queued_messages 0\nmax_inflight_messages 1000\n",
        encoding="utf-8",
    )
    with subprocess.Popen(
        [MOSQUITTO, "-c", str(configuration)], stderr=subprocess.DEVNULL
    ) as process:
        wait_for(lambda: _listens(port))
        yield port
        process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def cluster() -> Iterator[str]:
    """Address of a mock Kafka broker inside librdkafka, with both topics."""
    broker = Producer({"test.mock.num.brokers": 1, "log_level": 3})
    for topic in (RAW, DEAD):
        broker.list_topics(topic, timeout=5)
    address = next(iter(broker.list_topics(timeout=5).brokers.values()))
    yield f"{address.host}:{address.port}"
    broker.flush(0)
