"""How long each relation is kept, and dropping what is older."""

from collections.abc import Mapping
from typing import Any

import psycopg2
from psycopg2 import sql

# Relations by the name of their setting.
KEPT = {
    "raw": "sensor_data",
    "1m": "sensor_data_1m",
    "1h": "sensor_data_1h",
    "kpi": "pipeline_kpi",
    "kpi-1m": "pipeline_kpi_1m",
    "metrics": "processing_metrics",
}
# A roll-up that went before what it is made from could not be made again.
_SHORTER_FIRST = (("raw", "1m"), ("1m", "1h"), ("kpi", "kpi-1m"))
# Where rows are noted that no roll-up has seen.
_NOTES = {"sensor_data": "sensor_data_changed", "pipeline_kpi": "pipeline_kpi_changed"}
# On the community edition TimescaleDB itself refreshes and drops these.
_BY_POLICY = ("sensor_data", "sensor_data_1m", "sensor_data_1h")

_STORE = """
UPDATE retention SET keep = %(keep)s::interval, applied_at = NULL
WHERE relation = %(relation)s AND keep IS DISTINCT FROM %(keep)s::interval
"""
# Once a day: a backlog older than its retention then has time to come in whole.
_DUE = """
SELECT relation FROM retention
WHERE relation <> ALL (%s) AND (applied_at IS NULL OR applied_at < now() - INTERVAL '1 day')
ORDER BY relation
"""
_OLD_CHUNKS = """
SELECT c.chunk_schema, c.chunk_name, c.range_start, c.range_end
FROM timescaledb_information.chunks AS c
INNER JOIN retention AS r ON r.relation = c.hypertable_name
WHERE r.relation = %s AND c.range_end <= now() - r.keep
ORDER BY c.range_start
"""
_APPLIED = "UPDATE retention SET applied_at = now() WHERE relation = ANY (%s)"
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"

# A window that reached further back than what it is made from would wipe out old figures.
REFRESH_POLICIES = (
    """
    SELECT remove_continuous_aggregate_policy('sensor_data_1m', if_exists => true),
        remove_continuous_aggregate_policy('sensor_data_1h', if_exists => true)
    """,
    """
    SELECT add_continuous_aggregate_policy('sensor_data_1m', start_offset => keep,
        end_offset => INTERVAL '1 minute', schedule_interval => INTERVAL '1 minute')
    FROM retention WHERE relation = 'sensor_data'
    """,
    """
    SELECT add_continuous_aggregate_policy('sensor_data_1h', start_offset => keep,
        end_offset => NULL::interval, schedule_interval => INTERVAL '1 minute')
    FROM retention WHERE relation = 'sensor_data_1m'
    """,
)
RETENTION_POLICIES = (
    """
    SELECT remove_retention_policy(relation::regclass, if_exists => true)
    FROM retention WHERE relation IN ('sensor_data', 'sensor_data_1m', 'sensor_data_1h')
    """,
    """
    SELECT add_retention_policy(relation::regclass, drop_after => keep)
    FROM retention
    WHERE relation IN ('sensor_data', 'sensor_data_1m', 'sensor_data_1h') AND keep IS NOT NULL
    """,
)


class RetentionError(Exception):
    """A setting that cannot be followed; the text names it and says what is wrong."""


def store_settings(connection: Any, settings: Mapping[str, str]) -> None:  # noqa: ANN401
    """Store how long relations are kept.

    Args:
        connection: as the owner of the tables, no transaction open.
        settings: PostgreSQL intervals by names of `KEPT`; an empty one: for ever. Those not named
            stay as they are.

    Raises:
        RetentionError: one is no interval, is below a day or shorter than what it depends on; then
            nothing is stored.
    """
    with connection, connection.cursor() as cursor:
        for name, keep in settings.items():
            values = {"relation": KEPT[name], "keep": keep.strip() or None}
            try:
                cursor.execute(_STORE, values)
            except psycopg2.DataError as error:
                message = f"--keep-{name}: {keep!r} is no interval such as '90 days'"
                raise RetentionError(message) from error
        cursor.execute("SELECT relation, keep::text, keep < INTERVAL '1 day' FROM retention")
        kept = {relation: (keep, short) for relation, keep, short in cursor.fetchall()}
        for name, relation in KEPT.items():
            keep, short = kept[relation]
            if short:
                message = f"--keep-{name}: {keep} is too short: at least a day, or empty for ever"
                raise RetentionError(message)
        for shorter, longer in _SHORTER_FIRST:
            _refuse_wrong_order(cursor, shorter, longer)


def _refuse_wrong_order(cursor: Any, shorter: str, longer: str) -> None:  # noqa: ANN401
    cursor.execute(
        """
        SELECT s.keep::text, l.keep::text FROM retention AS s, retention AS l
        WHERE s.relation = %s AND l.relation = %s
            AND l.keep IS NOT NULL AND (s.keep IS NULL OR s.keep > l.keep)
        """,
        (KEPT[shorter], KEPT[longer]),
    )
    for kept, made in cursor.fetchall():
        message = (
            f"--keep-{longer} ({made}) is shorter than --keep-{shorter} ({kept or 'for ever'}), "
            f"which it is made from: keep {KEPT[longer]} at least as long"
        )
        raise RetentionError(message)


def drop_old(connection: Any, *, policies: bool) -> int:  # noqa: ANN401
    """Drop the chunks whose rows are all older than their relation is kept, once a day.

    A chunk with rows that no roll-up has seen stays until the next run, as one that another
    session uses for more than two seconds does.

    Args:
        connection: as the owner of the tables, no transaction open.
        policies: whether this is the community edition.

    Returns:
        How many chunks went.
    """
    with connection, connection.cursor() as cursor:
        cursor.execute(_DUE, (list(_BY_POLICY) if policies else [],))
        due = cursor.fetchall()
    dropped = 0
    for (relation,) in due:
        with connection, connection.cursor() as cursor:
            cursor.execute(_OLD_CHUNKS, (relation,))
            chunks = cursor.fetchall()
        gone = sum(_drop(connection, relation, *chunk) for chunk in chunks)
        if gone == len(chunks):
            with connection, connection.cursor() as cursor:
                cursor.execute(_APPLIED, ([relation],))
        dropped += gone
    return dropped


def _drop(connection: Any, relation: str, schema: str, name: str, *ends: object) -> bool:  # noqa: ANN401
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(_LOCK_TIMEOUT)
            # From here on nobody adds a row, and the next statement sees the notes of all who did.
            lock = sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE")
            cursor.execute(lock.format(sql.Identifier(schema, name)))
            if relation in _NOTES:
                noted = sql.SQL("SELECT 1 FROM {} WHERE minute >= %s AND minute < %s LIMIT 1")
                cursor.execute(noted.format(sql.Identifier(_NOTES[relation])), ends)
                if cursor.fetchone():
                    return False
            cursor.execute(
                "SELECT drop_chunks(%s::regclass, newer_than => %s, older_than => %s)",
                (relation, *ends),
            )
    except psycopg2.errors.LockNotAvailable:
        return False
    return True


def apply_policies(connection: Any) -> None:  # noqa: ANN401
    """Set the community edition's policies anew if a setting changed."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM retention WHERE relation = ANY (%s) AND applied_at IS NULL",
            (list(_BY_POLICY),),
        )
        if cursor.fetchone() is None:
            return
        for statement in (*REFRESH_POLICIES, *RETENTION_POLICIES):
            cursor.execute(statement)
        cursor.execute(_APPLIED, (list(_BY_POLICY),))
