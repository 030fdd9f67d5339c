"""What Alertmanager holds back: a gateway's failure is one message."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import socket
from typing import Any

import jinja2
import pytest

TEMPLATE = (
    Path(__file__).resolve().parents[3]
    / "roles"
    / "monitoring"
    / "templates"
    / "alertmanager.yml.j2"
)
SETTINGS = {
    "ansible_managed": "made by a test",
    "monitoring_email_to": [],
    "monitoring_webhooks": [],
    "monitoring_group_wait_seconds": 1,
    "monitoring_repeat_hours": 1,
}


def render() -> str:
    environment = jinja2.Environment(trim_blocks=True)  # noqa: S701 - no web page
    environment.filters |= {"comment": "# {}".format, "to_json": json.dumps}
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(SETTINGS)


@contextmanager
def alertmanager(folder: Path) -> Iterator[str]:
    """Runs Alertmanager with the role's template; yields the address of its API."""
    program = shutil.which("prometheus-alertmanager")
    if program is None:
        pytest.skip("prometheus-alertmanager is not installed")
    (folder / "alertmanager.yml").write_text(render(), encoding="utf-8")
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = (f"--web.listen-address={address}", "--cluster.listen-address=")
    files = (f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}")
    with (folder / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen([program, *options, *files], stderr=log)
    try:
        yield f"http://{address}/api/v2/alerts"
    finally:
        process.terminate()
        process.wait()


def ask(url: str, body: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Posts alerts, or returns those that there are."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310
    for _ in range(50):
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
                return json.loads(answer.read() or b"[]")  # type: ignore[no-any-return]
        except OSError:
            time.sleep(0.1)
    message = f"{url} does not answer"
    raise AssertionError(message)


def states(folder: Path, *alerts: dict[str, str]) -> list[str]:
    """The state of each of these alerts, told all at once."""
    with alertmanager(folder) as url:
        ask(url, [{"labels": labels} for labels in alerts])
        time.sleep(1.5)
        found = {json.dumps(a["labels"], sort_keys=True): a["status"]["state"] for a in ask(url)}
    return [found[json.dumps(labels, sort_keys=True)] for labels in alerts]


def anomalies(gateway: str, kind: str) -> dict[str, str]:
    return {"alertname": "AnomaliesFound", "gateway": gateway, "kind": kind}


@pytest.mark.parametrize(
    "fault",
    [
        {"alertname": "HostDown", "host": "gw1"},
        {"alertname": "UplinkDown", "host": "gw1"},
        {"alertname": "GatewaySilent"},
    ],
    ids=lambda fault: fault["alertname"],
)
def test_a_gateways_failure_is_one_alert(fault: dict[str, str], tmp_path: Path) -> None:
    assert states(
        tmp_path,
        {**fault, "gateway": "gw1"},
        anomalies("gw1", "silence"),
        # What has nothing to do with it is told.
        anomalies("gw2", "silence"),
        anomalies("gw1", "stuck"),
    ) == ["active", "suppressed", "active", "active"]
