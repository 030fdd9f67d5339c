"""A migrated database to measure in, and how to time what is asked of it."""

import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import psycopg2
from psycopg2 import sql
from psycopg2.extensions import make_dsn

from sql.migrate import migrate

_VERSIONS = """
SELECT split_part(version(), ' ', 2), extversion, current_setting('timescaledb.license')
FROM pg_extension WHERE extname = 'timescaledb'
"""


@contextmanager
def database(dsn: str) -> Iterator[str]:
    """Yield the DSN of a migrated database that is dropped at the end.

    Args:
        dsn: of a role that may create databases and extensions.
    """
    name = sql.Identifier(f"edge_benchmark_{secrets.token_hex(4)}")
    with closing(psycopg2.connect(dsn)) as admin, admin.cursor() as cursor:
        admin.autocommit = True
        cursor.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            there = make_dsn(dsn, dbname=name.string)
            with (
                closing(psycopg2.connect(there)) as connection,
                connection,
                connection.cursor() as c,
            ):
                c.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
            migrate(there)
            yield there
        finally:
            cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def say(line: str) -> None:
    """Print a line now."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def versions(cursor: Any) -> str:  # noqa: ANN401 - whichever driver's
    """Return the server's versions for people."""
    cursor.execute(_VERSIONS)
    return "PostgreSQL {}, TimescaleDB {} ({} edition)".format(*cursor.fetchone())


def milliseconds(call: Callable[[], object], times: int = 1) -> list[float]:
    """Return how long each of some calls took, as the client sees it."""
    took = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        took.append((time.perf_counter() - begin) * 1000)
    return took


def summary(times: Sequence[float]) -> str:
    """Return median and p95 as table cells."""
    return f"{np.median(times):.2f} | {np.percentile(times, 95):.2f}"
