"""What Kafka holds of a span of time, record by record."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from spark_app.audit import COLUMNS, Span, typed
from spark_app.sinks.outcome import require
from telemetry import headers
from telemetry.kafka import KafkaAddress
from telemetry.topics import parse_topic

_TIMEOUT_SECONDS = 30.0
_AT_ONCE = 10_000
# Offsets that lie closer are read in one go.
_GAP = 100


@dataclass(frozen=True)
class Kafka:
    """The topic of raw records and the one of dead letters."""

    address: KafkaAddress
    topic: str
    dead_letter_topic: str

    def offsets(self, span: Span) -> pd.MultiIndex:
        """Return partition and offset of each record."""
        return pd.MultiIndex.from_tuples(
            [
                (partition, offset)
                for partition, (low, high) in self._ends(span).items()
                for offset in range(low, high)
            ],
            names=["kafka_partition", "kafka_offset"],
        )

    def hours(self, span: Span) -> dict[datetime, int]:
        """Return how many records were appended in each hour."""
        counts: dict[datetime, int] = {}
        start = span.start
        while start < span.end:
            part = Span(start, min(start + timedelta(hours=1), span.end))
            counts[start] = sum(high - low for low, high in self._ends(part).values())
            start = part.end
        return counts

    def dead_letters(self) -> pd.MultiIndex:
        """Return partition and offset of the records that the dead letters are of."""
        names = (headers.ORIGIN_PARTITION, headers.ORIGIN_OFFSET)
        found = []
        for record in self.all_dead_letters():
            known = record_headers(record)
            # The bridge's own letters have no origin in Kafka.
            if all(name in known for name in names):
                found.append(tuple(int(known[name]) for name in names))
        return pd.MultiIndex.from_tuples(found, names=["kafka_partition", "kafka_offset"])

    def all_dead_letters(self) -> list[Any]:
        """Return the records of the dead letter topic."""
        return self._consume(self.dead_letter_topic, self._all(self.dead_letter_topic))

    def offsets_at(self, moment: datetime) -> dict[int, int]:
        """Return for each partition the offset of the first record from then on."""
        places = self._ends(Span(moment, moment))
        return {partition: low for partition, (low, _) in places.items()}

    def read(self, places: pd.MultiIndex) -> pd.DataFrame:
        """Return COLUMNS of records, as far as a sensor's own time and number tell them."""
        wanted: dict[int, list[int]] = {}
        for partition, offset in sorted(places):
            wanted.setdefault(partition, []).append(offset)
        exact = set(places)
        rows = [
            _reading(record)
            for partition, offsets in wanted.items()
            for run in _runs(offsets)
            for record in self._consume(self.topic, {partition: (run[0], run[-1] + 1)})
            if (partition, record.offset()) in exact
        ]
        return typed(pd.DataFrame(rows, columns=COLUMNS))

    def _ends(self, span: Span) -> dict[int, tuple[int, int]]:
        kafka = require("confluent_kafka", "confluent-kafka")
        present = self._all(self.topic)
        consumer = self._consumer()
        result: dict[int, list[int]] = {}
        for moment in (span.start, span.end):
            wanted = [
                kafka.TopicPartition(self.topic, number, int(moment.timestamp() * 1000))
                for number in present
            ]
            for place in consumer.offsets_for_times(wanted, timeout=_TIMEOUT_SECONDS):
                # Negative: no record is as new as that.
                offset = place.offset if place.offset >= 0 else present[place.partition][1]
                result.setdefault(place.partition, []).append(offset)
        consumer.close()
        return {partition: (low, high) for partition, (low, high) in result.items()}

    def _all(self, topic: str) -> dict[int, tuple[int, int]]:
        kafka = require("confluent_kafka", "confluent-kafka")
        consumer = self._consumer()
        found = {
            number: consumer.get_watermark_offsets(
                kafka.TopicPartition(topic, number), timeout=_TIMEOUT_SECONDS
            )
            for number in consumer.list_topics(topic, timeout=_TIMEOUT_SECONDS)
            .topics[topic]
            .partitions
        }
        consumer.close()
        return found

    def _consume(self, topic: str, places: Mapping[int, tuple[int, int]]) -> list[Any]:
        """Return the records of a topic from one offset to another, in each partition."""
        kafka = require("confluent_kafka", "confluent-kafka")
        consumer = self._consumer()
        records = []
        for number, (low, high) in places.items():
            consumer.assign([kafka.TopicPartition(topic, number, low)])
            next_offset = low
            while next_offset < high:
                most = min(high - next_offset, _AT_ONCE)
                batch = consumer.consume(most, timeout=_TIMEOUT_SECONDS)
                if not batch:
                    place = f"{topic}-{number} from offset {next_offset}"
                    message = f"Kafka {self.address.servers} gives nothing of {place}: is it up?"
                    raise TimeoutError(message)
                records += batch
                next_offset = batch[-1].offset() + 1
        consumer.close()
        return records

    def _consumer(self) -> Any:  # noqa: ANN401 - confluent_kafka has no types
        kafka = require("confluent_kafka", "confluent-kafka")
        return kafka.Consumer({**self.address.librdkafka(), "group.id": "reconcile"})


def _runs(offsets: Sequence[int]) -> list[list[int]]:
    """Group ascending offsets that lie close together."""
    runs: list[list[int]] = []
    for offset in offsets:
        if runs and offset - runs[-1][-1] <= _GAP:
            runs[-1].append(offset)
        else:
            runs.append([offset])
    return runs


def record_headers(record: Any) -> dict[str, str]:  # noqa: ANN401 - confluent_kafka has no types
    """Return a record's headers as text."""
    return {name: value.decode() for name, value in record.headers() or []}


def _reading(record: Any) -> dict[str, object]:  # noqa: ANN401
    """Return what a record says of itself; its gateway's time where it has none of its own."""
    known = record_headers(record)
    parts = parse_topic(known.get(headers.MQTT_TOPIC, ""))
    received = pd.Timestamp(int(known.get(headers.RECEIVED_NS, 0)) // 1000, unit="us", tz="UTC")
    try:
        document = json.loads(record.value() or b"{}")
        time = pd.Timestamp(document["ts"]) if isinstance(document.get("ts"), str) else received
    except (ValueError, AttributeError):
        document, time = {}, received
    number = document.get("seq")
    return {
        "device_id": parts.device if parts else "",
        "time": time if time.tzinfo else received,
        "seq": number if isinstance(number, int) else -1,
        "kafka_partition": record.partition(),
        "kafka_offset": record.offset(),
        "appended_at": pd.Timestamp(record.timestamp()[1], unit="ms", tz="UTC"),
    }
