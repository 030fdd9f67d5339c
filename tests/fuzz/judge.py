"""Sends cases through the job's real decoder in Spark and looks for what must not come out."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the customary name

from spark_app.decode import decode
from spark_app.schema import CONTROL_COLUMNS, READING_COLUMNS
from spark_app.transforms import add_devices, enrich
from tests.fuzz.compare import differences
from tests.fuzz.corpus import split
from tests.fuzz.expected import expect

_RECEIVED = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
_HEADER = pa.struct([("key", pa.string()), ("value", pa.binary())])
_NO_DEVICES = "device_id string, site string, room string, model string"

# Charts and roll-ups have no use for infinity and NaN.
_REALS = ("temperature", "humidity", "dew_point", "absolute_humidity")
_TEXTS = ("device_id", "site", "gateway", "measurements")
# As an escape; after an even number of backslashes, which are some themselves.
_JSON_NUL = r"(?:^|[^\\])(?:\\\\)*\\u0000"
_COMPARED = ["value", "reason", "site", "device_id", "seq", *_REALS[:2], "measurements"]
_NEVER_NULL = ("time", "device_id", "site", "seq", "measurements", "quality_flags", "appended_at")

Sink = Callable[[pa.Table], None]


@dataclass
class Judge:
    """Judges batches of cases and counts.

    Attributes:
        sink: takes the decoded records as well, and raises if it cannot keep them.
        reasons: how many records were refused for each reason; None: readings.
        faults: what was wrong, in words with the case; empty if all is well.
        unknown: cases of which `expect` says nothing.
    """

    spark: SparkSession
    sink: Sink | None = None
    reasons: Counter[str | None] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    unknown: int = 0
    judged: int = 0

    def judge(self, cases: Sequence[bytes]) -> None:
        """Judge a batch of cases."""
        self.judge_records([split(case) for case in cases])

    def judge_records(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Decode topics and payloads and compare each row with what it has to be."""
        table = self._decode(pairs).sort_by("kafka_offset")
        offsets = table["kafka_offset"].to_pylist()
        if offsets != list(range(self.judged, self.judged + len(pairs))):
            self.faults.append(f"{len(pairs)} records gave {len(offsets)} rows, or others")
            return
        self.judged += len(pairs)
        self.faults += _unstorable(table)
        self.reasons.update(table["reason"].to_pylist())
        rows = table.select(_COMPARED).to_pylist()
        for (topic, payload), row in zip(pairs, rows, strict=True):
            wanted = expect(topic, payload)
            if row["value"] != payload:
                self.faults.append(f"{topic!r} {payload!r}: came out as {row['value']!r}")
            if wanted is None:
                self.unknown += 1
            elif wrong := differences(wanted, row):
                self.faults.append(f"{topic!r} {payload!r}: {wrong}")
        if self.sink is not None:
            self.sink(table.select([*READING_COLUMNS, *CONTROL_COLUMNS]))

    def _decode(self, pairs: Sequence[tuple[bytes, bytes]]) -> pa.Table:
        records = self.spark.createDataFrame(_records(pairs, self.judged))
        devices = self.spark.createDataFrame([], _NO_DEVICES)
        frame = records.transform(decode).transform(enrich).transform(add_devices, devices)
        return frame.withColumn("batch_id", F.lit(0).cast("bigint")).toArrow()


def _records(pairs: Sequence[tuple[bytes, bytes]], first: int) -> pa.Table:
    """Return Kafka records as Spark's source gives them; each arrived a millisecond later."""
    rows: list[dict[str, Any]] = []
    for offset, (topic, payload) in enumerate(pairs, first):
        received = _RECEIVED + timedelta(milliseconds=offset)
        nanoseconds = str(int(received.timestamp() * 1000) * 10**6).encode()
        named = {"mqtt_topic": topic, "gateway": b"gw1", "received_ns": nanoseconds}
        rows.append(
            {
                "key": b"dev1",
                "value": payload,
                "topic": "sensor.raw",
                "partition": 0,
                "offset": offset,
                "timestamp": received + timedelta(milliseconds=50),
                "timestampType": 1,
                "headers": [{"key": name, "value": value} for name, value in named.items()],
            }
        )
    kinds = [pa.binary(), pa.binary(), pa.string(), pa.int32(), pa.int64()]
    kinds += [pa.timestamp("us", tz="UTC"), pa.int32(), pa.list_(_HEADER)]
    return pa.Table.from_pylist(rows, pa.schema(list(zip(rows[0], kinds, strict=True))))


def _unstorable(table: pa.Table) -> list[str]:
    """Say what the database would refuse of the accepted rows."""
    readings = table.filter(pc.is_null(table["reason"]))
    received = pc.min_max(table["appended_at"]).as_py()
    latest = received["max"] + timedelta(minutes=6) if readings.num_rows else None
    checks: dict[str, Any] = {
        **{f"{name} is null": pc.is_null(readings[name]) for name in _NEVER_NULL},
        **{f"{name} is not finite": pc.invert(pc.is_finite(readings[name])) for name in _REALS},
        **{f"{name} has a NUL": pc.match_substring(readings[name], "\0") for name in _TEXTS},
        "measurements has a NUL": pc.match_substring_regex(readings["measurements"], _JSON_NUL),
        "seq is below -1": pc.less(readings["seq"], -1),
        "time is in the future": pc.greater(readings["time"], latest),
        "time is before 1970": pc.less(readings["time"], datetime(1970, 1, 1, tzinfo=UTC)),
        "sensor_ts is too early": pc.less(readings["sensor_ts"], datetime(1900, 1, 1, tzinfo=UTC)),
        "sensor_ts is too late": pc.greater(
            readings["sensor_ts"], datetime(2200, 1, 1, tzinfo=UTC)
        ),
    }
    found = []
    for what, mask in checks.items():
        bad = readings.filter(mask)
        found += [f"{what}: {value!r}" for value in bad["value"].to_pylist()[:3]]
    return found
