"""Devices that are removed while they are connected: how soon are they out?"""

from __future__ import annotations

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from tests.security.certificates import Identity
from tests.security.doors import Visitor
from tests.security.gateway import CERTIFICATES, PASSWORDS, Gateway
from tests.security.mqtt import Refused
from tools.hops import DEMO, ROOT

# From the playbook's start. That depends on the controller: what ends later is told and not failed.
WANTED_SECONDS = 60.0
MOST_SECONDS = 600.0
BY_PASSWORD = {"name": "attack-password", "site": "office"}
BY_CERTIFICATE = {"name": "attack-certificate", "site": "office", "certificate": True}


def revoke(gateway: Gateway, variables: dict[str, str], folder: Path) -> list[dict[str, Any]]:
    """Add two devices, connect as them, remove them; return what became of each."""
    file = DEMO / "host_vars" / gateway.name / "devices.yml"
    present = yaml.safe_load(file.read_text(encoding="utf-8"))["edge_devices"]
    _play(variables, [*present, BY_PASSWORD, BY_CERTIFICATE])
    by_password = gateway.device(str(BY_PASSWORD["name"]))
    made = gateway.identity(f"devices-{gateway.name}", str(BY_CERTIFICATE["name"]))
    # A thief has a copy.
    kept = Identity(folder / "kept.crt", folder / "kept.key")
    shutil.copy(made.certificate, kept.certificate)
    shutil.copy(made.key, kept.key)
    visitors = {PASSWORDS: by_password, CERTIFICATES: Visitor(identity=kept)}
    results: list[dict[str, Any]] = []
    with (
        gateway.door(PASSWORDS).enter(visitors[PASSWORDS]) as one,
        gateway.door(CERTIFICATES).enter(visitors[CERTIFICATES]) as two,
        ThreadPoolExecutor() as threads,
    ):
        ends = {
            port: threads.submit(session.ended_after, MOST_SECONDS)
            for port, session in ((PASSWORDS, one), (CERTIFICATES, two))
        }
        _play(variables, present)
        for port, ended in ends.items():
            seconds = ended.result()
            result = {"service": f"MQTT {port}", "kind": "revoked while connected"}
            late = seconds is None or seconds > WANTED_SECONDS
            results.append(
                {**result, "admitted": seconds is None, "seconds": seconds, "late": late}
            )
    for port, visitor in visitors.items():
        try:
            with gateway.door(port).enter(visitor):
                again = True
        except Refused:
            again = False
        results.append({"service": f"MQTT {port}", "kind": "revoked", "admitted": again})
    return results


def _play(variables: dict[str, str], devices: list[dict[str, Any]]) -> None:
    extra = json.dumps(variables | {"edge_devices": devices})
    command = ["ansible-playbook", "-i", str(DEMO), "--limit", "gateway", "-e", extra]
    subprocess.run(
        [*command, "playbooks/devices.yml"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
