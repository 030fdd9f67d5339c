"""Gateways that nobody reaches take releases by themselves while sensors send: nothing is lost."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from testinfra.host import Host

from pull.channel import Channel, place
from pull.store import Store
from tools import publish as publishing
from tools.pipeline import eventually

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "molecule" / "rollout" / "tests"))
import fleet as rollout  # noqa: E402
import releases  # noqa: E402

SECRETS = ROOT / "molecule" / "pull" / ".secrets"
GATEWAYS = ["pull-gw1", "pull-gw2"]
TAKEN = ("passed", "current")
GONE_BACK = ("back", "failed")
# What a NAT lets through: answers; and sensors are on this side of it.
NAT = """
table inet nat {
  chain input {
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    iif lo accept
    tcp dport { 8883, 8885 } accept
  }
}
"""


class Site:
    """The hosts of this scenario, and the publisher."""

    def __init__(self, hosts: dict[str, Host], folder: Path) -> None:
        self.hosts, self.folder = hosts, folder
        self.addresses = {n: h.check_output("hostname -I").split()[0] for n, h in hosts.items()}

    @property
    def store(self) -> Store:
        return Store(
            f"https://{self.addresses['pull-core']}:9000",
            "gateway-releases",
            "release-publisher",
            (SECRETS / "pull" / "publisher.s3").read_text(encoding="utf-8").strip(),
            str(SECRETS / "ca" / "ca1.crt"),
        )

    def play(self, tree: Path, playbook: str, *options: str) -> tuple[int, str]:
        """Runs a playbook of a release; returns its status and what it printed."""
        command = [
            "ansible-playbook",
            f"--inventory={ROOT}/molecule/shared/inventory.yml",
            f"--inventory={ROOT}/molecule/pull/inventory.yml",
            f"--extra-vars=publish_key={SECRETS}/release",
            *options,
            f"playbooks/{playbook}.yml",
        ]
        done = subprocess.run(
            command,
            cwd=tree,
            env=os.environ | {"ANSIBLE_CONFIG": str(tree / "ansible.cfg")},
            check=False,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr

    def publish(self, tree: Path, *options: str) -> Channel:
        """Publishes a release; returns its channel."""
        status, output = self.play(tree, "publish", *options)
        assert status == 0, output[-4000:]
        channel = publishing.current(self.store)
        assert channel is not None
        return channel

    def tree(self, name: str) -> Path:
        """Returns the work tree of a release, as git knows it."""
        if not (self.folder / name).exists():
            made = releases.make(self.folder, name)
            subprocess.run(["git", "init", "--quiet"], cwd=made, check=True)
            subprocess.run(["git", "add", "--all"], cwd=made, check=True)
        return self.folder / name

    def report(self, gateway: str) -> dict[str, Any]:
        """Returns what a gateway reported last."""
        return publishing.reports(self.store).get(gateway, {})

    def ends(self, gateway: str, channel: Channel, *states: str) -> dict[str, Any]:
        """Waits until a gateway reports one of these states of a release.

        It looks again at once: what `passed` is `current` then, and what went back `failed`.
        """

        def ended(report: dict[str, Any]) -> bool:
            of_it = report.get("sequence") == channel.sequence
            return of_it and report["state"] in states

        return eventually(f"report of {gateway}", lambda: self.report(gateway), ended, 1200)

    def link(self, gateway: str) -> str:
        return self.hosts[gateway].check_output("readlink /opt/mqtt_bridge/current")

    @contextmanager
    def dark(self, gateway: str) -> Iterator[None]:
        """Has a gateway without its uplink."""
        core = self.addresses["pull-core"]
        self.hosts[gateway].check_output("ip route add unreachable %s", core)
        try:
            yield
        finally:
            self.hosts[gateway].check_output("ip route del unreachable %s", core)


def first_and_other(version: str) -> tuple[str, str, float]:
    """Returns who takes a release first, who does not, and the percentage between them."""
    first, other = sorted(GATEWAYS, key=lambda name: place(name, version))
    return first, other, (place(first, version) + place(other, version)) / 2


@pytest.fixture(scope="session")
def site(hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = Site(hosts, tmp_path_factory.mktemp("pull"))
    for name in GATEWAYS:
        host = hosts[name]
        host.check_output("apt-get install -qq --yes --no-install-recommends nftables")
        host.check_output("printf %%s %s > /etc/nat.nft", NAT)
        host.check_output("nft list table inet nat >/dev/null 2>&1 || nft -f /etc/nat.nft")
    return made


@pytest.fixture
def sensors(site: Site, tmp_path: Path) -> Iterator[None]:
    """Sensors that send during a test; afterwards each reading is in the database, once."""
    with patch.object(rollout, "SECRETS", SECRETS):
        addresses = {name: site.addresses[name] for name in GATEWAYS}
        made = rollout.Sensors(addresses, tmp_path)
        made.start()
        yield
        sent = made.stop()
    assert sent > 0
    fleet = rollout.Fleet(site.hosts, tmp_path)
    with patch.object(fleet, "address", lambda _: site.addresses["pull-db"]):
        fleet.all_arrive(made.site, sent)


def test_nobody_reaches_a_gateway(site: Site) -> None:
    for name in GATEWAYS:
        for port in (22, 9101):
            with pytest.raises(OSError, match=r"timed out|refused"):
                socket.create_connection((site.addresses[name], port), timeout=2)


@pytest.mark.usefixtures("sensors")
def test_a_good_release_is_taken_by_one_and_then_by_all(site: Site) -> None:
    tree = site.tree("good")
    before = {name: site.link(name) for name in GATEWAYS}
    # Nobody takes it yet; who would come first follows from its version.
    channel = site.publish(tree, "--extra-vars=publish_percent=0")
    first, other, percent = first_and_other(channel.version)
    channel = site.publish(tree, f"--extra-vars=publish_percent={percent}")
    report = site.ends(first, channel, *TAKEN, *GONE_BACK, "stuck", "unready")
    assert report["state"] in TAKEN, report["why"]
    book = report["book"]["gateways"][first]
    # The whole way to the database was measured, as in a rollout over SSH.
    assert book["after"]["probes"] == 100
    assert book["after"]["probes_lost"] == 0
    assert site.ends(other, channel, "waiting")
    assert site.link(other) == before[other]
    channel = site.publish(tree)
    assert site.ends(other, channel, *TAKEN)
    assert site.ends(first, channel, "current")
    after = {name: site.link(name) for name in GATEWAYS}
    assert set(after.values()) & set(before.values()) == set()
    status, output = site.play(tree, "pulled_status")
    assert status == 0
    assert output.count(channel.version) >= 3, output[-3000:]


@pytest.mark.usefixtures("sensors")
def test_a_poisoned_release_goes_back_by_itself_and_comes_to_no_more(site: Site) -> None:
    tree = site.tree("drops")
    channel = site.publish(tree, "--extra-vars=publish_percent=0")
    first, other, percent = first_and_other(channel.version)
    before = site.link(first)
    channel = site.publish(tree, f"--extra-vars=publish_percent={percent}")
    report = site.ends(first, channel, *TAKEN, *GONE_BACK, "stuck", "unready")
    assert report["state"] in GONE_BACK, report["why"]
    assert "gate probes:" in report["why"]
    assert report["book"]["gateways"][first]["again"]["whole"]
    assert site.link(first) == before
    status, output = site.play(tree, "publish")
    assert status != 0
    assert "failed on 1 gateways, so no more get it" in output
    assert site.report(other)["state"] == "waiting"


def test_what_is_not_from_the_publisher_is_refused(site: Site) -> None:
    good = site.store.get("channel")
    channel = publishing.current(site.store)
    assert channel is not None
    older = channel.text().replace(str(channel.sequence).encode(), b"1700000000")
    try:
        for forged, why in (
            (good.replace(b'"percent"', b'"percents"'), "nobody in /etc/edge-pull/signers signed"),
            (publishing.sign(older, SECRETS / "release"), "was seen before"),
        ):
            site.store.put("channel", forged)
            for name in GATEWAYS:
                eventually(
                    "refusal",
                    lambda name=name: site.report(name),
                    lambda report, why=why: report["state"] == "refused" and why in report["why"],
                )
    finally:
        site.store.put("channel", good)


@pytest.mark.usefixtures("sensors")
def test_a_dark_gateway_catches_up_and_gets_its_new_certificates(site: Site) -> None:
    lit, dark = GATEWAYS
    certificate = "/etc/edge-telemetry/tls/mosquitto/certificate.pem"
    serial = f"openssl x509 -noout -serial -in {certificate}"
    before = {name: site.hosts[name].check_output(serial) for name in GATEWAYS}
    # As if they ended soon.
    with patch.object(publishing, "_RENEW", publishing.timedelta(days=3650)):
        for name in GATEWAYS:
            for folder, authority in (("mosquitto", "ca1"), ("mqtt-bridge", "kafka1")):
                path = SECRETS / "pull" / f"{name}.{folder}.crt"
                publishing.renewed(path, SECRETS / "ca" / authority, datetime.now(UTC))
    with site.dark(dark):
        channel = site.publish(site.tree("good"))
        assert site.ends(lit, channel, *TAKEN)
        time.sleep(15)
        # What it refused before had no number.
        assert site.report(dark).get("sequence", 0) < channel.sequence
    assert site.ends(dark, channel, *TAKEN)
    for name in GATEWAYS:
        assert site.hosts[name].check_output(serial) != before[name]
        site.hosts[name].check_output(
            f"openssl verify -CAfile /etc/edge-telemetry/tls/mosquitto/ca.pem {certificate}"
        )
