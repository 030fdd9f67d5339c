"""Records as Spark's Kafka source gives them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import Row

ARRIVAL = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)

SOURCE_SCHEMA = (
    "key binary, value binary, topic string, partition int, offset bigint, timestamp timestamp, "
    "timestampType int, headers array<struct<key: string, value: binary>>"
)


@dataclass(frozen=True)
class Record:
    """A Kafka record; the gateway received it at ARRIVAL, Kafka appended it 50 ms later."""

    value: bytes | None
    topic: bytes | None = b"sensors/lab/dev1/telemetry"
    gateway: bytes | None = b"gw1"
    received_ns: bytes | None = str(int(ARRIVAL.timestamp()) * 10**9).encode()
    more: tuple[tuple[str, bytes], ...] = ()

    def row(self, offset: int) -> tuple[Any, ...]:
        """Return it as a row of the source."""
        named = {
            "mqtt_topic": self.topic,
            "gateway": self.gateway,
            "received_ns": self.received_ns,
        }
        headers = [(name, value) for name, value in named.items() if value is not None]
        headers += self.more
        appended = ARRIVAL.replace(microsecond=50_000)
        return (b"dev1", self.value, "sensor.raw", 0, offset, appended, 1, headers or None)


Decode = Callable[[list[Record]], list[Row]]
