"""A real fault on one of three hosts becomes one message at a real receiver."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from testinfra.host import Host

from tests.grafana.boards import queries
from tests.grafana.test_boards import names, promql

ROLE = Path(__file__).resolve().parents[3]
ROOT = ROLE.parents[1]
RULES = ROLE / "files" / "rules"
PROMETHEUS, ALERTMANAGER = "http://127.0.0.1:9090", "http://127.0.0.1:9095"
RECEIVED = "/run/alerts.jsonl"
# Keeps each message that Alertmanager posts as a line.
RECEIVER = f"""
from http.server import BaseHTTPRequestHandler, HTTPServer
class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open("{RECEIVED}", "ab") as file:
            file.write(body + b"\\n")
        self.send_response(200)
        self.end_headers()
HTTPServer(("127.0.0.1", 9199), Receiver).serve_forever()
"""
JOBS = {
    *("node", "bridge", "streaming_job", "kafka", "spark_master", "spark_worker", "minio"),
    *("postgres", "sql", "pgbackrest", "prometheus", "alertmanager"),
}
KEYWORDS = {"and", "or", "unless", "on", "by", "group_left"}
# One more certificate, in the way that role tls_certificate leaves them.
EXPIRY = "edge_certificate_expiry_timestamp_seconds"
TEXTFILES = "/var/lib/prometheus/node-exporter"
MOST_MIB = 400


@pytest.fixture(scope="module")
def core(hosts: dict[str, Host]) -> Host:
    return hosts["watched-core"]


@pytest.fixture(scope="module")
def gateway(hosts: dict[str, Host]) -> Host:
    return hosts["watched-gw"]


@pytest.fixture(scope="module")
def received(core: Host) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The alerts that have arrived at the receiver, oldest first."""
    core.check_output(
        f"rm -f {RECEIVED}; systemd-run --unit=receiver python3 -c {shlex.quote(RECEIVER)}"
    )

    def read() -> list[dict[str, Any]]:
        lines = core.run(f"cat {RECEIVED}").stdout.splitlines()
        return [alert for line in lines if line for alert in json.loads(line)["alerts"]]

    yield read
    core.check_output("systemctl stop receiver")


def publish(gateway: Host, device: str, seq: int, humidity: float) -> None:
    """Sends a reading as a device of the gateway, with the password that the controller made."""
    secrets = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"], ".secrets", "devices", "watched-gw")
    password = (secrets / f"{device}.password").read_text(encoding="utf-8").strip()
    payload = {"device_id": device, "seq": seq, "temperature": 20, "humidity": humidity}
    gateway.check_output(
        "mosquitto_pub -h localhost -p 8883 --cafile /etc/edge-telemetry/tls/mosquitto/ca.pem"
        f" -u {device} -P {password} -q 1 -t sensors/site/{device}/telemetry"
        f" -m {shlex.quote(json.dumps(payload))}"
    )


@pytest.fixture(scope="module", autouse=True)
def readings(core: Host, gateway: Host, hosts: dict[str, Host]) -> None:
    """Readings, one of them left out, and a backup: else some figures are not there."""
    for seq in (1, 2, 4):
        publish(gateway, "probe", seq, humidity=40)
    hosts["watched-db"].check_output("systemctl start sensordb-backup@full")
    wait_for(lambda: query(core, "sql_edge_device_last_reading_timestamp_seconds"), 180)


def wait_for(condition: Callable[[], Any], seconds: float) -> Any:
    """What the condition came to, once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(2)
    return found


def get(host: Host, url: str) -> Any:
    """The answer of an API of the host."""
    return json.loads(host.check_output(f"curl --fail --silent {shlex.quote(url)}"))


def query(core: Host, expression: str) -> list[dict[str, Any]]:
    """The series that Prometheus has now."""
    return list(get(core, f"{PROMETHEUS}/api/v1/query?query={quote(expression)}")["data"]["result"])


def alerts(core: Host) -> dict[tuple[str, str], str]:
    """State of each alert at Alertmanager, by name and host: active, or suppressed by another."""
    return {
        (alert["labels"]["alertname"], alert["labels"].get("host", "")): alert["status"]["state"]
        for alert in get(core, f"{ALERTMANAGER}/api/v2/alerts")
    }


def certificate_ends(core: Host, moment: str) -> None:
    """Tell of one more certificate; of two files node exporter wants the same help and type."""
    line = f'{EXPIRY}{{path="/etc/test.pem"}} {moment}'
    heading = f"head --lines=2 {TEXTFILES}/edge_certificate_kafka.prom"
    core.check_output(f"({heading}; echo '{line}') > {TEXTFILES}/test.prom")


def metrics_of(expression: str) -> set[str]:
    """Names of the metrics in an expression."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", expression)
    bare = re.sub(r"\b(by|on|group_left)\s*\([^)]*\)", "", bare)
    return set(re.findall(r"\b[a-zA-Z_][a-zA-Z0-9_]*\b(?!\s*\()", bare)) - KEYWORDS


def test_every_kind_of_service_is_asked_and_answers(core: Host) -> None:
    wait_for(lambda: all(series["value"][1] == "1" for series in query(core, "up")), 120)
    assert {series["metric"]["job"] for series in query(core, "up")} == JOBS
    assert {series["metric"]["host"] for series in query(core, 'up{job="node"}')} == {
        *("watched-core", "watched-gw", "watched-db")
    }
    assert query(core, 'up{job="bridge"}')[0]["metric"]["gateway"] == "watched-gw"


def test_the_status_has_them_too() -> None:
    files = (ROLE / "molecule/default/inventory.yml", ROOT / "molecule/shared/inventory.yml")
    command = [sys.executable, "-m", "tools.status", *(f"--inventory={file}" for file in files)]
    run = subprocess.run(
        [*command, "--json"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    found = {
        (service["host"], service["unit"]): (service["systemd"], service["answer"])
        for service in json.loads(run.stdout)["services"]
        if service["unit"].startswith("prometheus")
    }
    assert set(found.values()) == {("running", "yes")}
    assert set(found) == {
        *(("watched-core", unit) for unit in ("prometheus", "prometheus-alertmanager")),
        *(
            (host, "prometheus-node-exporter")
            for host in ("watched-core", "watched-gw", "watched-db")
        ),
        *(("watched-db", f"prometheus-{of}-exporter") for of in ("postgres", "sql", "pgbackrest")),
    }


def test_metrics_of_every_rule_are_there(core: Host) -> None:
    certificate_ends(core, "9e9")
    wait_for(lambda: query(core, EXPIRY + '{path="/etc/test.pem"}'), 60)
    # Its exporter looks every five minutes.
    wait_for(lambda: query(core, "pgbackrest_backup_since_last_completion_seconds"), 400)
    known = set(get(core, f"{PROMETHEUS}/api/v1/label/__name__/values")["data"])
    groups = [
        group
        for path in RULES.glob("*.yml")
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    ]
    named = {
        name for group in groups for rule in group["rules"] for name in metrics_of(rule["expr"])
    }
    assert len(named) > len(groups)
    assert named - known == set()


def test_figures_are_those_of_the_database(core: Host, hosts: dict[str, Host]) -> None:
    ledger = "SELECT missing FROM ledger WHERE device_id = 'probe'"
    psql = f"runuser -u postgres -- psql -At sensordb -c {shlex.quote(ledger)}"
    wait_for(lambda: hosts["watched-db"].check_output(psql) == "1", 180)
    wait_for(
        lambda: (
            [s["value"][1] for s in query(core, 'sql_edge_ledger_readings{kind="missing"}')]
            == ["1"]
        ),
        90,
    )
    last = query(core, "sql_edge_device_last_reading_timestamp_seconds")[0]
    assert last["metric"]["device"] == "probe"
    assert last["metric"]["gateway"] == "watched-gw"
    assert abs(float(last["value"][1]) - time.time()) < 3600
    stages = {s["metric"]["stage"] for s in query(core, "edge_latency_objective_milliseconds")}
    assert stages == {s["metric"]["stage"] for s in query(core, "sql_edge_latency_samples")}


def test_service_that_stops_is_told_with_its_page_and_then_well(
    core: Host, gateway: Host, received: Callable[[], list[dict[str, Any]]]
) -> None:
    gateway.check_output("systemctl stop mosquitto")
    try:
        told = wait_for(
            lambda: [a for a in received() if a["labels"].get("name") == "mosquitto.service"], 240
        )[0]
        assert told["labels"]["alertname"] == "ServiceDown"
        assert told["labels"]["gateway"] == "watched-gw"
        assert told["annotations"]["runbook"] == "docs/runbooks/services.md#servicedown"
        assert told["annotations"]["summary"] == "mosquitto.service of watched-gw does not run"
        # The bridge has nothing to subscribe to; that is told by the same message.
        wait_for(lambda: ("BrokerUnreachable", "watched-gw") in alerts(core), 240)
        assert alerts(core)["BrokerUnreachable", "watched-gw"] == "suppressed"
    finally:
        gateway.check_output("systemctl start mosquitto")
    wait_for(
        lambda: [
            a
            for a in received()
            if a["labels"].get("name") == "mosquitto.service" and a["status"] == "resolved"
        ],
        240,
    )
    assert "BrokerUnreachable" not in {a["labels"]["alertname"] for a in received()}


def test_gateway_that_is_away_is_one_alert(
    core: Host, gateway: Host, received: Callable[[], list[dict[str, Any]]]
) -> None:
    address = gateway.check_output("hostname -I").split()[0]
    core.check_output(f"ip route add blackhole {address}/32")
    try:
        wait_for(lambda: ("MetricsUnreachable", "watched-gw") in alerts(core), 400)
        found = {
            name: state for (name, host), state in alerts(core).items() if host == "watched-gw"
        }
    finally:
        core.check_output(f"ip route del blackhole {address}/32")
    assert found.pop("HostDown") == "active"
    assert set(found.values()) == {"suppressed"}
    assert "MetricsUnreachable" not in {a["labels"]["alertname"] for a in received()}


def test_anomalies_of_a_gateway_are_one_alert_until_they_are_marked_as_false(
    gateway: Host, hosts: dict[str, Host], received: Callable[[], list[dict[str, Any]]]
) -> None:
    for device in ("odd1", "odd2"):
        publish(gateway, device, 1, humidity=130)

    def told(status: str) -> list[dict[str, Any]]:
        return [
            alert
            for alert in received()
            if alert["labels"]["alertname"] == "AnomaliesFound" and alert["status"] == status
        ]

    found = wait_for(lambda: told("firing"), 240)
    labels = {(alert["labels"]["gateway"], alert["labels"]["kind"]) for alert in found}
    assert labels == {("watched-gw", "impossible")}
    mark = (
        "SELECT mark_false_alarm(device_id, quantity, kind, time) FROM anomalies"
        " WHERE device_id IN ('odd1', 'odd2')"
    )
    hosts["watched-db"].check_output(
        f"runuser -u postgres -- psql -At sensordb -c {shlex.quote(mark)}"
    )
    wait_for(lambda: told("resolved"), 240)


def test_expired_certificate_is_told(
    core: Host, received: Callable[[], list[dict[str, Any]]]
) -> None:
    certificate_ends(core, "1")
    try:
        wait_for(
            lambda: "CertificateExpired" in {a["labels"]["alertname"] for a in received()}, 120
        )
    finally:
        core.check_output(f"rm {TEXTFILES}/test.prom")


def test_metrics_of_every_panel_were_there(core: Host) -> None:
    wanted = {name for found in queries("prometheus") for name in names(promql(found))}
    assert len(wanted) > len(JOBS)
    assert wanted - set(get(core, f"{PROMETHEUS}/api/v1/label/__name__/values")["data"]) == set()


def test_watching_costs_little_memory(hosts: dict[str, Host]) -> None:
    # The names of processes are cut after 15 characters.
    ask = "ps -eo rss=,comm= | awk '$2 ~ /^prometheus/ {sum += $1} END {print sum}'"
    assert sum(int(host.check_output(ask)) for host in hosts.values()) >> 10 < MOST_MIB
