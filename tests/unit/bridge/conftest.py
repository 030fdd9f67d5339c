"""A Mosquitto and a Kafka of our own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from bridge_bench import DEAD, RAW, mosquitto
from confluent_kafka import Producer


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    """Port of a real Mosquitto."""
    with mosquitto(tmp_path, "max_queued_messages 0", "max_inflight_messages 1000") as port:
        yield port


@pytest.fixture
def cluster() -> Iterator[str]:
    """Address of a mock Kafka broker inside librdkafka, with both topics."""
    broker = Producer({"test.mock.num.brokers": 1, "log_level": 3})
    for topic in (RAW, DEAD):
        broker.list_topics(topic, timeout=5)
    address = next(iter(broker.list_topics(timeout=5).brokers.values()))
    yield f"{address.host}:{address.port}"
    broker.flush(0)
