"""What Grafana is to read, as it lies on the host: with and without Grafana itself."""

from __future__ import annotations

import configparser
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

ROLE = Path(__file__).resolve().parents[3]
FOLDER = "/etc/grafana/edge"
PASSWORD = "$HOME: 'for' \"tests\" #1"  # noqa: S105 - as inventory.yml has it


def provisioned(host: Host, kind: str) -> Any:
    return yaml.safe_load(host.file(f"{FOLDER}/{kind}/edge.yaml").content_string)


@pytest.fixture
def settings(host: Host) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(host.file("/etc/grafana/edge.ini").content_string)
    return parser


def test_nobody_gets_in_without_a_password(settings: configparser.ConfigParser) -> None:
    assert settings["auth.anonymous"]["enabled"] == "false"
    assert settings["users"]["allow_sign_up"] == "false"
    security = settings["security"]
    for name in ("admin_password", "secret_key"):
        assert security[name] == f"$__file{{/run/credentials/grafana.service/{name}}}"
    assert security["cookie_secure"] == "true"
    assert settings["server"]["protocol"] == "https"
    # One more setting, from the inventory.
    assert settings["users"]["default_theme"] == "light"


def test_the_certificate_is_one_that_grafana_can_read(
    host: Host, settings: configparser.ConfigParser
) -> None:
    server = settings["server"]
    authority = str(Path(server["cert_file"]).parent / "ca.pem")
    host.check_output("openssl verify -CAfile %s %s", authority, server["cert_file"])
    readable = "runuser -u grafana -- openssl pkey -noout -in %s"
    host.check_output(readable, server["cert_key"])
    assert host.file(server["cert_key"]).mode & 0o007 == 0


def test_secrets_are_for_grafana_alone(host: Host) -> None:
    for path in ("/etc/grafana/edge.ini", f"{FOLDER}/datasources/edge.yaml"):
        file = host.file(path)
        assert (file.user, file.group, file.mode) == ("root", "grafana", 0o640)


def test_data_sources_are_those_of_the_dashboards(host: Host) -> None:
    sources = {source["uid"]: source for source in provisioned(host, "datasources")["datasources"]}
    wanted = {
        (target["datasource"]["uid"], target["datasource"]["type"])
        for path in (ROLE / "files" / "dashboards").glob("*.json")
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
        for target in panel.get("targets", [])
    }
    assert wanted >= {(uid, source["type"]) for uid, source in sources.items()}
    assert {uid for uid, _ in wanted} == {"timescaledb", "prometheus"}
    # As Grafana reads it, two dollar signs are one.
    password = sources["timescaledb"]["secureJsonData"]["password"]
    assert password.replace("$$", "$") == PASSWORD
    assert sources["timescaledb"]["jsonData"]["timescaledb"] is True


def test_every_dashboard_is_where_the_provider_looks(host: Host) -> None:
    (provider,) = provisioned(host, "dashboards")["providers"]
    shipped = {path.name for path in (ROLE / "files" / "dashboards").glob("*.json")}
    assert set(host.file(provider["options"]["path"]).listdir()) == shipped
    assert len(shipped) == 5


def test_contact_points_take_mail_and_webhook(host: Host) -> None:
    alerting = provisioned(host, "alerting")
    (point,) = alerting["contactPoints"]
    settings = {receiver["type"]: receiver["settings"] for receiver in point["receivers"]}
    assert settings["email"]["addresses"] == "one@example.org;two@example.org"
    assert settings["webhook"]["url"] == "https://example.org/hook?key=$$1"
    assert [policy["receiver"] for policy in alerting["policies"]] == [point["name"]]
