"""No secret lies open: not in what Ansible says, nor on the hosts.

With the hosts of molecule/default/ or of the demo: EDGE_GROUP, EDGE_NETWORK and EDGE_INVENTORY.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
from testinfra.host import Host

from tools.hops import DEMO, ROOT

pytestmark = pytest.mark.skipif("EDGE_NETWORK" not in os.environ, reason="needs test hosts")

FINDER = Path(__file__).with_name("find_secrets.py")
# Spark hands its secret to executors in their environment, which their own user alone may read.
EXPECTED = {("environ of a process java", "spark"), ("environ of a process python", "spark")}


def secrets() -> dict[str, str]:
    """Every secret of the inventory by its file: passwords, and a line of each private key."""
    found = {}
    for path in sorted((DEMO / ".secrets").rglob("*")):
        if path.is_file() and path.suffix not in {".crt", ".crl", ".csr", ".pem", ".serial"}:
            text = path.read_text(encoding="utf-8").strip()
            name = str(path.relative_to(DEMO / ".secrets"))
            found[name] = text.splitlines()[1] if text.startswith("-----BEGIN") else text
    return found


def test_there_are_secrets_to_look_for() -> None:
    assert {"database_writer", "s3_root", "spark", "ca/ca1.key", "ca/kafka1.key"} <= set(secrets())
    assert all(len(value) >= 16 for value in secrets().values())


def test_ansible_shows_none(tmp_path: Path) -> None:
    """With all that it can say of each task, and of what it changes."""
    facts = {
        "host_group": os.environ.get("EDGE_GROUP", "test"),
        "host_network": os.environ["EDGE_NETWORK"],
    }
    command = ["ansible-playbook", "-vvv", "--diff", "-i", str(DEMO), "-e", json.dumps(facts)]
    log = tmp_path / "log"
    with log.open("w") as output:
        done = subprocess.run(
            [*command, "site.yml"], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False
        )
    said = log.read_text(encoding="utf-8")
    assert done.returncode == 0, said[-3000:]
    assert [name for name, value in secrets().items() if value in said] == []


def test_hosts_show_none(hosts: dict[str, Host]) -> None:
    open_to_all = {}
    for name, host in hosts.items():
        command = ["podman", "exec", "--interactive", host.backend.name, "python3", "-c"]
        said = subprocess.run(
            [*command, FINDER.read_text(encoding="utf-8")],
            input=json.dumps(secrets()),
            capture_output=True,
            text=True,
            check=True,
        )
        found = {(where, secret) for where, secret in json.loads(said.stdout)}
        open_to_all[name] = sorted(found - EXPECTED)
    assert open_to_all == {name: [] for name in hosts}
