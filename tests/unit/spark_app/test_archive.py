"""Keys and contents of archive objects."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from spark_app.schema import READING_COLUMNS
from spark_app.sinks.archive import ArchiveWriter, ObjectStore, object_key
from spark_app.sinks.archived import next_offsets, parse

START = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)
TIMES = {"time", "sensor_ts", "received_at", "appended_at", "read_at"}
TYPES: dict[str, pa.DataType] = {
    "seq": pa.int64(),
    "batch_id": pa.int64(),
    "kafka_partition": pa.int32(),
    "kafka_offset": pa.int64(),
    "payload_bytes": pa.int32(),
    "resent": pa.bool_(),
    "reason": pa.string(),
    "quality_flags": pa.list_(pa.string()),
} | dict.fromkeys(TIMES, pa.timestamp("us", "UTC"))


class FakeStore(ObjectStore):
    """Keeps objects in memory."""

    objects: dict[str, bytes]

    def put(self, key: str, body: bytes) -> None:
        """Keep an object."""
        self.objects[key] = body

    def get(self, name: str) -> bytes:
        """Return an object."""
        return self.objects[name]

    def names(self, prefix: str, start_after: str = "") -> Iterator[str]:
        """Yield names as S3 does."""
        for name in sorted(self.objects):
            if name.startswith(prefix) and name > start_after:
                yield name


def records(offsets: list[int], *, partition: int = 2, rejected: tuple[int, ...] = ()) -> pa.Table:
    rows: list[dict[str, Any]] = [
        dict.fromkeys(READING_COLUMNS)
        | {
            "time": START,
            "device_id": "a",
            "appended_at": START + timedelta(seconds=offset),
            "kafka_partition": partition,
            "kafka_offset": offset,
            "kafka_topic": "sensor.raw",
            "reason": "not_json" if offset in rejected else None,
            "payload_bytes": 100,
            "received_at": START,
            "seq": offset,
            "resent": False,
        }
        for offset in offsets
    ]
    return pa.table({name: pa.array([r[name] for r in rows], TYPES.get(name)) for name in rows[0]})


@pytest.fixture
def store() -> FakeStore:
    """Return an empty store."""
    empty = FakeStore("http://core1:9000", "sensor-archive", "key", "secret", "us-east-1")
    object.__setattr__(empty, "objects", {})
    return empty


def again(table: pa.Table, offsets: list[int]) -> pa.Table:
    """Return the same readings under other offsets, marked as sent again."""
    replaced = {
        "kafka_offset": pa.array(offsets, pa.int64()),
        "resent": pa.array([True] * len(offsets)),
    }
    for name, column in replaced.items():
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def archived_seqs(store: FakeStore) -> list[int]:
    tables = [parquet.read_table(io.BytesIO(body)) for body in store.objects.values()]
    return sorted(pa.concat_tables(tables)["seq"].to_pylist())


def test_key_comes_from_the_first_record_and_the_offset_range() -> None:
    wanted = "sensor_data/date=2026-03-01/hour=23/sensor.raw-2-0-3.parquet"
    assert object_key(records([0, 1, 2, 3])) == wanted
    assert object_key(records([3, 1, 0, 2])) == wanted
    assert object_key(records([1, 2])).startswith("sensor_data/date=2026-03-02/hour=00/")


def test_one_object_per_partition_of_accepted_rows_only(store: FakeStore) -> None:
    table = pa.concat_tables([records([4, 5, 6], rejected=(4,)), records([9], partition=0)])
    outcome = ArchiveWriter(store)(table)
    objects = store.objects
    assert set(objects) == {
        "sensor_data/date=2026-03-02/hour=00/sensor.raw-2-4-6.parquet",
        "sensor_data/date=2026-03-02/hour=00/sensor.raw-0-9-9.parquet",
    }
    assert (outcome.rows_in, outcome.stored, outcome.rejected, outcome.objects) == (4, 3, 1, 2)
    written = parquet.read_table(io.BytesIO(next(iter(objects.values()))))
    assert written.column_names == list(READING_COLUMNS)
    assert written["kafka_offset"].to_pylist() == [5, 6]
    assert written.schema.metadata[b"schema_version"] == b"1"
    assert written.schema.field("time").type == pa.timestamp("us", "UTC")


def test_nothing_accepted_is_no_object(store: FakeStore) -> None:
    outcome = ArchiveWriter(store)(records([1, 2], rejected=(1, 2)))
    assert not store.objects
    assert outcome.rejected == 2


def test_what_is_sent_again_is_archived_once(store: FakeStore) -> None:
    write = ArchiveWriter(store)
    write(records([0, 1, 2, 3]))
    lost_by_kafka = records([4, 5])
    copies = again(pa.concat_tables([records([2, 3]), lost_by_kafka]), [4, 5, 6, 7])
    mixed = pa.concat_tables([copies, again(lost_by_kafka, [8, 9]), records([10])])
    outcome = write(mixed)
    assert archived_seqs(store) == [0, 1, 2, 3, 4, 5, 10]
    assert (outcome.stored, outcome.duplicate) == (3, 4)
    before = dict(store.objects)
    assert write(mixed).duplicate == 4, "a batch that runs again does not meet its own object"
    assert store.objects == before


def test_a_log_that_lost_its_end_makes_no_doubles(store: FakeStore) -> None:
    write = ArchiveWriter(store)
    write(records([0, 1, 2, 3]))
    write(again(records([1, 2, 3]), [2, 3, 4]))  # Kafka had lost offsets 2 and 3
    assert archived_seqs(store) == [0, 1, 2, 3]


def test_a_copy_finds_the_original_in_an_object_filed_under_an_earlier_hour(
    store: FakeStore,
) -> None:
    write = ArchiveWriter(store)
    original = records([0, 7200])  # one object, which begins two hours before its last record
    write(original)
    times = pa.array([START, START + timedelta(hours=2)], TYPES["time"])
    for name in ("time", "received_at"):
        original = original.set_column(original.column_names.index(name), name, times)
    store.objects.clear()
    write(original)
    write(again(original.slice(1), [9000]))
    assert archived_seqs(store) == [0, 7200]


def test_unmarked_readings_are_not_looked_up(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeStore, "names", pytest.fail)
    ArchiveWriter(store)(records([1, 2]))
    assert archived_seqs(store) == [1, 2]


def test_next_offsets_are_read_from_the_names(store: FakeStore) -> None:
    write = ArchiveWriter(store)
    write(pa.concat_tables([records([0, 1]), records([0, 4], partition=0)]))
    write(records([2, 9]))
    assert next_offsets(store, "sensor.raw") == {0: 5, 2: 10}
    assert next_offsets(store, "another") == {}
    assert parse("sensor_data/readme.txt") is None


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(ObjectStore("e", "b", "key", "secret", "r"))
