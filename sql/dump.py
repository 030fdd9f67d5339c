"""Print an empty migrated database's schema, as in `sql/schema.sql`: `python -m sql.dump`."""

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence

import psycopg2

# Differs between runs and versions, or says how to load, not what is there.
_NOISE = re.compile(
    r"^(--.*|SET .*|SELECT pg_catalog\.set_config.*|\\(un)?restrict .*)$", re.MULTILINE
)
_HEAD = """\
-- The schema that the migrations lead to, for people to read and review. Not for loading: that is
-- done by `python -m sql.migrate`. Made by `python -m sql.dump`; a test holds it current.
"""
_HYPERTABLES = """
SELECT format('-- hypertable %s: by %s, chunks of %s', hypertable_name, column_name, time_interval)
FROM timescaledb_information.dimensions
ORDER BY 1
"""


def dump(dsn: str, pg_dump: Sequence[str] = ("pg_dump",)) -> str:
    """Return the schema of an empty database as text that only changes when the schema does.

    Chunks of a database with data would change the order of the tables.

    Args:
        dsn: libpq connection string or URI.
        pg_dump: the command, at least of the server's version.

    Raises:
        subprocess.CalledProcessError: pg_dump failed.
    """
    command = [*pg_dump, "--schema-only", "--no-owner", "--no-privileges"]
    # Bookkeeping of TimescaleDB and yoyo.
    for pattern in ("_timescaledb*", "timescaledb*"):
        command += ["--exclude-schema", pattern]
    command += ["--exclude-table", "*yoyo*", "--dbname", dsn]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    text = re.sub(r"\n{3,}", "\n\n", _NOISE.sub("", text)).strip()
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(_HYPERTABLES)
        hypertables = "\n".join(line for (line,) in cursor.fetchall())
    return f"{_HEAD}\n{text}\n\n{hypertables}\n"


def main() -> int:
    """Print the dump."""
    parser = argparse.ArgumentParser(prog="python -m sql.dump", description=__doc__)
    parser.add_argument("--dsn", default="", help="default: libpq's environment")
    parser.add_argument("--pg-dump", default="pg_dump", help="the command; default: %(default)s")
    arguments = parser.parse_args()
    sys.stdout.write(dump(arguments.dsn, shlex.split(arguments.pg_dump)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
