"""Keys and contents of archive objects."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from spark_app.schema import READING_COLUMNS
from spark_app.sinks.archive import ArchiveWriter, ObjectStore, object_key
from spark_app.sinks.outcome import Outcome

START = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)
TIMES = {"time", "sensor_ts", "received_at", "appended_at", "read_at"}
TYPES: dict[str, pa.DataType] = {
    "seq": pa.int64(),
    "batch_id": pa.int64(),
    "kafka_partition": pa.int32(),
    "kafka_offset": pa.int64(),
    "payload_bytes": pa.int32(),
    "reason": pa.string(),
    "quality_flags": pa.list_(pa.string()),
} | dict.fromkeys(TIMES, pa.timestamp("us", "UTC"))


class FakeStore(ObjectStore):
    """Keeps objects in memory."""

    objects: dict[str, bytes]

    def put(self, key: str, body: bytes) -> None:
        """Keep an object."""
        self.objects[key] = body


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
        }
        for offset in offsets
    ]
    return pa.table({name: pa.array([r[name] for r in rows], TYPES.get(name)) for name in rows[0]})


def write(table: pa.Table) -> tuple[dict[str, bytes], Outcome]:
    store = FakeStore("http://core1:9000", "sensor-archive", "key", "secret", "us-east-1")
    object.__setattr__(store, "objects", {})
    outcome = ArchiveWriter(store)(table)
    return store.objects, outcome


def test_key_comes_from_the_first_record_and_the_offset_range() -> None:
    wanted = "sensor_data/date=2026-03-01/hour=23/sensor.raw-2-0-3.parquet"
    assert object_key(records([0, 1, 2, 3])) == wanted
    assert object_key(records([3, 1, 0, 2])) == wanted
    assert object_key(records([1, 2])).startswith("sensor_data/date=2026-03-02/hour=00/")


def test_one_object_per_partition_of_accepted_rows_only() -> None:
    table = pa.concat_tables([records([4, 5, 6], rejected=(4,)), records([9], partition=0)])
    objects, outcome = write(table)
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


def test_nothing_accepted_is_no_object() -> None:
    objects, outcome = write(records([1, 2], rejected=(1, 2)))
    assert not objects
    assert outcome.rejected == 2


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(ObjectStore("e", "b", "key", "secret", "r"))
