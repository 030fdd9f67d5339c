"""Readings to fill sensor_data with, and its roll-ups as plain queries make them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sql

MIGRATION = Path(sql.__file__).parent / "migrations" / "0005_reading_rollups.sql"

_INSERT = """
INSERT INTO sensor_data (time, device_id, seq, temperature, humidity, dew_point, absolute_humidity,
    site, room, quality_flags, appended_at, read_at, batch_id, kafka_partition, kafka_offset)
SELECT %(start)s + n * %(step)s::interval, device, n,
    CASE WHEN n %% 7 <> 3 THEN 20 + 5 * sin(n) END, CASE WHEN n %% 5 <> 1 THEN 50 + 9 * cos(n) END,
    CASE WHEN n %% 3 <> 1 THEN 9 + cos(n) END, CASE WHEN n %% 3 <> 1 THEN 8 + sin(n) END,
    'site ' || n %% 2, CASE WHEN n %% 4 = 0 THEN 'room' END,
    CASE WHEN n %% 6 = 0 THEN ARRAY['ts_missing'] ELSE '{}' END, now(), now(), 0, 0, n
FROM generate_series(%(first)s, %(last)s - 1) AS n, unnest(%(devices)s) AS device
ON CONFLICT (device_id, time, seq) DO NOTHING
"""


def utc(text: str) -> datetime:
    """Return a time of ISO form in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def store(  # noqa: PLR0913 - each has its default
    connection: Any,
    start: datetime,
    *,
    devices: Sequence[str] = ("a",),
    first: int = 0,
    last: int = 100,
    step: str = "7 seconds",
) -> None:
    """Store readings first to last of a series that begins at `start`, some values null."""
    with connection, connection.cursor() as cursor:
        values = {"start": start, "first": first, "last": last, "step": step}
        cursor.execute(_INSERT, values | {"devices": list(devices)})


def ask(connection: Any, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Return a query's rows."""
    with connection, connection.cursor() as cursor:
        cursor.execute(query, values)
        return list(cursor.fetchall())


def definition(relation: str) -> str:
    """Return the query of the community edition's continuous aggregate of that name."""
    _, _, text = MIGRATION.read_text(encoding="utf-8").partition(
        f"CREATE MATERIALIZED VIEW {relation} WITH (timescaledb.continuous) AS"
    )
    return text.partition("WITH NO DATA")[0]


def differences(connection: Any, relation: str) -> list[tuple[Any, ...]]:
    """Return rows that a roll-up has and its definition does not, or the other way round.

    Averages are compared to nine digits: they are sums in another order.
    """
    columns = ask(
        connection,
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
        relation,
    )
    names = ", ".join(
        f"round({name}::numeric, 9)" if kind == "double precision" else str(name)
        for name, kind in columns
    )
    have = f"SELECT {names} FROM {relation}"  # noqa: S608 - names from the catalogue
    should = f"SELECT {names} FROM ({definition(relation)}) AS d"  # noqa: S608
    return ask(
        connection,
        f"(({have}) EXCEPT ALL ({should})) UNION ALL (({should}) EXCEPT ALL ({have}))",
    )
