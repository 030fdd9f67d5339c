"""Apply the migrations that a database lacks: `python -m sql.migrate [--dsn DSN]`."""

import argparse
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg2
import yoyo
from psycopg2.extensions import parse_dsn
from yoyo.backends import DatabaseBackend
from yoyo.migrations import Migration

# Any number does that no other program on this database uses for an advisory lock.
_LOCK = 7_305_081_420_118
_LOCK_TIMEOUT_MS = 60_000

# yoyo's own hash covers a migration's name only.
_CREATE_CHECKSUMS = """
CREATE TABLE IF NOT EXISTS schema_checksum (
    migration_id text PRIMARY KEY,
    sha256 text NOT NULL
)
"""


class MigrationError(Exception):
    """The database cannot be brought up to date; the text says why and what to do."""


def migrate(dsn: str, directory: Path | None = None) -> list[str]:
    """Bring a database up to date.

    Each migration, its mark and its checksum are one transaction. Callers at the same time wait
    for each other; the lock is the session's, so that a killed process leaves none behind. Where
    nothing is missing any user may call it, else the schema's owner.

    Args:
        dsn: libpq connection string or URI; what it does not say comes from libpq's environment.
        directory: where the files are; by default those of this package.

    Returns:
        Names of the migrations applied, in order; empty if there was nothing to do.

    Raises:
        MigrationError: an applied file was edited or is missing, a statement failed, another
            process held the lock for a minute, or the user may make no tables.
        psycopg2.OperationalError: the database cannot be reached.
    """
    with _files(directory) as folder, _lock(dsn) as connection:
        checksums = {
            path.stem: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.glob("*.sql"))
        }
        if _applied(connection) == checksums:
            return []
        _require_owner(connection)
        backend = yoyo.get_backend(f"postgresql:///?{urlencode(parse_dsn(dsn))}")
        with backend:
            # Only left over from a killed process: whoever is alive holds the lock above.
            backend.break_lock()
            backend.execute(_CREATE_CHECKSUMS)
            _refuse_changed_files(backend, checksums)
            return [
                _apply(backend, migration, checksums[migration.id])
                for migration in backend.to_apply(yoyo.read_migrations(str(folder)))
            ]


def _applied(connection: Any) -> dict[str, str]:  # noqa: ANN401 - psycopg2 has no types
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('schema_checksum') IS NOT NULL")
        if cursor.fetchone() != (True,):
            return {}
        cursor.execute("SELECT migration_id, sha256 FROM schema_checksum")
        return dict(cursor.fetchall())


def _require_owner(connection: Any) -> None:  # noqa: ANN401 - psycopg2 has no types
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user, has_schema_privilege(current_schema(), 'CREATE')",
        )
        user, may_create = cursor.fetchone()
    if not may_create:
        message = (
            f"migrations are missing, and {user} may make no tables: the timer "
            "sensordb-maintenance on the database's host applies its own within a minute; where "
            "that has others than this program, run site.yml"
        )
        raise MigrationError(message)


def _apply(backend: DatabaseBackend, migration: Migration, sha256: str) -> str:
    try:
        with backend.transaction():
            migration.process_steps(backend, "apply")
            backend.mark_one(migration)
            backend.execute(
                "INSERT INTO schema_checksum (migration_id, sha256) VALUES (:id, :sha256)",
                {"id": migration.id, "sha256": sha256},
            )
    except psycopg2.OperationalError:
        raise
    except psycopg2.Error as error:
        message = f"migration {migration.id} failed and was rolled back: {str(error).strip()}"
        raise MigrationError(message) from error
    return str(migration.id)


def _refuse_changed_files(backend: DatabaseBackend, checksums: dict[str, str]) -> None:
    applied = backend.execute("SELECT migration_id, sha256 FROM schema_checksum ORDER BY 1")
    for migration_id, sha256 in applied.fetchall():
        if checksums.get(migration_id) == sha256:
            continue
        fault = "was edited after" if migration_id in checksums else "is missing, but"
        message = (
            f"migration {migration_id}.sql {fault} it was applied to this database: "
            "restore the file as it was, and put the change into a new migration"
        )
        raise MigrationError(message)


@contextmanager
def _files(directory: Path | None) -> Iterator[Path]:
    """Yield a real folder with the migrations: yoyo cannot read them from a zip."""
    if directory is not None:
        yield directory
        return
    with tempfile.TemporaryDirectory() as name:
        for entry in resources.files("sql").joinpath("migrations").iterdir():
            if entry.name.endswith(".sql"):
                with entry.open("rb") as source, Path(name, entry.name).open("wb") as target:
                    shutil.copyfileobj(source, target)
        yield Path(name)


@contextmanager
def _lock(dsn: str) -> Iterator[Any]:
    connection = psycopg2.connect(dsn)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", (f"{_LOCK_TIMEOUT_MS}",))
            try:
                cursor.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
            except psycopg2.errors.LockNotAvailable as error:
                seconds = _LOCK_TIMEOUT_MS // 1000
                message = f"another process has been migrating this database for {seconds} s"
                raise MigrationError(message) from error
        yield connection
    finally:
        connection.close()


def main() -> int:
    """Apply, and print each migration's name; exit status 1 with one line when that fails."""
    parser = argparse.ArgumentParser(prog="python -m sql.migrate", description=__doc__)
    parser.add_argument(
        "--dsn", default="", help="libpq connection string or URI; default: libpq's environment"
    )
    arguments = parser.parse_args()
    try:
        applied = migrate(arguments.dsn)
    except (MigrationError, psycopg2.Error) as error:
        sys.stderr.write(f"sql.migrate: {str(error).strip()}\n")
        return 1
    for name in applied:
        sys.stdout.write(f"applied {name}\n")
    if not applied:
        sys.stdout.write("nothing to apply\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
