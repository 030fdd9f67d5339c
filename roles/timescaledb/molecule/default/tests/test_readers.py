"""A user that may only read can read all of the schema and change nothing."""

import shlex

import pytest
from testinfra.host import Host

PSQL = "PGPASSWORD=test-only-viewer psql -XAtq -h 127.0.0.1 -U viewer -d sensordb -c"


def as_viewer(host: Host, query: str) -> tuple[int, str]:
    """Exit status and all that was printed."""
    done = host.run(f"{PSQL} {shlex.quote(query)}")
    return done.rc, f"{done.stdout}{done.stderr}".strip()


def test_reads_every_table_and_view(host: Host) -> None:
    relations = as_viewer(
        host,
        "SELECT c.oid::regclass FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace "
        "AND c.relkind IN ('r', 'v', 'm', 'p')",
    )[1].splitlines()
    assert {"sensor_data", "pipeline_kpi_1m", "ledger"} <= set(relations)
    for relation in relations:
        assert as_viewer(host, f"TABLE {relation} LIMIT 0")[0] == 0, relation
    assert as_viewer(host, "SELECT count(*) FROM get_pipeline_latency_stats()") == (0, "4")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM sensor_data",
        "CREATE TABLE mine (n int)",
        "SET default_transaction_read_only = off; DELETE FROM sensor_data",
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_read_file('/etc/passwd')",
    ],
)
def test_may_do_nothing_else(host: Host, statement: str) -> None:
    status, printed = as_viewer(host, statement)
    assert status != 0
    assert "permission denied" in printed or "read-only transaction" in printed


def test_a_long_query_is_ended(host: Host) -> None:
    assert "statement timeout" in as_viewer(host, "SELECT pg_sleep(60)")[1]


def test_a_table_of_a_later_migration_is_readable(host: Host) -> None:
    owner = "psql -XAtq -U sensor_user -d sensordb -c"
    host.check_output(f"{owner} 'CREATE TABLE later (n int)'")
    try:
        assert as_viewer(host, "SELECT count(*) FROM later") == (0, "0")
    finally:
        host.check_output(f"{owner} 'DROP TABLE later'")
