"""A user that stores can do what the streaming job does, and no more."""

import shlex

import pytest
from testinfra.host import Host

PSQL = "PGPASSWORD=test-only-storer psql -XAtq -h 127.0.0.1 -U storer -d sensordb"


def as_storer(host: Host, query: str) -> tuple[int, str]:
    """Exit status and all that was printed."""
    done = host.run(f"{PSQL} -v ON_ERROR_STOP=1 -c {shlex.quote(query)}")
    return done.rc, f"{done.stdout}{done.stderr}".strip()


def test_stores_and_changes_rows(host: Host) -> None:
    columns = "time, device_id, seq, appended_at, read_at, batch_id, kafka_partition, kafka_offset"
    stored = f"""
    BEGIN;
    CREATE TEMPORARY TABLE staging ON COMMIT DROP AS SELECT * FROM sensor_data WITH NO DATA;
    INSERT INTO staging ({columns}) SELECT now(), 'stored', 1, now(), now(), 0, 0, 1;
    INSERT INTO sensor_data ({columns}) SELECT {columns} FROM staging;
    INSERT INTO kafka_position (topic, partition, first_offset, next_offset, batch_id)
        VALUES ('stored', 0, 0, 1, 0) ON CONFLICT (topic, partition) DO UPDATE SET next_offset = 2;
    SELECT count(*) FROM sensor_data WHERE device_id = 'stored';
    ROLLBACK
    """  # noqa: S608 - of names that stand above
    assert as_storer(host, stored) == (0, "1")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM sensor_data",
        "DELETE FROM kafka_position",
        "TRUNCATE sensor_data",
        "DROP TABLE sensor_data",
        "ALTER TABLE sensor_data ADD COLUMN mine int",
        "CREATE TABLE mine (n int)",
        "SELECT drop_chunks('sensor_data', now())",
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY sensor_data TO PROGRAM 'cat'",
        "CREATE ROLE another LOGIN",
        "SET ROLE sensor_user",
        "SET ROLE postgres",
    ],
)
def test_may_do_nothing_else(host: Host, statement: str) -> None:
    status, printed = as_storer(host, statement)
    assert status != 0
    assert "permission denied" in printed or "must be owner" in printed


def test_finds_that_no_migration_is_missing(host: Host) -> None:
    dsn = "host=127.0.0.1 user=storer dbname=sensordb password=test-only-storer"
    migrate = f"/opt/sensordb_tools/current/bin/python -m sql.migrate --dsn {shlex.quote(dsn)}"
    assert host.check_output(migrate) == "nothing to apply"
