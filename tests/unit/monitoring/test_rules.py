"""Each alert of role monitoring fires by its fault and not without it; promtool runs the rules."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles" / "monitoring"
FILES = sorted((ROLE / "files" / "rules").glob("*.yml"))
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for path in FILES
    for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}
LIMITS: dict[str, float] = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))[
    "monitoring_default_limits"
]
DAY = 86400
MINUTES = {"m": 1, "h": 60, "d": 1440}


@dataclass(frozen=True)
class Case:
    """A fault, and the same series without it, one value a minute in promtool's notation.

    Attributes:
        labels: of the alert, besides its name and severity.
        onset: minute from which on the fault is there; the rule's `for` begins then.
    """

    alert: str
    fault: dict[str, str]
    well: dict[str, str]
    labels: dict[str, str]
    onset: int = 0

    @property
    def fires(self) -> int:
        """The minute at which it must fire."""
        wait = RULES[self.alert].get("for", "0m")
        return self.onset + int(wait[:-1]) * MINUTES[wait[-1]]


def gauge(alert: str, series: str, fault: float, well: float, **labels: str) -> Case:
    """A case of one gauge that stands at a wrong or at a good value."""
    named = "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"
    return Case(
        alert, {series + named: f"{fault}x3000"}, {series + named: f"{well}x3000"}, dict(labels)
    )


DB, GW, CORE = {"host": "db1"}, {"host": "gw1", "gateway": "gw1"}, {"host": "core1"}
DISK = {**GW, "mountpoint": "/", "fstype": "ext4"}
READING = {"device": "d1", "gateway": "gw1", "site": "s1", "room": "r1", **DB}
CERTIFICATE = {**CORE, "path": "/etc/kafka/server.pem"}
UNIT = {**CORE, "name": "kafka.service"}
STAGE = {"stage": "MQTT → Kafka", "quantile": "0.95"}
LAST = "sql_edge_device_last_reading_timestamp_seconds"


def named(series: str, labels: dict[str, str]) -> str:
    return series + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


def rising(alert: str, series: str, by: int, onset: int, **labels: str) -> Case:
    """A case of a counter that rises by so much each minute from a minute on."""
    of = named(series, labels)
    return Case(alert, {of: f"0x{onset - 1} {by}+{by}x3000"}, {of: "7x3000"}, labels, onset)


CASES = [
    gauge("ReadingsMissing", "sql_edge_ledger_readings", 1, 0, kind="missing", **DB),
    rising("BrokerDropsMessages", "bridge_broker_dropped_total", 1, 10, **GW),
    rising("KafkaRefusesMessages", "bridge_dead_letters_total", 1, 10, **GW),
    rising("RecordsRejected", "job_rows_rejected_total", 200, 20, **CORE),
    gauge("QueryDown", "job_query_up", 0, 1, query="store", **CORE),
    gauge("KafkaLag", "job_kafka_lag_records", 10001, 10000, query="store", **CORE),
    Case(
        "LatencyObjectiveBroken",
        {
            named("sql_edge_latency_milliseconds", {**STAGE, **DB}): "251x60",
            named("edge_latency_objective_milliseconds", STAGE): "250x60",
        },
        {
            named("sql_edge_latency_milliseconds", {**STAGE, **DB}): "250x60",
            # The median and the other stages have no objective of 250 ms.
            named("sql_edge_latency_milliseconds", {**STAGE, "quantile": "0.99"}): "900x60",
            named("edge_latency_objective_milliseconds", STAGE): "250x60",
        },
        {**STAGE, **DB},
    ),
    Case(
        "FiguresMissing",
        {"up": "1x60"},
        {'sql_edge_ledger_readings{kind="missing"}': "0x60"},
        {"kind": "missing"},
    ),
    gauge("UplinkDown", "bridge_kafka_connected", 0, 1, **GW),
    gauge("BrokerUnreachable", "bridge_mqtt_connected", 0, 1, **GW),
    Case(
        "MessagesWait",
        {
            named("bridge_oldest_waiting_seconds", GW): "61x60",
            named("bridge_kafka_connected", GW): "1x60",
        },
        # Without an uplink another alert says so.
        {
            named("bridge_oldest_waiting_seconds", GW): "61x60",
            named("bridge_kafka_connected", GW): "0x60",
        },
        GW,
    ),
    gauge("SpoolFilling", "bridge_spool_bytes", 2.1e9, 1.9e9, **GW),
    gauge("SpoolNotWritable", "bridge_spool_writable", 0, 1, **GW),
    Case(
        "GatewaySilent",
        # The newest of its devices counts.
        {named(LAST, READING): "0x200", named(LAST, {**READING, "device": "d2"}): "60x200"},
        {named(LAST, READING): "0x200", named(LAST, {**READING, "device": "d2"}): "0+60x200"},
        {"gateway": "gw1"},
        onset=62,
    ),
    Case(
        "DeviceSilent",
        {named(LAST, READING): "0x200"},
        {named(LAST, READING): "0+60x200"},
        READING,
        onset=61,
    ),
    Case(
        "AnomaliesFound",
        # Hundreds of devices are one alert.
        {
            named(
                "sql_edge_anomalous_devices", {"gateway": "gw1", "kind": "silence", **DB}
            ): "400x60"
        },
        {named("sql_edge_anomalous_devices", {"gateway": "gw1", "kind": "silence", **DB}): "0x60"},
        {"gateway": "gw1", "kind": "silence"},
    ),
    gauge("HostDown", "up", 0, 1, job="node", **GW),
    Case(
        "DiskFull",
        {
            named("node_filesystem_avail_bytes", DISK): "9x60",
            named("node_filesystem_size_bytes", DISK): "100x60",
        },
        {
            named("node_filesystem_avail_bytes", DISK): "11x60",
            named("node_filesystem_size_bytes", DISK): "100x60",
            # Memory that is full by nature.
            named("node_filesystem_avail_bytes", {**DISK, "fstype": "tmpfs"}): "0x60",
            named("node_filesystem_size_bytes", {**DISK, "fstype": "tmpfs"}): "100x60",
        },
        DISK,
    ),
    Case(
        "DiskFilling",
        {
            named("node_filesystem_avail_bytes", DISK): "39-0.05x500",
            named("node_filesystem_size_bytes", DISK): "100x500",
        },
        {
            named("node_filesystem_avail_bytes", DISK): "39-0.01x500",
            named("node_filesystem_size_bytes", DISK): "100x500",
        },
        DISK,
        onset=1,
    ),
    gauge("FileSystemReadOnly", "node_filesystem_readonly", 1, 0, **DISK),
    gauge("ClockUnsynchronised", "edge_clock_synchronised", 0, 1, **GW),
    gauge("ClockOff", "edge_clock_offset_seconds", -0.11, 0.09, **GW),
    Case(
        "ClockUnknown",
        {named("node_textfile_mtime_seconds", {**GW, "file": "/x/clock.prom"}): "0x60"},
        {
            named("node_textfile_mtime_seconds", {**GW, "file": "/x/clock.prom"}): "0+60x60",
            # What is written once a day is not of the clock.
            named("node_textfile_mtime_seconds", {**GW, "file": "/x/other.prom"}): "0x60",
        },
        {**GW, "file": "/x/clock.prom"},
        onset=11,
    ),
    gauge(
        "CertificateExpires",
        "edge_certificate_expiry_timestamp_seconds",
        20 * DAY,
        22 * DAY,
        **CERTIFICATE,
    ),
    gauge("CertificateExpired", "edge_certificate_expiry_timestamp_seconds", 0, DAY, **CERTIFICATE),
    Case(
        "ServiceDown",
        {named("node_systemd_unit_state", {**UNIT, "state": "active", "type": "simple"}): "0x60"},
        {
            named("node_systemd_unit_state", {**UNIT, "state": "active", "type": "simple"}): "1x60",
            # A backup that is not running just now.
            named(
                "node_systemd_unit_state", {**UNIT, "state": "active", "type": "oneshot"}
            ): "0x60",
        },
        {**UNIT, "state": "active", "type": "simple"},
    ),
    gauge("TaskFailed", "node_systemd_unit_state", 1, 0, **UNIT, state="failed", type="oneshot"),
    gauge("MetricsUnreachable", "up", 0, 1, job="kafka", **CORE),
    gauge(
        "KafkaPartitionsOffline",
        "kafka_controller_kafkacontroller_offlinepartitionscount",
        1,
        0,
        **CORE,
    ),
    gauge(
        "KafkaUnderReplicated",
        "kafka_server_replicamanager_underreplicatedpartitions",
        1,
        0,
        **CORE,
    ),
    gauge("SparkWithoutWorkers", "metrics_master_aliveWorkers_Value", 0, 1, **CORE),
    gauge("DatabaseDown", "pg_up", 0, 1, **DB),
    gauge("ArchiveStoreUnwell", "minio_cluster_health_status", 0, 1, **CORE),
    Case(
        "BackupTooOld",
        {
            named(
                "pgbackrest_backup_since_last_completion_seconds",
                {**DB, "stanza": "s", "backup_type": kind},
            ): f"{hours * 3600}x60"
            for kind, hours in (("full", 90), ("diff", 27))
        },
        {
            named(
                "pgbackrest_backup_since_last_completion_seconds",
                {**DB, "stanza": "s", "backup_type": kind},
            ): f"{hours * 3600}x60"
            for kind, hours in (("full", 90), ("diff", 25))
        },
        {**DB, "stanza": "s"},
    ),
    gauge("BackupMissing", "pgbackrest_stanza_status", 2, 0, **DB, stanza="s"),
    gauge("WalNotArchived", "sql_edge_wal_archive_failing", 1, 0, **DB),
]


def promtool(document: dict[str, Any], path: Path) -> subprocess.CompletedProcess[str]:
    """What promtool says of a test in its own format."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    # JSON is YAML, and keeps strings what they are.
    path.write_text(json.dumps(document), encoding="utf-8")
    command = ["promtool", "test", "rules", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def expectation(case: Case, minute: int, *, fires: bool) -> dict[str, Any]:
    """That the alert fires at a minute with its labels, or that it does not."""
    labels = {
        **case.labels,
        "alertname": case.alert,
        "alertstate": "firing",
        "severity": RULES[case.alert]["labels"]["severity"],
    }
    return {
        "expr": f'ALERTS{{alertname="{case.alert}",alertstate="firing"}}',
        "eval_time": f"{minute}m",
        "exp_samples": [{"labels": named("ALERTS", labels), "value": 1}] if fires else [],
    }


@pytest.mark.parametrize("case", CASES, ids=[case.alert for case in CASES])
def test_alert_fires_by_its_fault_alone(case: Case, tmp_path: Path) -> None:
    limits = {f'edge_limit{{of="{name}"}}': f"{value}x3000" for name, value in LIMITS.items()}
    tests = []
    for series, fault in ((case.fault, True), (case.well, False)):
        checks = [expectation(case, case.fires, fires=fault)]
        if fault and case.fires:
            checks.append(expectation(case, case.fires - 1, fires=False))
        tests.append(
            {
                "interval": "1m",
                "input_series": [
                    {"series": name, "values": values}
                    for name, values in {**limits, **series}.items()
                ],
                "promql_expr_test": checks,
            }
        )
    document = {
        "rule_files": [str(path) for path in FILES],
        "evaluation_interval": "1m",
        "tests": tests,
    }
    run = promtool(document, tmp_path / "test.yml")
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_alert_has_a_case() -> None:
    assert sorted(case.alert for case in CASES) == sorted(RULES)


def test_silence_is_never_wrong_where_the_limit_is_zero(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.alert == "GatewaySilent")
    series = {**case.fault, 'edge_limit{of="silent_minutes"}': "0x200"}
    document = {
        "rule_files": [str(path) for path in FILES],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": s, "values": v} for s, v in series.items()],
                "promql_expr_test": [expectation(case, 120, fires=False)],
            }
        ],
    }
    run = promtool(document, tmp_path / "test.yml")
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("name", sorted(RULES))
def test_alert_says_what_to_do_and_has_a_page(name: str) -> None:
    rule = RULES[name]
    assert rule["labels"]["severity"] in {"warning", "critical"}
    said = rule["annotations"]
    assert {"summary", "description", "runbook"} == set(said)
    page, heading = said["runbook"].split("#")
    text = (ROOT / page).read_text(encoding="utf-8")
    assert heading == name.lower()
    assert re.search(rf"(?m)^## {name}$", text), f"{page} lacks a section {name}"


@pytest.mark.parametrize("name", sorted(RULES))
def test_rule_compares_with_limits_that_exist(name: str) -> None:
    assert set(re.findall(r'edge_limit\{of="(\w+)"\}', RULES[name]["expr"])) <= set(LIMITS)


def test_every_limit_is_used() -> None:
    used = {limit for rule in RULES.values() for limit in re.findall(r'of="(\w+)"', rule["expr"])}
    assert used == set(LIMITS)
