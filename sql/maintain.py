"""Apply missing migrations, bring roll-ups up to date and drop what is too old.

`python -m sql.maintain [--dsn DSN]`, as the database's owner.
"""

import argparse
import sys
from collections.abc import Mapping
from contextlib import closing

import psycopg2

from sql.ledger import update_ledger
from sql.migrate import MigrationError, migrate
from sql.retention import KEPT, RetentionError, apply_policies, drop_old, store_settings
from sql.rollups import refresh_kpi, refresh_readings

# Any number does that no other program on this database uses for an advisory lock.
_LOCK = 7_305_081_420_119


def maintain(dsn: str, settings: Mapping[str, str] | None = None) -> str:
    """Do what is due, as the database's owner.

    On TimescaleDB's community edition the readings are left to its policies, which this sets.

    Args:
        dsn: libpq connection string or URI; what it does not say comes from libpq's environment.
        settings: how long relations are kept, see `sql.retention.store_settings`.

    Returns:
        One line that says what was done.

    Raises:
        RetentionError: a setting cannot be followed.
        psycopg2.Error: the database cannot be reached, or a statement failed.
    """
    with closing(psycopg2.connect(dsn, options="-c timezone=UTC")) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,))
            if cursor.fetchone() != (True,):
                return "another run is at it"
            cursor.execute("SELECT current_setting('timescaledb.license') = 'timescale'")
            policies = cursor.fetchone() == (True,)
        store_settings(connection, settings or {})
        if policies:
            apply_policies(connection)
        days = {
            "readings": 0 if policies else refresh_readings(connection),
            "KPIs": refresh_kpi(connection),
        }
        update_ledger(connection)
        dropped = drop_old(connection, policies=policies)
    rolled = ", ".join(f"{name} of {count} days" for name, count in days.items() if count)
    return f"rolled up {rolled or 'nothing'}; dropped {dropped} chunks"


def main() -> int:
    """Run once and say what was done; exit status 1 with one line when that fails."""
    parser = argparse.ArgumentParser(prog="python -m sql.maintain", description=__doc__)
    parser.add_argument(
        "--dsn", default="", help="libpq connection string or URI; default: libpq's environment"
    )
    for name, relation in KEPT.items():
        parser.add_argument(
            f"--keep-{name}",
            metavar="INTERVAL",
            dest=name,
            help=f"keep {relation} so long; '' for ever; default: as before",
        )
    arguments = vars(parser.parse_args())
    settings = {name: arguments[name] for name in KEPT if arguments[name] is not None}
    try:
        migrate(arguments["dsn"])
        done = maintain(arguments["dsn"], settings)
    except (MigrationError, RetentionError, psycopg2.Error) as error:
        sys.stderr.write(f"sql.maintain: {str(error).strip()}\n")
        return 1
    sys.stdout.write(f"{done}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
