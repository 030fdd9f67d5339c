"""The gateways of this scenario, the sensors that send to them, and rollouts."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
from releases import ROOT
from testinfra.host import Host

from tools.hops import System
from tools.pipeline import eventually

PASSWORD = "only-for-these-test-hosts"  # noqa: S105
SECRETS = ROOT / "molecule" / "rollout" / ".secrets"
GATEWAYS = [f"roll-gw{number}" for number in range(1, 7)]
SETTINGS = {
    "edge_rollout_before_seconds": 10,
    "edge_rollout_soak_seconds": 25,
    "edge_rollout_probe_rate": 4,
    # Two cores serve eight hosts: what is slow here is slower than this.
    "edge_rollout_latency_slack_ms": 1500,
}


@dataclass
class Sensors:
    """Sensors of each gateway, numbered, that send with QoS 1 and never again."""

    addresses: dict[str, str]
    folder: Path
    site: str = field(default_factory=lambda: f"roll-{int(time.time()):x}")
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self) -> None:
        """Has all of them send until `stop`."""
        for name, address in self.addresses.items():
            options = ["--devices=3", "--rate=6", f"--site={self.site}-{name}"]
            options += [f"--report={self.folder / name}.json"]
            self.processes.append(System(address, "", "", SECRETS).simulate(*options))

    def stop(self) -> int:
        """Ends them; returns how many readings were sent and acknowledged."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(60) for process in self.processes] == [0] * len(self.processes)
        reports = [self.folder / f"{name}.json" for name in self.addresses]
        return sum(json.loads(r.read_text(encoding="utf-8"))["acknowledged"] for r in reports)


@dataclass
class Fleet:
    """The scenario's hosts."""

    hosts: dict[str, Host]
    folder: Path

    def address(self, name: str) -> str:
        return self.hosts[name].check_output("hostname -I").split()[0]

    def releases(self) -> dict[str, str]:
        """Where the link of each gateway leads."""
        link = "readlink /opt/mqtt_bridge/current"
        return {name: self.hosts[name].check_output(link) for name in GATEWAYS}

    def command(self, playbook: str, *options: str) -> list[str]:
        extra = {**SETTINGS, "edge_rollout_folder": str(self.folder)}
        return [
            "ansible-playbook",
            # Not the release's own: beside it are the authorities of the certificates.
            f"--inventory={ROOT}/molecule/shared/inventory.yml",
            f"--inventory={ROOT}/molecule/rollout/inventory.yml",
            f"--extra-vars={json.dumps(extra)}",
            f"playbooks/{playbook}.yml",
            *options,
        ]

    def start(self, tree: Path, playbook: str, *options: str) -> subprocess.Popen[bytes]:
        """Starts a playbook of a release, in a process group of its own."""
        environment = os.environ | {"ANSIBLE_CONFIG": str(tree / "ansible.cfg")}
        with self.log(tree, playbook).open("w") as log:
            return subprocess.Popen(
                self.command(playbook, *options),
                cwd=tree,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def log(self, tree: Path, playbook: str) -> Path:
        return self.folder / f"{tree.name}-{playbook}.log"

    def play(self, tree: Path, playbook: str, *options: str) -> tuple[int, str]:
        """Runs it; returns its status and what it printed."""
        status = self.start(tree, playbook, *options).wait(3600)
        return status, self.log(tree, playbook).read_text(encoding="utf-8")

    def book(self, output: str) -> dict[str, Any]:
        """Returns the book that a rollout names in its plan."""
        path = output.split("its book is ")[1].split(maxsplit=1)[0].rstrip("'\",")
        content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        return content

    @contextmanager
    def dark(self, name: str) -> Iterator[None]:
        """Has a gateway reached by nobody but its sensors, and without its uplink."""
        gateway, core = self.hosts[name], self.address("roll-core")
        # Connections that Ansible kept open end with it.
        gateway.check_output("systemctl kill --signal=KILL ssh; systemctl stop ssh")
        gateway.check_output("ip route add unreachable %s", core)
        try:
            yield
        finally:
            gateway.check_output("ip route del unreachable %s", core)
            gateway.check_output("systemctl start ssh")

    def rows(self, site: str) -> tuple[int, int]:
        """Returns the rows of sites of that name in the database, and the readings they are of."""
        connection = psycopg2.connect(
            host=self.address("roll-db"), dbname="sensordb", user="sensor_reader", password=PASSWORD
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(*), count(DISTINCT (device_id, seq)) FROM sensor_data "
                    "WHERE site LIKE %s",
                    (f"{site}-%",),
                )
                rows, readings = cursor.fetchone() or (0, 0)
        finally:
            connection.close()
        return int(rows), int(readings)

    def all_arrive(self, site: str, sent: int) -> None:
        """Each reading comes to the database, once."""
        eventually("all readings", lambda: self.rows(site), lambda rows: rows == (sent, sent), 180)
