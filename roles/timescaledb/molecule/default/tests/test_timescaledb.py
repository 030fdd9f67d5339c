"""The database as the streaming job and an operator use it."""

import shlex

from testinfra.backend.base import CommandResult
from testinfra.host import Host

from tools.exposure import exposure

LOGIN = "sensor_user:test-only-database"
VERIFIED = "sslmode=verify-full&sslrootcert=/etc/edge-telemetry/tls/postgresql/ca.pem"
# The queries of the document that the project grew from.
SEED_QUERIES = (
    "SELECT * FROM sensor_data ORDER BY time DESC LIMIT 10;",
    "SELECT * FROM pipeline_kpi ORDER BY time DESC LIMIT 10;",
    "SELECT * FROM get_pipeline_latency_stats('1 hour'::interval);",
)


def address(host: Host) -> str:
    return str(host.check_output("hostname -I")).split()[0]


def ask(host: Host, query: str, login: str = LOGIN) -> CommandResult:
    """Run a query over TCP, not from loopback."""
    connection = f"postgresql://{login}@{address(host)}/sensordb?{VERIFIED}"
    return host.run(f"psql -XAt -v ON_ERROR_STOP=1 '{connection}' -c {shlex.quote(query)}")


def answer(host: Host, query: str) -> str:
    result = ask(host, query)
    assert result.rc == 0, result.stderr
    return str(result.stdout).strip()


def test_a_hypertable_is_made_and_filled_over_the_network(host: Host) -> None:
    answer(
        host,
        "CREATE TABLE probe (time timestamptz NOT NULL, value float);"
        "SELECT create_hypertable('probe', by_range('time'));"
        "INSERT INTO probe SELECT now() - n * interval '1 day', n FROM generate_series(1, 30) n",
    )
    try:
        assert answer(host, "SELECT count(*), sum(value) FROM probe") == "30|465"
        assert int(answer(host, "SELECT count(*) FROM show_chunks('probe')")) > 1
    finally:
        answer(host, "DROP TABLE probe")


def test_a_wrong_password_is_refused(host: Host) -> None:
    result = ask(host, "SELECT 1", "sensor_user:wrong")
    assert "password authentication failed" in result.stderr


def test_without_tls_nobody_is_let_in_over_the_network(host: Host) -> None:
    for login in (LOGIN, "storer:test-only-storer", "viewer:test-only-viewer"):
        for place in (address(host), "127.0.0.1"):
            plain = f"postgresql://{login}@{place}/sensordb?sslmode=disable"
            result = host.run(f"psql -XAt '{plain}' -c 'SELECT 1'")
            assert result.rc != 0
            assert "no encryption" in result.stderr, place


def test_old_tls_is_refused(host: Host) -> None:
    old = f"{VERIFIED}&ssl_min_protocol_version=TLSv1.1&ssl_max_protocol_version=TLSv1.1"
    connection = f"postgresql://{LOGIN}@{address(host)}/sensordb?{old}"
    assert host.run(f"psql -XAt '{connection}' -c 'SELECT 1'").rc != 0


def test_the_certificate_names_the_host(host: Host) -> None:
    """And no other: a client that was led astray finds out."""
    elsewhere = f"host=elsewhere hostaddr={address(host)} user=sensor_user dbname=sensordb"
    result = host.run(f"psql -XAt '{elsewhere} {VERIFIED.replace('&', ' ')}' -c 'SELECT 1'")
    assert 'does not match host name "elsewhere"' in result.stderr


def test_no_superuser_connects_over_the_network(host: Host) -> None:
    assert "no pg_hba.conf entry" in ask(host, "SELECT 1", "postgres:test-only-database").stderr
    assert answer(host, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == "f"


def test_extension_and_settings(host: Host) -> None:
    version = answer(host, "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
    assert version.startswith("2.")
    for setting, value in (
        ("TimeZone", "UTC"),
        ("synchronous_commit", "on"),
        ("timescaledb.telemetry_level", "off"),
        ("shared_buffers", "256MB"),
    ):
        assert answer(host, f"SHOW {setting}") == value


def test_the_documented_queries_run_on_the_host_without_a_password(host: Host) -> None:
    for query in SEED_QUERIES:
        command = f"psql -w -U sensor_user -d sensordb -c {shlex.quote(query)}"
        assert "row" in host.check_output(command)


def test_others_on_the_host_are_kept_out(host: Host) -> None:
    result = host.run("setpriv --reuid=nobody psql -w -U sensor_user -d sensordb -c 'SELECT 1'")
    assert "authentication failed" in result.stderr


def test_data_survives_a_kill(host: Host) -> None:
    answer(host, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    try:
        host.check_output("kill -9 $(head -n 1 /var/lib/postgresql/*/main/postmaster.pid)")
        ready = f"until pg_isready -q -h {address(host)}; do sleep 0.2; done"
        host.check_output(f"sleep 1; timeout 60 sh -c {shlex.quote(ready)}")
        assert answer(host, "SELECT sum(n) FROM kept") == "500500"
    finally:
        answer(host, "DROP TABLE kept")


def test_the_units_are_confined(host: Host) -> None:
    units = host.check_output("systemctl list-units --plain --no-legend 'postgresql@*'")
    for unit in (units.split()[0], "sensordb-maintenance.service", "sensordb-backup@diff.service"):
        assert exposure(host, unit) <= 2.0
