"""`make attack`: everything that should be refused is tried; results/attack.json says what was.

    python -m tests.security [--group demo] [--network 10.92.0]

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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.security import gateway
from tests.security.attempts import Attempt, Table
from tests.security.certificates import Maker
from tests.security.ports import compare, declared
from tests.security.revocation import revoke
from tools.exposure import exposure
from tools.hops import DEMO, ROOT, System

# Another service's attempts are one more table.
TABLES: list[Table] = [gateway.table]
UNITS = {
    "gw1": ("mosquitto", "mqtt-bridge", "chrony"),
    "core1": ("kafka", "minio", "spark-master", "spark-worker", "streaming-job", "chrony"),
    "db1": ("postgresql@18-main", "chrony"),
}
RESULTS = ROOT / "results"


class Container:
    """A test host, by podman."""

    def __init__(self, name: str) -> None:
        self._name = name

    def check_output(self, command: str) -> str:
        """What a command printed."""
        argv = ["podman", "exec", self._name, "sh", "-c", command]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def run(attempt: Attempt, host: Container) -> dict[str, Any]:
    """Make an attempt, and look whether the host tells of it."""
    began = time.time()
    outcome = attempt.make()
    result: dict[str, Any] = {
        "service": attempt.service,
        "kind": attempt.kind,
        "admitted": outcome.admitted,
        "answer": outcome.answer,
    }
    if attempt.logged:
        journal = host.check_output(
            f"journalctl --sync; journalctl -u {attempt.unit} --since=@{began:.3f} -o cat"
        )
        result["logged"] = bool(re.search(attempt.logged, journal))
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return 1 if something was admitted, not logged, or open without being declared."""
    parser = argparse.ArgumentParser(prog="python -m tests.security", description=__doc__)
    parser.add_argument("--group", default="demo", help="of the hosts' containers (%(default)s)")
    parser.add_argument("--network", default="10.92.0", help="of the hosts (%(default)s)")
    options = parser.parse_args(arguments)
    system = System.demo(options.network)
    variables = {"host_group": options.group, "host_network": options.network}
    hosts = {name: Container(f"edge-{options.group}-{name}") for name in UNITS}

    for who, outcome in gateway.admitted(system).items():
        if not outcome.admitted:
            sys.exit(f"attack: {who} should get in and does not: {outcome.answer}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        attempts = []
        for table in TABLES:
            for attempt in table(system, Maker(folder)):
                attempts.append(run(attempt, hosts[attempt.host]))
                _say(attempts[-1])
        for result in revoke(gateway.Gateway(system), variables, folder):
            attempts.append(result)
            _say(result)
        ports = {
            host: compare(about)
            for host, about in declared(DEMO, variables, folder / "ports.json").items()
        }
    report = {
        "attempts": len(attempts),
        "refused": sum(not result["admitted"] for result in attempts),
        "admitted": [result for result in attempts if result["admitted"]],
        "not_logged": [r for r in attempts if r.get("logged") is False],
        "cannot_be_logged": sum("logged" not in result for result in attempts),
        "ports": ports,
        "exposure": {
            f"{host} {unit}": exposure(hosts[host], unit)
            for host, units in UNITS.items()
            for unit in units
        },
        "mutation_score": _mutation_score(),
        "all": attempts,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "attack.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    undeclared = {host: found["undeclared"] for host, found in ports.items()}
    passed = not any([report["admitted"], report["not_logged"], *undeclared.values()])
    print(
        f"attack: {report['attempts']} attempts, {report['refused']} refused, "
        f"{len(attempts) - int(str(report['refused']))} admitted; open and not declared: "
        f"{undeclared}; {RESULTS.name}/attack.json; {'passed' if passed else 'FAILED'}"
    )
    return 0 if passed else 1


def _mutation_score() -> float | None:
    """The share of removed safety settings that some test noticed, where that was measured."""
    file = RESULTS / "mutation.json"
    if not file.exists():
        return None
    return float(json.loads(file.read_text(encoding="utf-8"))["score"])


def _say(result: dict[str, Any]) -> None:
    verdict = "ADMITTED" if result["admitted"] else "refused"
    logged = {True: "logged", False: "NOT LOGGED"}.get(result.get("logged", ""), "")
    seconds = result.get("seconds")
    after = f"after {seconds:.0f} s{', LATE' if result['late'] else ''}" if seconds else ""
    print(f"{result['service']:12} {result['kind']:42} {verdict:9} {logged}{after}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
