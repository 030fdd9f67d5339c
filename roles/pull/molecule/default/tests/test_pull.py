"""A gateway takes what is signed for it and new, and nothing else."""

import json
import os
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from pull.channel import Channel, File, digest, key
from pull.signature import sign
from pull.store import MissingError, Store
from tools.exposure import exposure
from tools.publish import Content, sealed

GATEWAY_SECRET = "for-tests-of-the-gateway"  # noqa: S105
FOLDER = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "ca"
CLOCK = iter(range(int(time.time()), 2**40))
# What a release does, in one line: it writes the rollout's book, as tools.rollout does.
PLAYBOOK = """
- hosts: gateway
  gather_facts: true
  tasks:
    - copy:
        content: "{{ {'gateways': {inventory_hostname: {'state': told, 'why': said}}} | to_json }}"
        dest: "{{ edge_rollout_folder }}/rollout-{{ edge_rollout_name }}.json"
    - copy: {content: "{{ mark }}", dest: /etc/taken, mode: "0600"}
    - systemd_service: {name: systemd-journald, state: restarted}
    - command: chown mail /etc/taken
"""


class Site:
    """The store of one host, as who publishes sees it, and its gateway."""

    def __init__(self, host: Host, work: Path) -> None:
        self.host, self.work = host, work
        address = host.check_output("hostname -I").split()[0]
        secret = "for-tests-of-the-publisher"  # noqa: S105
        self.store = Store(
            f"https://{address}:9000",
            "gateway-releases",
            "release-publisher",
            secret,
            str(FOLDER / "ca1.crt"),
        )

    def release(self, told: str = "passed", said: str = "", mark: str = "sealed") -> Channel:
        """Uploads a release whose playbook ends in that state, and returns its channel."""
        folder = self.work / f"{next(CLOCK)}"
        (folder / "playbooks").mkdir(parents=True)
        (folder / "ansible.cfg").write_text("[defaults]\ninterpreter_python = /usr/bin/python3\n")
        (folder / "playbooks" / "pulled.yml").write_text(PLAYBOOK)
        with tarfile.open(self.work / "project.tar", "w") as tar:
            tar.add(folder / "playbooks", "playbooks")
            tar.add(folder / "ansible.cfg", "ansible.cfg")
        python = self.host.check_output("python3 -c 'import sys; print(*sys.version_info[:2])'")
        built = f"artifacts/thing-py{python.replace(' ', '.')}-amd64.tar"
        settings = {"told": told, "said": said, "mark": mark}
        contents = {
            "project.tar": Content(self.work / "project.tar"),
            built: Content(b"wheels"),
            "artifacts/other-py3.9-amd64.tar": Content(b"of another Python"),
            "hosts/gw.yml": Content(sealed(settings, "for-tests-of-settings")),
            "hosts/other.yml": Content(b"of another gateway"),
        }
        files = {name: content.file for name, content in contents.items()}
        for name, content in contents.items():
            self.store.put(key(name, files[name]), content.bytes())
        return Channel(next(CLOCK), digest(files), 100, 0, files)

    def publish(self, channel: Channel, signer: str = "release") -> None:
        self.store.put("channel", sign(channel.text(), FOLDER / signer))

    def look(self) -> dict[str, Any]:
        """Has the gateway look; returns its report."""
        # Whatever it says, it looks again.
        self.host.run("systemctl start edge-pull")
        report: dict[str, Any] = json.loads(self.store.get("reports/gw"))
        return report

    def take(self, channel: Channel) -> dict[str, Any]:
        self.publish(channel)
        return self.look()


@pytest.fixture
def site(host: Host, tmp_path: Path) -> Iterator[Site]:
    made = Site(host, tmp_path)
    yield made
    host.run("systemctl reset-failed edge-pull")


def test_before_anything_is_published_it_only_looks(site: Site) -> None:
    try:
        site.store.get("channel")
    except MissingError:
        assert site.host.run("systemctl start edge-pull").rc == 0
        assert "NoSuchKey" in site.host.check_output("journalctl -u edge-pull")


def test_a_release_is_taken_once_and_reported(site: Site) -> None:
    channel = site.release()
    report = site.take(channel)
    assert (report["state"], report["version"]) == ("passed", channel.version), report
    assert report["gateway"] == "gw"
    taken = site.host.file("/etc/taken")
    # Installed as root, with the settings that were sealed for this gateway alone.
    assert (taken.content_string, taken.user) == ("sealed", "mail")
    assert site.look()["state"] == "current"
    kept = site.host.check_output("ls /var/lib/edge-pull/files").split()
    mine = {file.sha256 for name, file in channel.files.items() if "other" not in name}
    assert set(kept) == mine


def test_a_changed_file_is_refused(site: Site) -> None:
    channel = site.release(mark="changed")
    project = channel.files["project.tar"]
    site.store.put(key("project.tar", project), b"x" * project.size)
    report = site.take(channel)
    assert report["state"] == "refused"
    assert report["why"] == "project.tar is not as it was signed; it was thrown away"
    assert "refused: project.tar" in site.host.check_output("journalctl --unit=edge-pull -n 20")
    assert site.host.file("/etc/taken").content_string != "changed"


def test_another_signer_is_refused(site: Site) -> None:
    other = FOLDER / "other"
    if not other.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    channel = site.release(mark="forged")
    site.publish(channel, signer="other")
    report = site.look()
    assert report["state"] == "refused"
    assert "nobody in /etc/edge-pull/signers signed the channel" in report["why"]
    # Nor what nobody signed, nor what was changed after it was signed.
    good = sign(channel.text(), FOLDER / "release")
    for forged in (channel.text(), good.replace(b'"percent": 100', b'"percent": 10')):
        site.store.put("channel", forged)
        assert site.look()["state"] == "refused"
    assert site.host.file("/etc/taken").content_string != "forged"


def test_an_old_channel_is_refused(site: Site) -> None:
    old, new = site.release(mark="old"), site.release(mark="new")
    assert site.take(new)["state"] == "passed"
    report = site.take(old)
    assert report["state"] == "refused"
    assert f"has sequence {old.sequence} and {new.sequence} was seen before" in report["why"]
    assert site.host.file("/etc/taken").content_string == "new"
    # What is older comes back by being published anew.
    assert site.take(replace(old, sequence=next(CLOCK)))["state"] == "passed"
    assert site.host.file("/etc/taken").content_string == "old"


def test_a_release_that_failed_is_not_tried_again_by_itself(site: Site) -> None:
    bad = site.release(told="back", said="gate probes: 3 of 20 did not arrive")
    report = site.take(bad)
    assert (report["state"], report["why"]) == ("back", "gate probes: 3 of 20 did not arrive")
    report = site.look()
    assert report["state"] == "failed"
    assert report["why"].endswith("this one failed: gate probes: 3 of 20 did not arrive")
    # More gateways are asked: that is nothing to this one.
    assert site.take(replace(bad, sequence=next(CLOCK), percent=50))["state"] == "failed"
    again = next(CLOCK)
    assert site.take(replace(bad, sequence=again, retry=again))["state"] == "back"
    assert site.take(site.release())["state"] == "passed"


def test_what_could_not_be_measured_is_tried_again(site: Site) -> None:
    channel = site.release(told="back", said="Ask | Through the store: no answer")
    assert site.take(channel)["state"] == "unmeasured"
    assert site.look()["state"] == "unmeasured"


def test_its_turn_is_waited_for(site: Site) -> None:
    channel = replace(site.release(mark="later"), percent=0)
    report = site.take(channel)
    assert report["state"] == "waiting"
    assert "0 percent are asked now" in report["why"]
    later = replace(channel, sequence=next(CLOCK), percent=100)
    assert site.take(later)["state"] == "passed"


def test_a_download_goes_on_where_it_was_cut_off(site: Site) -> None:
    channel = site.release(mark="resumed")
    project: File = channel.files["project.tar"]
    part = f"/var/lib/edge-pull/files/{project.sha256}.part"
    begun = (site.work / "project.tar").read_bytes()[:1000]
    begin = f"import pathlib; pathlib.Path({part!r}).write_bytes(bytes.fromhex({begun.hex()!r}))"
    site.host.check_output("python3 -c %s", begin)
    assert site.take(channel)["state"] == "passed"


def test_of_the_store_it_sees_its_own_alone(site: Site) -> None:
    channel = site.release()
    site.publish(channel)
    mine = replace(site.store, access_key="pull-gw", secret_key=GATEWAY_SECRET)
    assert mine.get("channel")
    with pytest.raises(OSError, match="AccessDenied"):
        mine.get(key("hosts/other.yml", channel.files["hosts/other.yml"]))
    for name in ("channel", "reports/other", "files/x"):
        with pytest.raises(OSError, match="AccessDenied"):
            mine.put(name, b"")
    with pytest.raises(OSError, match="AccessDenied"):
        mine.names("")


def test_settings_that_do_not_find_the_store_are_not_taken(host: Host) -> None:
    check = (
        "systemd-run --quiet --wait --pipe -p Environment='PULL_HOST=x PULL_GATEWAY=gw "
        "PULL_ENDPOINT=https://localhost:9001 PULL_SECRET_KEY=x PULL_SIGNERS=x "
        "PULL_SETTINGS_PASSWORD_FILE=x' /opt/edge_pull/current/bin/python -m pull.gateway check"
    )
    done = host.run(check)
    assert done.rc == 1
    assert "store: https://localhost:9001/gateway-releases/channel was not reached" in done.stdout


def test_gateways_come_at_different_times(host: Host) -> None:
    timer = host.check_output("systemctl show edge-pull.timer --property=FixedRandomDelay --value")
    assert timer == "yes"
    assert host.service("edge-pull.timer").is_enabled


def test_the_unit_is_confined(host: Host) -> None:
    # It installs as root; what is left out is named in the unit.
    assert exposure(host, "edge-pull") <= 5.5


def test_secrets_are_not_in_the_unit(host: Host) -> None:
    assert "for-tests" not in host.check_output("systemctl cat edge-pull")
    for name in ("secret_key", "settings_password", "signers"):
        assert host.file(f"/etc/edge-pull/{name}").mode == 0o600
