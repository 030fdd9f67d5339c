"""A real Grafana: who gets in, and that no panel of the dashboards is in error."""

from __future__ import annotations

import json
import os
import shlex
from typing import Any

import pytest
from testinfra.host import Host

from tests.grafana.boards import BOARDS, chosen_in_tests, queries

pytestmark = pytest.mark.skipif(
    not os.environ.get("GRAFANA_PACKAGE"),
    reason="GRAFANA_PACKAGE names no .deb or .tar.gz: Grafana itself is not tested",
)
CA = "/etc/edge-telemetry/tls/grafana/ca.pem"
ADMIN = "admin:for-tests-alone"


def api(host: Host, path: str, user: str = ADMIN, body: Any = None) -> tuple[int, Any]:
    """Status and answer of a request to Grafana."""
    command = ["curl", "-sS", "--cacert", CA, "-w", "\n%{http_code}"]
    command += ["-u", user] if user else []
    if body is not None:
        command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    answer, _, status = host.check_output(
        shlex.join([*command, f"https://localhost:3000{path}"])
    ).rpartition("\n")
    return int(status), json.loads(answer)


@pytest.mark.parametrize("user", ["", "admin:admin", "admin:wrong"])
def test_keeps_strangers_out(host: Host, user: str) -> None:
    assert api(host, "/api/search", user)[0] == 401


@pytest.mark.parametrize("uid", BOARDS)
def test_has_the_dashboard(host: Host, uid: str) -> None:
    status, found = api(host, f"/api/dashboards/uid/{uid}")
    assert status == 200
    assert found["meta"]["provisioned"] is True
    assert found["dashboard"]["title"] == BOARDS[uid]["title"]


@pytest.mark.parametrize("query", list(queries("timescaledb")), ids=str)
def test_no_panel_is_in_error(host: Host, query: Any) -> None:
    target = {**query.target, "rawSql": chosen_in_tests(query.target["rawSql"])}
    target |= {"intervalMs": 60000, "maxDataPoints": 500}
    body = {"queries": [target], "from": "now-6h", "to": "now"}
    status, answer = api(host, "/api/ds/query", body=body)
    result = answer["results"][target["refId"]]
    assert (status, result.get("error")) == (200, None)
    assert result["frames"]


def test_the_organisation_is_named(host: Host) -> None:
    assert api(host, "/api/org")[1]["name"] == "Edge telemetry"
    assert api(host, "/api/org/preferences")[1]["homeDashboardUID"] == "edge-sensors"
