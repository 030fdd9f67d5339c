"""Backups: WAL arrives, a backup can be read, and an archive that takes nothing stops nothing."""

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from testinfra.host import Host

PGBACKREST = "runuser --user=postgres -- pgbackrest --stanza=sensordb"
REPOSITORY = "/var/lib/pgbackrest"
# As converge.yml sets it.
QUEUE_MIB = 64


def sql(host: Host, query: str) -> str:
    """As the superuser; a query with a single statement."""
    command = f"psql -XAtq -v ON_ERROR_STOP=1 -U postgres -d sensordb -c {shlex.quote(query)}"
    return str(host.check_output(command)).strip()


def info(host: Host) -> Any:
    return json.loads(host.check_output(f"{PGBACKREST} --output=json info"))[0]


def back_up(host: Host, kind: str) -> Any:
    host.check_output(f"systemctl start sensordb-backup@{kind}.service")
    return info(host)["backup"][-1]


def until(host: Host, condition: str, seconds: int) -> None:
    waiting = f"until {condition}; do sleep 1; done"
    host.check_output(f"timeout {seconds} sh -c {shlex.quote(waiting)}")


@pytest.fixture
def readings(host: Host) -> Iterator[None]:
    """A table whose rows are WAL."""
    sql(host, "CREATE TABLE filler (bytes text)")
    yield
    sql(host, "DROP TABLE filler")


def write(host: Host, mebibytes: int) -> None:
    """Makes somewhat more WAL than that, which no compression shrinks."""
    for _ in range(mebibytes // 16):
        sql(
            host,
            "INSERT INTO filler SELECT string_agg(gen_random_uuid()::text, '') "
            "FROM generate_series(1, 466033) AS n GROUP BY n % 10000",
        )


def test_a_differential_backup_is_smaller_than_the_full_one_and_whole(host: Host) -> None:
    full, differential = back_up(host, "full"), back_up(host, "diff")
    assert (full["type"], differential["type"]) == ("full", "diff")
    assert differential["info"]["repository"]["delta"] < full["info"]["repository"]["delta"] / 2
    verified = host.check_output(
        f"{PGBACKREST} --set={differential['label']} --output=text --verbose verify"
    )
    assert "status: ok" in verified


@pytest.mark.usefixtures("readings")
def test_a_segment_that_is_not_full_is_archived_in_time(host: Host) -> None:
    before = info(host)["archive"][-1]["max"]
    sql(host, "INSERT INTO filler VALUES ('1')")
    newest = f'{PGBACKREST} --output=json info | grep -o \'"max":"[0-9A-F]*"\''
    until(host, f'[ "$({newest})" != \'"max":"{before}"\' ]', seconds=90)


@pytest.mark.usefixtures("readings")
def test_an_archive_that_takes_nothing_stops_nothing(host: Host) -> None:
    back_up(host, "diff")
    # As a mount that is away: nothing can be made there.
    host.check_output(f"mv {REPOSITORY} {REPOSITORY}.away && touch {REPOSITORY}")
    try:
        write(host, 4 * QUEUE_MIB)
        # What waits is dropped once it is too much.
        waits = "ls /var/lib/postgresql/18/main/pg_wal/archive_status | grep -c 'ready$'"
        until(host, f'[ "$({waits})" -lt {QUEUE_MIB // 16} ]', seconds=150)
        assert "dropped WAL file" in host.check_output("cat /var/log/postgresql/*.log")
    finally:
        host.check_output(f"rm {REPOSITORY} && mv {REPOSITORY}.away {REPOSITORY}")
    after = back_up(host, "diff")
    assert not after["error"]
    # The archive goes on, behind a gap.
    host.check_output(f"{PGBACKREST} check")
