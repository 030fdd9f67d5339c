"""The job's own writer as judge of what a database can keep."""

import os
from collections.abc import Callable

import pyarrow as pa
from psycopg2.extensions import parse_dsn

from spark_app.sinks.timescaledb import Database, TimescaleWriter
from sql.migrate import migrate

_LATE_AFTER_SECONDS = 60.0


def database_sink(dsn: str) -> Callable[[pa.Table], None]:
    """Return a function that stores a batch and raises if a row of it was refused.

    Args:
        dsn: of a scratch database, which gets the schema; the password may be in PGPASSWORD.
    """
    migrate(dsn)
    known = parse_dsn(dsn)
    database = Database(
        known["host"],
        int(known.get("port", 5432)),
        known["dbname"],
        known["user"],
        known.get("password") or os.environ.get("PGPASSWORD", ""),
    )
    writer = TimescaleWriter(database, _LATE_AFTER_SECONDS)

    def store(batch: pa.Table) -> None:
        outcome = writer(batch)
        accepted = outcome.rows_in - outcome.rejected
        if outcome.refused or outcome.stored + outcome.duplicate != accepted:
            message = f"of {accepted} rows {outcome.stored} were stored: {outcome.refused[:5]}"
            raise AssertionError(message)

    return store
