"""Which ports answer from here, and which were declared."""

from __future__ import annotations

import json
import select
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_AT_ONCE = 2000
_SECONDS = 1.0
_ALL = range(1, 65_536)
SSH = 22


@dataclass(frozen=True)
class Declared:
    """What playbooks/vars/firewall.yml opens on a host, and whether the firewall holds it."""

    address: str
    allow: list[dict[str, Any]]
    firewall: bool

    def ports(self, visitor: str | None = None) -> set[int]:
        """TCP ports; with a visitor's address those that are open to it."""
        return {SSH}.union(
            *(_numbers(str(entry["port"])) for entry in self.allow if _lets(entry, visitor))
        )


def declared(inventory: Path, variables: dict[str, str], file: Path) -> dict[str, Declared]:
    """Ask Ansible what each host of an inventory opens."""
    subprocess.run(
        [
            *("ansible-playbook", "-i", str(inventory), "-e", json.dumps(variables)),
            *("-e", f"ports_file={file}", str(Path(__file__).with_name("declared.yml"))),
        ],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    found = json.loads(file.read_text(encoding="utf-8"))
    return {name: Declared(**about) for name, about in found.items()}


def compare(host: Declared, ports: Sequence[int] = _ALL) -> dict[str, Any]:
    """Scan a host and say what is open, declared, and different."""
    found = scan(host.address, ports)
    me = _my_address(host.address)
    mine = host.ports(me)
    # Without the firewall whatever listens is seen; it may be what is meant for others.
    undeclared = found - (mine if host.firewall else host.ports())
    return {
        "found": sorted(found),
        "declared": [f"{entry['name']}: {entry['port']}" for entry in host.allow],
        "undeclared": sorted(undeclared),
        "firewall": host.firewall,
    }


def _numbers(text: str) -> set[int]:
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        numbers |= set(range(int(first), int(last or first) + 1))
    return numbers


def _lets(entry: dict[str, Any], visitor: str | None) -> bool:
    if entry.get("protocol", "tcp") != "tcp":
        return False
    networks = entry.get("from")
    if visitor is None or networks is None:
        return True
    return any(ip_address(visitor) in ip_network(network) for network in networks)


def _my_address(host: str) -> str:
    with socket.create_connection((host, SSH), 5) as line:
        return str(line.getsockname()[0])


def scan(host: str, ports: Sequence[int] = _ALL) -> set[int]:
    """Return the TCP ports that answer; one of which nothing is heard for a second is closed."""
    return {
        port
        for first in range(0, len(ports), _AT_ONCE)
        for port in _answering(host, ports[first : first + _AT_ONCE])
    }


def _answering(host: str, ports: Sequence[int]) -> set[int]:
    lines = {}
    poll = select.poll()
    try:
        for port in ports:
            line = socket.socket()
            line.setblocking(False)  # noqa: FBT003 - so it is called
            line.connect_ex((host, port))
            lines[line.fileno()] = (line, port)
            poll.register(line, select.POLLOUT)
        found: set[int] = set()
        deadline = time.monotonic() + _SECONDS
        waiting = len(lines)
        while waiting and (left := deadline - time.monotonic()) > 0:
            for number, _ in poll.poll(left * 1000):
                poll.unregister(number)
                waiting -= 1
                line, port = lines[number]
                if line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    found.add(port)
        return found
    finally:
        for line, _ in lines.values():
            line.close()
