"""The host is who it was told to be, and Ansible gets in by what is known beforehand."""

import os
import subprocess
from pathlib import Path

from testinfra.host import Host

FOLDER = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "enroll"


def ssh(host: Host, user: str, *options: str) -> subprocess.CompletedProcess[str]:
    address = host.check_output("hostname -I").split()[0]
    known = f"UserKnownHostsFile={FOLDER}/known_hosts"
    strict = ("-o", "StrictHostKeyChecking=yes", "-o", known, "-o", "BatchMode=yes")
    command = ["ssh", *strict, *options, f"{user}@{address}", "sudo -n id -u; hostname"]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_ansible_gets_in_and_knows_the_host(host: Host) -> None:
    done = ssh(host, "edge", "-i", "/run/edge-telemetry/key")
    assert (done.returncode, done.stdout.split()) == (0, ["0", "enroll-new"]), done.stderr


def test_nobody_else_gets_in(host: Host) -> None:
    assert "Permission denied (publickey)" in ssh(host, "edge", "-o", "IdentitiesOnly=yes").stderr


def test_it_is_set_up(host: Host) -> None:
    # What it asks the network by: netplan made it of network-config.
    files = host.check_output("cat /run/systemd/network/*wired*")
    assert "Name=e*" in files
    assert "DHCP=ipv4" in files
    assert host.check_output("date +%Z") == "UTC"
    bundle = host.file("/etc/ssl/certs/ca-certificates.crt").content_string
    authority = (FOLDER / "ca.crt").read_text().strip()
    assert authority in bundle


def test_it_is_left_to_ansible(host: Host) -> None:
    assert host.file("/etc/cloud/cloud-init.disabled").exists
    assert "errors: []" in host.check_output("cloud-init status --long")
