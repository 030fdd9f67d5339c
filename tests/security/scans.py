"""What known scanners find: testssl.sh at each port that speaks TLS, lynis on each host.

Both are Debian's packages: testssl.sh of this machine (without it the report says so in its place),
lynis of each host, for as long as it looks.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.exposure import Runner
from tools.hops import System

# From testssl.sh's scale; `LOW` and below are not counted.
COUNTED = {"MEDIUM", "HIGH", "CRITICAL"}
# Finding: why it stays.
TLS_WAIVERS = {
    "cert_revocation": "lists of revoked certificates are files on each host, not at an address",
}
HARDENING = 80
# Tests of lynis that are left out, each with its reason.
PROFILE = Path(__file__).with_name("lynis.prf")
_SECONDS = 300


@dataclass(frozen=True)
class Door:
    """A port that speaks TLS, what testssl.sh is told to begin it, and who vouches for it."""

    name: str
    address: str
    begins: tuple[str, ...] = ()
    authority: str = "ca1"


def doors(system: System) -> Iterator[Door]:
    """All of the demo's hosts."""
    for port in (8883, 8884, 8885):
        yield Door(f"MQTT {port}", f"{system.gateway}:{port}")
    yield Door("Kafka 9092", f"{system.core}:9092", authority="kafka1")
    yield Door("S3 9000", f"{system.core}:9000")
    yield Door("PostgreSQL 5432", f"{system.database}:5432", ("--starttls", "postgres"))


def scan_tls(system: System, folder: Path) -> dict[str, Any]:
    """Let testssl.sh look at protocols, ciphers, certificate and known weaknesses of each port.

    Returns:
        For each port its findings from `COUNTED`, those that are waived apart.
    """
    program = shutil.which("testssl")
    if not program:
        return {"skipped": {"reason": "testssl.sh is missing here: apt-get install testssl.sh"}}
    found: dict[str, Any] = {}
    for door in doors(system):
        file = folder / f"testssl-{door.address}.json"
        asks = ("--protocols", "--std", "--fs", "--server-defaults", "--vulnerable")
        quiet = ("--quiet", "--color", "0", "--warnings", "batch")
        trust = ("--add-ca", str(system.authority(door.authority)))
        subprocess.run(
            [program, *quiet, *asks, *trust, *door.begins, "--jsonfile", str(file), door.address],
            check=False,
            timeout=_SECONDS,
            stdout=subprocess.DEVNULL,
        )
        found[door.name] = judge_tls(json.loads(file.read_text(encoding="utf-8")))
    return found


def judge_tls(lines: list[dict[str, str]]) -> dict[str, list[str]]:
    """Sort what testssl.sh says of a port; a port that it could not look at counts as a finding."""
    serious = [line for line in lines if line["severity"] in COUNTED]
    if not any(line["id"] == "TLS1_3" for line in lines):
        serious.append({"id": "scan", "finding": "testssl.sh did not get as far as TLS 1.3"})
    return {
        "findings": [f"{x['id']}: {x['finding']}" for x in serious if x["id"] not in TLS_WAIVERS],
        "waived": [f"{x['id']}: {TLS_WAIVERS[x['id']]}" for x in serious if x["id"] in TLS_WAIVERS],
    }


def audit(host: Runner) -> dict[str, Any]:
    """Let lynis look at a host; it is installed for that and removed again.

    Returns:
        `hardening`, of 100; `warnings` and `suggestions`, by their test's number.
    """
    host.check_output("apt-get install -qq -y --no-install-recommends lynis >/dev/null 2>&1")
    try:
        profile = shlex.quote(PROFILE.read_text(encoding="utf-8"))
        host.check_output(f"printf %s {profile} > /etc/lynis/custom.prf")
        host.check_output("lynis audit system --quick --quiet --no-colors >/dev/null 2>&1 || true")
        report = host.check_output("cat /var/log/lynis-report.dat")
    finally:
        host.check_output("apt-get purge -qq -y lynis >/dev/null 2>&1")
        host.check_output("rm -rf /var/log/lynis* /etc/lynis")
    return read_audit(report)


def read_audit(report: str) -> dict[str, Any]:
    """Read lynis's report.

    Raises:
        ValueError: there is no figure in it.
    """
    index = re.search(r"^hardening_index=(\d+)$", report, re.MULTILINE)
    if not index:
        message = f"lynis's report has no hardening_index: {report[-200:]!r}"
        raise ValueError(message)
    return {
        "hardening": int(index[1]),
        "warnings": re.findall(r"^warning\[\]=([^|]+\|[^|]*)", report, re.MULTILINE),
        "suggestions": re.findall(r"^suggestion\[\]=([^|]+\|[^|]*)", report, re.MULTILINE),
    }
