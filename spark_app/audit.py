"""What Kafka, the database and the archive hold of a span of time, as frames to compare."""

import io
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
from pyarrow import parquet

from spark_app.sinks.archive import ObjectStore
from spark_app.sinks.archived import NATURAL_KEY, ROOT, parse

COLUMNS = [*NATURAL_KEY, "kafka_partition", "kafka_offset", "appended_at"]

_STORED = f"""
COPY (
    SELECT {", ".join(COLUMNS)} FROM sensor_data
    WHERE appended_at >= '{{start}}' AND appended_at < '{{end}}'
) TO STDOUT (FORMAT csv, HEADER)
"""  # noqa: S608 - names of this project, and two times
# An object is filed by its first record, and may hold as many hours as the job was behind.
_LONGEST_OBJECT = timedelta(days=2)


@dataclass(frozen=True)
class Span:
    """From `start` up to `end`, by the time at which Kafka appended records; both with a zone."""

    start: datetime
    end: datetime


def stored(connection: Any, span: Span) -> pd.DataFrame:  # noqa: ANN401 - psycopg2 may be missing
    """Return COLUMNS of the database's rows."""
    text = io.StringIO()
    with connection.cursor() as cursor:
        statement = _STORED.format(start=span.start.isoformat(), end=span.end.isoformat())
        cursor.copy_expert(statement, text)
    text.seek(0)
    return typed(pd.read_csv(text, dtype={"device_id": str}, keep_default_na=False))


def archived(objects: ObjectStore, topic: str, span: Span) -> pd.DataFrame:
    """Return COLUMNS of the archive's rows."""
    first = span.start - _LONGEST_OBJECT
    frames = [typed(pd.DataFrame(columns=COLUMNS))]
    for name in objects.names(ROOT, f"{ROOT}date={first:%Y-%m-%d}/hour={first:%H}"):
        item = parse(name)
        if item is not None and item.topic == topic and item.hour < span.end:
            table = parquet.read_table(io.BytesIO(objects.get(name)), columns=COLUMNS)
            frame = typed(table.to_pandas())
            frames.append(frame[frame.appended_at.between(span.start, span.end, "left")])
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)


def of_hours(frame: pd.DataFrame) -> dict[datetime, tuple[int, int]]:
    """Return count and checksum of the natural keys by the hour in which Kafka appended them."""
    if frame.empty:
        return {}
    sums = pd.util.hash_pandas_object(frame[NATURAL_KEY], index=False)
    by_hour = sums.groupby(frame.appended_at.dt.floor("h"))
    return {hour: (len(group), int(group.sum())) for hour, group in by_hour}


def only_in(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one side whose natural key the other has not."""
    joined = one.merge(other[NATURAL_KEY], how="left", on=NATURAL_KEY, indicator="found")
    return joined[joined.found == "left_only"].drop(columns="found")


def unexplained(connection: Any, readings: pd.DataFrame) -> pd.DataFrame:  # noqa: ANN401
    """Return the readings that the database has at no time of Kafka's either."""
    if readings.empty:
        return readings
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT k.number FROM unnest(%s::text[], %s::timestamptz[], %s::bigint[]) "
            "WITH ORDINALITY AS k (device_id, time, seq, number) "
            "INNER JOIN sensor_data AS d "
            "ON d.device_id = k.device_id AND d.seq = k.seq AND d.time = k.time",
            [
                readings.device_id.to_list(),
                [time.to_pydatetime() for time in readings.time],
                readings.seq.astype(int).to_list(),
            ],
        )
        found = {number - 1 for (number,) in cursor.fetchall()}
    return readings[[position not in found for position in range(len(readings))]]


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return COLUMNS with the types that all sides share."""
    frame = frame[COLUMNS].copy()
    for name in ("time", "appended_at"):
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601").astype(
            "datetime64[us, UTC]"
        )
    for name in ("seq", "kafka_partition", "kafka_offset"):
        frame[name] = frame[name].astype("int64")
    return frame
