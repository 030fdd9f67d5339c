"""Rows per second into a keyed table: plain COPY, and what may come twice without harm.

`idempotent` is what the store query's writers do: COPY, and only where the key refuses a row that
is there already, COPY into a staging table and INSERT … ON CONFLICT DO NOTHING. `again` are rows
that all are there already, as after a failure.
"""

import io
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2

from benchmarks.figures import Figure
from benchmarks.load import DEVICES
from benchmarks.options import Options
from benchmarks.services import dsn, postgres

# As migration 0001 has it, without TimescaleDB, which this server does not have.
_TABLE = """
CREATE TABLE sensor_data (
    time timestamptz NOT NULL,
    device_id text NOT NULL,
    seq bigint NOT NULL DEFAULT -1,
    temperature double precision,
    humidity double precision,
    received_at timestamptz,
    appended_at timestamptz NOT NULL,
    kafka_partition integer NOT NULL,
    kafka_offset bigint NOT NULL,
    PRIMARY KEY (device_id, time, seq)
)
"""
_COLUMNS = (
    "time, device_id, seq, temperature, humidity, received_at, appended_at, kafka_partition, "
    "kafka_offset"
)
_STAGING = """
CREATE TEMPORARY TABLE staging ON COMMIT DELETE ROWS
AS SELECT * FROM sensor_data WITH NO DATA
"""
_INSERT = f"""
INSERT INTO sensor_data ({_COLUMNS}) SELECT {_COLUMNS} FROM staging
ON CONFLICT (device_id, time, seq) DO NOTHING
"""  # noqa: S608 - constants of this module
_ROWS = 200_000
_BATCHES = (100, 1000, 10_000)  # rows in one transaction


def run(options: Options) -> list[Figure]:
    """Take turns, batch by batch of the same rows, each way into an empty table."""
    figures: dict[str, list[float]] = {}
    with (
        postgres(options.folder / "postgres") as server,
        closing(psycopg2.connect(dsn(server))) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(_TABLE)
        cursor.execute(_STAGING)
        connection.commit()
        for _ in range(options.repeats):
            for batch in _BATCHES:
                rows = min(options.scaled(_ROWS), batch * 200)
                texts = [_text(first, batch) for first in range(0, rows, batch)]
                ways = {"copy": _copy, "idempotent": _store, "again": _store}
                for name, way in ways.items():
                    if name != "again":
                        cursor.execute("TRUNCATE sensor_data")
                    cursor.execute("CHECKPOINT")  # one is not to pay for the other's
                    connection.commit()
                    seconds = _load(connection, cursor, texts, way)
                    key = f"ingest.{name}_{batch}.rows_per_second"
                    figures.setdefault(key, []).append(len(texts) * batch / seconds)
    return [Figure(name, "1/s", values) for name, values in figures.items()]


def _load(
    connection: Any,  # noqa: ANN401 - psycopg2 has no types
    cursor: Any,  # noqa: ANN401
    texts: list[str],
    way: Callable[[Any, str], None],
) -> float:
    begin = time.monotonic()
    for text in texts:
        way(cursor, text)
        connection.commit()
    return time.monotonic() - begin


def _copy(cursor: Any, text: str, table: str = "sensor_data") -> None:  # noqa: ANN401
    cursor.copy_expert(f"COPY {table} ({_COLUMNS}) FROM STDIN", io.StringIO(text))


def _store(cursor: Any, text: str) -> None:  # noqa: ANN401
    try:
        _copy(cursor, text)
    except psycopg2.errors.UniqueViolation:
        cursor.connection.rollback()
        _copy(cursor, text, "staging")
        cursor.execute(_INSERT)


def _text(first: int, rows: int) -> str:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    lines = []
    for seq in range(first, first + rows):
        moment = start + timedelta(milliseconds=seq)
        values = (moment, f"bench-{seq % DEVICES:03d}", seq, 20 + seq % 100 / 10, 45.5)
        lines.append("\t".join(map(str, (*values, moment, moment, seq % 4, seq // 4))))
    return "\n".join(lines) + "\n"
