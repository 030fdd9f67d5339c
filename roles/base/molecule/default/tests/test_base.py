"""What every host has."""

import subprocess
import time

import pytest
from testinfra.host import Host

from tools.exposure import exposure


def test_clock_is_watched(host: Host) -> None:
    assert "Leap status" in host.check_output("chronyc -n tracking")


def test_a_host_without_other_time_servers_follows_the_sites(host: Host) -> None:
    if "base-forky" not in host.check_output("hostname"):
        pytest.skip("this is the host that serves the time")
    deadline = time.monotonic() + 60
    while not (tracking := host.check_output("chronyc -n -c tracking")).endswith(",Normal"):
        assert time.monotonic() < deadline, tracking
        time.sleep(1)
    assert tracking.split(",")[2] == "11"


def test_a_killed_chrony_comes_back(host: Host) -> None:
    host.check_output("systemctl kill --signal=KILL chrony")
    deadline = time.monotonic() + 30
    while not host.run("chronyc -n tracking").succeeded:
        assert time.monotonic() < deadline, "chrony stays away"
        time.sleep(0.5)


def test_local_time_is_utc(host: Host) -> None:
    assert host.check_output("date +%Z") == "UTC"


def test_no_unit_failed(host: Host) -> None:
    assert host.check_output("systemctl list-units --failed --no-legend --plain") == ""


def spares_flash(host: Host) -> bool:
    """The scenario's inventory says so of one of its hosts."""
    return host.check_output("hostname") == "base-trixie"


def test_journal_is_bounded(host: Host) -> None:
    said = host.check_output("systemd-analyze cat-config systemd/journald.conf")
    assert ("SystemMaxUse=200M" in said) != spares_flash(host)
    assert ("RuntimeMaxUse=32M" in said) == spares_flash(host)


def test_journal_of_a_spared_card_is_in_memory(host: Host) -> None:
    if not spares_flash(host):
        pytest.skip("this host's disk is not spared")
    # Names the files that journald really has.
    host.check_output("logger -t probe found && journalctl --sync")
    assert "/run/log/journal/" in host.check_output("journalctl --header | grep -i '^file path'")


def test_a_card_is_spared(host: Host) -> None:
    if not spares_flash(host):
        pytest.skip("this host's disk is not spared")
    assert host.file("/etc/fstab").content_string.splitlines()[1:] == [
        "overlay / overlay noatime,defaults 0 1",
        "# /dev/mmcblk0p3 none swap sw 0 0",
    ]
    assert "noatime" in host.check_output("findmnt --noheadings --output OPTIONS /")
    # A container gets no such device: what can be seen is that the generator takes the file.
    assert host.package("systemd-zram-generator").is_installed
    assert "zram-size = ram / 2" in host.file("/etc/systemd/zram-generator.conf").content_string


def test_a_machine_that_hangs_is_reset(host: Host) -> None:
    # A container has no watchdog to feed: what can be seen is what systemd reads.
    said = host.check_output("systemd-analyze cat-config systemd/system.conf")
    assert "RuntimeWatchdogSec=15" in said


def test_a_login_leaves_no_core_dump(host: Host) -> None:
    # As PAM sets it for whoever logs in.
    login = "su - -s /bin/sh -c 'ulimit -H -c' "
    assert {host.check_output(login + user) for user in ("root", "nobody")} == {"0"}


def test_chrony_is_confined(host: Host) -> None:
    assert exposure(host, "chrony") <= 3.0


def test_ssh_takes_keys_alone(host: Host) -> None:
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes")
    words = [word for option in options for word in ("-o", option)]
    name = f"root@{host.check_output('hostname -I').split()[0]}"
    # From outside: not each host has a client.
    attempt = subprocess.run(
        ["ssh", *words, "-o", "PubkeyAuthentication=no", name, "true"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert attempt.returncode == 255
    assert "Permission denied (publickey)." in attempt.stderr


def test_security_updates_come_where_they_are_wanted(host: Host) -> None:
    wanted = "base-forky" in host.check_output("hostname")
    said = host.run("apt-config dump APT::Periodic::Unattended-Upgrade").stdout
    assert ('"1"' in said) == wanted
    if wanted:
        origins = host.check_output("unattended-upgrade --dry-run --debug 2>&1 | head -20")
        assert "Debian-Security" in origins
