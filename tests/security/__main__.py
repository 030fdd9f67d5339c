"""`make attack`: everything that should be refused is tried; results/attack.json says what was.

    python -m tests.security [--group demo] [--network 10.92.0] [--scan]

on the hosts of inventories/demo, which have to be up (`make demo`).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.security import broker, database, gateway, spark_master, store
from tests.security.attempts import Attempt, Service
from tests.security.certificates import Maker
from tests.security.doors import Unclear
from tests.security.ports import compare, declared
from tests.security.revocation import revoke
from tests.security.scans import HARDENING, audit, scan_tls
from tools.exposure import exposure
from tools.hops import DEMO, ROOT, System

# Another service is one more module.
SERVICES: tuple[Service, ...] = (gateway, broker, database, store, spark_master)
UNITS = {
    "gw1": ("mosquitto", "mqtt-bridge", "chrony"),
    "core1": ("kafka", "minio", "spark-master", "spark-worker", "streaming-job", "chrony"),
    "db1": ("postgresql@18-main", "chrony"),
}
# What has a file of its own for what it says: so Debian starts PostgreSQL.
LOGS = {"postgresql@18-main": "/var/log/postgresql/postgresql-18-main.log"}
# What is said comes to the log a moment later.
LOG_SECONDS = 10
RESULTS = ROOT / "results"


class Container:
    """A test host, by podman."""

    def __init__(self, name: str) -> None:
        self._name = name

    def check_output(self, command: str) -> str:
        """What a command printed."""
        argv = ["podman", "exec", self._name, "sh", "-c", command]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


class Log:
    """What a unit says from now on."""

    def __init__(self, host: Container, unit: str) -> None:
        """Remember where it is now."""
        self._host = host
        self._command = f"journalctl --sync; journalctl -u {unit} --since=@{time.time():.3f} -o cat"
        if file := LOGS.get(unit):
            size = int(host.check_output(f"stat --format=%s {file}"))
            self._command = f"tail --bytes=+{size + 1} {file}"

    def tells(self, pattern: str) -> bool:
        """Wait a while for a line."""
        deadline = time.monotonic() + LOG_SECONDS
        while not re.search(pattern, self._host.check_output(self._command)):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)
        return True


def run(attempt: Attempt, host: Container) -> dict[str, Any]:
    """Make an attempt, and look whether the host tells of it."""
    result: dict[str, Any] = {"service": attempt.service, "kind": attempt.kind, "admitted": False}
    log = Log(host, attempt.unit)
    try:
        outcome = attempt.make()
    except Unclear as error:
        return result | {"unclear": True, "answer": str(error)}
    result |= {"admitted": outcome.admitted, "answer": outcome.answer}
    if attempt.logged:
        result["logged"] = log.tells(attempt.logged)
    return result


def attack(
    service: Service, system: System, maker: Maker, hosts: dict[str, Container]
) -> Iterator[dict[str, Any]]:
    """Make a service's attempts; before and after them who has to get in does.

    Raises:
        SystemExit: he does not.
    """
    _require_admission(service, system)
    for attempt in service.table(system, maker):
        yield run(attempt, hosts[attempt.host])
    _require_admission(service, system)


def _require_admission(service: Service, system: System) -> None:
    try:
        found = service.admitted(system)
    except Unclear as error:
        sys.exit(f"attack: whether those who should get in do cannot be told: {error}")
    for who, outcome in found.items():
        if not outcome.admitted:
            sys.exit(f"attack: {who} should get in and does not: {outcome.answer}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return 1 if something was admitted, not logged, or open without being declared."""
    parser = argparse.ArgumentParser(prog="python -m tests.security", description=__doc__)
    parser.add_argument("--group", default="demo", help="of the hosts' containers (%(default)s)")
    parser.add_argument("--network", default="10.92.0", help="of the hosts (%(default)s)")
    parser.add_argument(
        "--scan", action="store_true", help="also let testssl.sh and lynis look (minutes)"
    )
    options = parser.parse_args(arguments)
    system = System.demo(options.network)
    variables = {"host_group": options.group, "host_network": options.network}
    hosts = {name: Container(f"edge-{options.group}-{name}") for name in UNITS}

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        attempts = []
        for service in SERVICES:
            for result in attack(service, system, Maker(folder), hosts):
                attempts.append(result)
                _say(result)
        for result in revoke(gateway.Gateway(system), variables, folder):
            attempts.append(result)
            _say(result)
        ports = {
            host: compare(about)
            for host, about in declared(DEMO, variables, folder / "ports.json").items()
        }
        scans = _scan(system, hosts, folder) if options.scan else {}
    report: dict[str, Any] = {
        "attempts": len(attempts),
        "refused": sum(not (r["admitted"] or r.get("unclear")) for r in attempts),
        "admitted": [result for result in attempts if result["admitted"]],
        "unclear": [result for result in attempts if result.get("unclear")],
        "not_logged": [r for r in attempts if r.get("logged") is False],
        "cannot_be_logged": sum(
            not ("logged" in result or result.get("unclear")) for result in attempts
        ),
        "ports": ports,
        "exposure": {
            f"{host} {unit}": exposure(hosts[host], unit)
            for host, units in UNITS.items()
            for unit in units
        },
        "mutation_score": _mutation_score(),
        **scans,
        "all": attempts,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "attack.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    undeclared = {host: found["undeclared"] for host, found in ports.items()}
    failed = [report["admitted"], report["unclear"], report["not_logged"], *undeclared.values()]
    failed += [found.get("findings") for found in scans.get("tls", {}).values()]
    failed += [found["hardening"] < HARDENING for found in scans.get("lynis", {}).values()]
    passed = not any(failed)
    print(
        f"attack: {report['attempts']} attempts, {report['refused']} refused, "
        f"{len(report['admitted'])} admitted, {len(report['unclear'])} unclear; open and not "
        f"declared: {undeclared}; {RESULTS.name}/attack.json; {'passed' if passed else 'FAILED'}"
    )
    return 0 if passed else 1


def _scan(system: System, hosts: dict[str, Container], folder: Path) -> dict[str, Any]:
    tls = scan_tls(system, folder)
    for name, found in tls.items():
        print(f"testssl.sh: {name}: {found}", flush=True)
    lynis = {}
    for name, host in hosts.items():
        lynis[name] = audit(host)
        print(f"lynis: {name}: {lynis[name]['hardening']} of 100", flush=True)
    return {"tls": tls, "lynis": lynis}


def _mutation_score() -> float | None:
    """The share of removed safety settings that some test noticed, where that was measured."""
    file = RESULTS / "mutation.json"
    if not file.exists():
        return None
    return float(json.loads(file.read_text(encoding="utf-8"))["score"])


def _say(result: dict[str, Any]) -> None:
    verdict = "ADMITTED" if result["admitted"] else "refused"
    if result.get("unclear"):
        verdict = f"UNCLEAR: {result['answer']}"
    logged = {True: "logged", False: "NOT LOGGED"}.get(result.get("logged", ""), "")
    seconds = result.get("seconds")
    after = f"after {seconds:.0f} s{', LATE' if result['late'] else ''}" if seconds else ""
    print(f"{result['service']:15} {result['kind']:42} {verdict:9} {logged}{after}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
