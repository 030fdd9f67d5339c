"""`make status` against the installed system: well, with a service down, and for programs."""

import json
import os
import subprocess
import sys
from typing import Any

from testinfra.host import Host

from tools.hops import ROOT
from tools.pipeline import GROUP, Pipeline, eventually

INVENTORY = os.environ["EDGE_INVENTORY"]


def status(*options: str) -> subprocess.CompletedProcess[str]:
    """Runs it against the hosts of this scenario."""
    network = os.environ["EDGE_NETWORK"]
    hosts = json.dumps({"host_group": GROUP, "host_network": network})
    command = [
        sys.executable,
        "-m",
        "tools.status",
        f"--inventory={INVENTORY}",
        f"--extra-vars={hosts}",
    ]
    return subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, check=False
    )


def document() -> dict[str, Any]:
    found = json.loads(status("--json").stdout)
    assert isinstance(found, dict)
    return found


def test_all_is_well_and_every_figure_is_there(pipeline: Pipeline) -> None:
    site = pipeline.site("status")
    pipeline.simulate("--site", site, "--devices", "2", "--rate", "50", "--count", "100")
    eventually("the rows", lambda: pipeline.stored(site), lambda rows: len(rows) >= 100)
    # The figures of a batch are written after it.
    eventually("the stages", lambda: pipeline.stages("1 minute"), lambda s: s[0]["samples"] > 0)
    run = status("--json")
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(run.stdout)
    assert found["well"] is True
    assert {(s["host"], s["unit"]) for s in found["services"]} >= {
        *(("gw1", "mosquitto"), ("gw1", "mqtt-bridge"), ("db1", "postgresql@18-main")),
        *(("core1", u) for u in ("kafka", "minio", "spark-master", "spark-worker")),
        *(("core1", "streaming-job"), ("core1", "chrony")),
    }
    assert {service["answer"] for service in found["services"]} == {"yes"}
    assert [stage["stage"] for stage in found["stages"]] == [
        *("MQTT → Kafka", "Kafka → Spark", "Spark → TimescaleDB", "Total (bout en bout)")
    ]
    for stage in found["stages"]:
        assert stage["samples"] > 0
        assert stage["p50_ms"] <= stage["p95_ms"] <= stage["p99_ms"]
    assert {query["name"] for query in found["queries"]} == {"store", "archive", "detect"}
    assert all(query["lag_records"] is not None for query in found["queries"])
    (gateway,) = found["gateways"]
    assert gateway["last_reading_seconds"] < 300
    assert all(machine["disk_free_bytes"] > 0 for machine in found["machines"])


def test_a_stopped_bridge_is_named_and_the_rest_is_shown(hosts: dict[str, Host]) -> None:
    hosts["gw1"].check_output("systemctl stop mqtt-bridge")
    try:
        run = status()
    finally:
        hosts["gw1"].check_output("systemctl start mqtt-bridge")
    assert run.returncode == 1, run.stdout + run.stderr
    wrong = [line for line in run.stdout.splitlines() if line.startswith("WRONG")]
    assert len(wrong) == 1
    assert "gw1 mqtt-bridge" in wrong[0]
    assert "streaming-job" in run.stdout
    eventually("all well again", document, lambda found: found["well"], seconds=180)


def test_a_host_that_is_away_is_a_row() -> None:
    # An address of the scenario's network that no host has.
    address = f"{os.environ['EDGE_NETWORK']}.250"
    nowhere = json.dumps({"host_group": GROUP, "host_ip": address})
    run = status(f"--extra-vars={nowhere}", "--json")
    assert run.returncode == 1, run.stdout + run.stderr
    found = json.loads(run.stdout)
    assert [machine["reached"] for machine in found["machines"]] == [False] * 3
    assert len(found["problems"]) == 3
