"""What Prometheus would find on a host that tells of itself, and on one that has the database."""

import re
import time

import pytest
from testinfra.host import Host

DATABASE = "exporters-forky"


def metrics(host: Host, port: int = 9100) -> str:
    """What an exporter of the host says now."""
    return host.check_output(f"curl --fail --silent http://127.0.0.1:{port}/metrics")


def value(text: str, series: str) -> float:
    """The value of a series, given with its labels."""
    found = re.search(rf"(?m)^{re.escape(series)} (\S+)$", text)
    assert found, f"no {series}"
    return float(found[1])


def has_database(host: Host) -> bool:
    return DATABASE in host.backend.name


def test_units_and_their_states_are_told(host: Host) -> None:
    kind = host.check_output("systemctl show --property=Type --value chrony")
    unit = f'node_systemd_unit_state{{name="chrony.service",state="active",type="{kind}"}}'
    host.check_output("systemctl stop chrony")
    try:
        stopped = metrics(host)
    finally:
        host.check_output("systemctl start chrony")
    assert value(stopped, unit) == 0
    assert value(metrics(host), unit) == 1


def test_clock_is_told_as_chrony_has_it(host: Host) -> None:
    host.check_output("systemctl start clock-metrics")
    text = metrics(host)
    leap = host.check_output("chronyc -n -c tracking").split(",")[13]
    assert value(text, "edge_clock_synchronised") == (leap != "Not synchronised")


def test_clock_that_nobody_asks_is_not_told_as_good(host: Host) -> None:
    host.check_output("systemctl start clock-metrics")
    before = host.file("/var/lib/prometheus/node-exporter/clock.prom").mtime
    host.check_output("systemctl stop chrony")
    try:
        time.sleep(1)
        assert host.run("systemctl start clock-metrics").rc != 0
        # The file's age is what the alert looks at.
        assert host.file("/var/lib/prometheus/node-exporter/clock.prom").mtime == before
    finally:
        host.check_output("systemctl start chrony")


def test_what_other_roles_leave_is_told(host: Host) -> None:
    path = "/var/lib/prometheus/node-exporter/test.prom"
    host.check_output(f"echo 'edge_test_seconds{{path=\"/x\"}} 5' > {path}")
    assert value(metrics(host), 'edge_test_seconds{path="/x"}') == 5
    host.check_output(f"rm {path}")
    if has_database(host):
        # The database's, which role tls_certificate made.
        ends = re.findall(
            r"(?m)^edge_certificate_expiry_timestamp_seconds{.*} (\S+)$", metrics(host)
        )
        assert ends
        assert min(map(float, ends)) > time.time()


def test_nothing_listens_beyond_loopback(host: Host) -> None:
    listening = host.check_output("ss --tcp --listening --numeric --no-header")
    ports = re.findall(r"(\S+):(9100|9187|9237|9854)\s", listening)
    assert {address for address, _ in ports} == {"127.0.0.1"}
    assert len(ports) == (4 if has_database(host) else 1)


def test_database_is_asked_as_one_who_may_only_read(host: Host) -> None:
    if not has_database(host):
        pytest.skip("this host has no database")
    assert value(metrics(host, 9187), "pg_up") == 1
    refused = host.run(
        "runuser -u prometheus -- psql --host=/run/postgresql sensordb -c 'DELETE FROM sensor_data'"
    )
    assert refused.rc != 0
    assert "permission denied" in refused.stderr
    allowed = (
        "runuser -u prometheus -- psql --host=/run/postgresql -At sensordb -c 'TABLE sensor_data'"
    )
    assert not host.check_output(allowed)


def test_every_query_of_the_pipeline_runs(host: Host) -> None:
    if not has_database(host):
        pytest.skip("this host has no database")
    text = metrics(host, 9237)
    failed = re.findall(r'(?m)^sql_exporter_last_scrape_failed{.*query="([^"]+)".*} (\S+)$', text)
    assert len(failed) == 6
    assert {state for _, state in failed} == {"0"}
    assert value(metrics(host, 9854), 'pgbackrest_stanza_status{stanza="sensordb"}') == 2
