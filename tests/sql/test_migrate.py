"""Migrations on a real TimescaleDB."""

import os
import shlex
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import make_dsn

import sql
from sql.dump import dump
from sql.migrate import MigrationError, migrate

FOLDER = Path(sql.__file__).parent
NAMES = sorted(path.stem for path in (FOLDER / "migrations").glob("*.sql"))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER / "migrations", tmp_path / "migrations"))


def test_apply_from_empty_and_then_change_nothing(empty_dsn: str) -> None:
    assert migrate(empty_dsn) == NAMES
    assert migrate(empty_dsn) == []


def test_edited_file_is_refused(empty_dsn: str, files: Path) -> None:
    migrate(empty_dsn, files)
    edited = files / f"{NAMES[1]}.sql"
    edited.write_text(edited.read_text() + "\n-- a word more\n")
    with pytest.raises(MigrationError, match=rf"{NAMES[1]}\.sql was edited after it was applied"):
        migrate(empty_dsn, files)


def test_missing_file_is_refused(empty_dsn: str, files: Path) -> None:
    migrate(empty_dsn, files)
    (files / f"{NAMES[-1]}.sql").unlink()
    with pytest.raises(MigrationError, match=rf"{NAMES[-1]}\.sql is missing"):
        migrate(empty_dsn, files)


def test_failed_migration_leaves_nothing_and_can_be_corrected(empty_dsn: str, files: Path) -> None:
    migrate(empty_dsn, files)
    bad = files / "9999_bad.sql"
    bad.write_text("CREATE TABLE half (a int);\nSELECT no_such_column;\n")
    with pytest.raises(MigrationError, match=r"9999_bad failed.*no_such_column"):
        migrate(empty_dsn, files)
    bad.write_text("CREATE TABLE half (a int);\n")
    assert migrate(empty_dsn, files) == ["9999_bad"]


def test_callers_at_the_same_time_wait_for_each_other(empty_dsn: str) -> None:
    applied: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: applied.append(migrate(empty_dsn))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied) == [[], [], [], NAMES]


def test_lock_of_a_killed_process_is_no_obstacle(dsn: str) -> None:
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO yoyo_lock (locked, pid) VALUES (1, 999999)")
    connection.close()
    assert migrate(dsn) == []


def test_a_user_who_may_make_no_tables_is_content_when_none_is_missing(dsn: str) -> None:
    as_reader = make_dsn(dsn, options="-c role=pg_read_all_data")
    assert migrate(as_reader) == []


def test_a_user_who_may_make_no_tables_is_told_who_may(empty_dsn: str) -> None:
    as_reader = make_dsn(empty_dsn, options="-c role=pg_read_all_data")
    with pytest.raises(MigrationError, match="pg_read_all_data may make no tables"):
        migrate(as_reader)


def test_runs_from_a_zip(empty_dsn: str, tmp_path: Path) -> None:
    archive = tmp_path / "project.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for path in [*FOLDER.glob("*.py"), *(FOLDER / "migrations").glob("*.sql")]:
            target.write(path, path.relative_to(FOLDER.parent))
    command = [sys.executable, "-m", "sql.migrate", "--dsn", empty_dsn]
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(archive)},
    )
    assert done.stdout.split("\n")[:-1] == [f"applied {name}" for name in NAMES]


def test_unreachable_database_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sql.migrate", "--dsn", f"host={tmp_path} dbname=x"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=FOLDER.parent)
    assert done.returncode == 1
    assert done.stderr.startswith("sql.migrate: ")
    assert "Traceback" not in done.stderr


def test_dumped_schema_is_current(dsn: str) -> None:
    command = shlex.split(os.environ.get("EDGE_TEST_PG_DUMP", "pg_dump"))
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed: the dump cannot be compared")
    try:
        text = dump(dsn, command)
    except subprocess.CalledProcessError as error:
        if "server version mismatch" not in error.stderr:
            raise
        pytest.skip(f"pg_dump is older than the server: {error.stderr.splitlines()[0]}")
    assert text == (FOLDER / "schema.sql").read_text(encoding="utf-8"), (
        "run `python -m sql.dump > sql/schema.sql`"
    )
