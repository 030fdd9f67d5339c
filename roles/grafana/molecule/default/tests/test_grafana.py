"""A real Grafana: who gets in, and that no panel of the dashboards is in error."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from testinfra.host import Host

from tests.grafana.boards import BOARDS, chosen_in_tests, queries

pytestmark = pytest.mark.skipif(
    not os.environ.get("GRAFANA_PACKAGE"),
    reason="GRAFANA_PACKAGE names no .deb or .tar.gz: Grafana itself is not tested",
)
CA = "/etc/edge-telemetry/tls/grafana/ca.pem"
ADMIN = "admin:for-tests-alone"
PICTURES = Path(__file__).resolve().parents[5] / "results"
# As the npm package @grafana/e2e-selectors names them, from Grafana 10.2.3 on.
USER, PASSWORD, ENTER, IN_ERROR = (
    f'[data-testid="data-testid {name}"]'
    for name in (
        "Username input field",
        "Password input field",
        "Login button",
        "Panel status error",
    )
)


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


@pytest.fixture(scope="module")
def browser(host: Host) -> Iterator[Page]:
    """A page of someone who has logged in, in a browser on the controller."""
    address = host.check_output("hostname --all-ip-addresses").split()[0]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium-headless-shell"), args=["--no-sandbox"]
        )
        # The authority is the tests' own; that it is the right one is tested with curl above.
        page = chromium.new_page(
            base_url=f"https://{address}:3000",
            ignore_https_errors=True,
            viewport={"width": 1600, "height": 2400},
        )
        page.goto("/login")
        name, password = ADMIN.split(":")
        page.fill(USER, name)
        page.fill(PASSWORD, password)
        page.click(ENTER)
        page.wait_for_url(lambda url: "/login" not in url)
        yield page
        chromium.close()


@pytest.mark.parametrize("uid", BOARDS)
def test_a_browser_shows_the_dashboard(browser: Page, uid: str) -> None:
    browser.goto(f"/d/{uid}?from=now-6h&to=now&kiosk")
    browser.wait_for_load_state("networkidle")
    PICTURES.mkdir(exist_ok=True)
    browser.screenshot(path=PICTURES / f"grafana-{uid}.png")
    expect(browser.locator(IN_ERROR)).to_have_count(0)


def test_the_organisation_is_named(host: Host) -> None:
    assert api(host, "/api/org")[1]["name"] == "Edge telemetry"
    assert api(host, "/api/org/preferences")[1]["homeDashboardUID"] == "edge-sensors"
