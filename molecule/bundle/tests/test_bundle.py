"""A gateway without a way out is installed, upgraded and taken back from bundles."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from testinfra.host import Host

FOLDER = Path(os.environ["BUNDLE_FOLDER"])
ROOT = Path(__file__).resolve().parents[3]
HOSTS = {"host_group": "offline", "host_network": "10.94.0"}
RELEASE = "readlink /opt/mqtt_bridge/current"


def bundle(*words: str, project: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.bundle", *words]
    return subprocess.run(command, cwd=project, check=False, capture_output=True, text=True)


def unpack(archive: Path) -> subprocess.CompletedProcess[str]:
    return bundle("unpack", str(archive), f"--signers={FOLDER}/signers", f"--to={FOLDER}/unpacked")


def install(version: Path) -> str:
    """Runs the bundle's own playbook with its own roles; returns what Ansible said."""
    inventory = os.environ["BUNDLE_INVENTORY"]
    command = [
        "ansible-playbook",
        "-i",
        inventory,
        "--limit=gw1",
        f"--extra-vars={json.dumps(HOSTS)}",
    ]
    # No way to fetch anything: a cache that is not there, and a proxy that nobody answers at.
    away = {"EDGE_CACHE": "/nonexistent", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [*command, "playbooks/offline.yml"],
        cwd=version / "project",
        env={**os.environ, **away, "ANSIBLE_CONFIG": str(version / "project" / "ansible.cfg")},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="session")
def first() -> Path:
    """The archive that the scenario made."""
    (archive,) = (FOLDER / "made").glob("*.tar")
    return archive


@pytest.fixture(scope="session")
def second(first: Path) -> Path:
    """An archive of the next version of this project: the bridge has one line more."""
    project = FOLDER / "next"
    shutil.rmtree(project, ignore_errors=True)
    with tarfile.open(first) as tar:
        packed = tar.extractfile("project.tar")
        assert packed is not None
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        sets = json.load(manifest)["sets"]
        with tarfile.open(fileobj=packed) as files:
            files.extractall(project, filter="data")
    with (project / "bridge" / "__init__.py").open("a") as file:
        file.write("# The next version.\n")
    subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
    subprocess.run(["git", "add", "--all"], cwd=project, check=True)
    made = bundle(
        *("make", "--arch=amd64", f"--sets={json.dumps(sets)}", f"--key={FOLDER}/key"),
        f"--to={FOLDER}/made-next",
        project=project,
    )
    assert made.returncode == 0, made.stderr
    return Path(made.stdout.strip())


def test_the_host_has_no_way_out(host: Host) -> None:
    assert host.check_output("ip route show default") == ""
    assert not host.run("getent hosts example.org").succeeded
    assert not host.package("mosquitto").is_installed


def test_one_changed_byte_is_refused(first: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.tar"
    shutil.copy(first, changed)
    with tarfile.open(changed) as tar:
        member = next(m for m in tar.getmembers() if m.name.startswith("artifacts/bridge"))
    with changed.open("r+b") as file:
        file.seek(member.offset_data + member.size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    refused = unpack(changed)
    assert refused.returncode == 1
    assert f"not as they were signed: {member.name}" in refused.stderr


def test_another_key_is_refused(first: Path, tmp_path: Path) -> None:
    key = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    signers = tmp_path / "signers"
    signers.write_text(f"edge-telemetry {key.with_suffix('.pub').read_text()}")
    refused = bundle("unpack", str(first), f"--signers={signers}", f"--to={tmp_path}")
    assert refused.returncode == 1
    assert "signature: " in refused.stderr


def test_install_upgrade_and_rollback(host: Host, first: Path, second: Path) -> None:
    versions = []
    for archive in (first, second):
        unpacked = unpack(archive)
        assert unpacked.returncode == 0, unpacked.stderr
        versions.append(Path(unpacked.stdout.strip()))
    releases = []
    for version in (*versions, versions[0]):
        install(version)
        releases.append(host.check_output(RELEASE))
        assert host.service("mosquitto").is_running
        metrics = host.check_output("curl -s http://10.94.0.11:9101/metrics")
        assert "bridge_mqtt_connected 1" in metrics
    assert releases[0] != releases[1]
    assert releases[2] == releases[0]
    # One repository, not one for each version.
    assert host.file("/var/lib/edge-telemetry/apt").listdir() == [versions[0].name]
    # Again the same: nothing to do.
    assert "changed=0" in install(versions[0])


def test_all_packages_came_from_the_bundle(host: Host) -> None:
    policy = host.check_output("apt-cache policy mosquitto")
    assert "file:/var/lib/edge-telemetry/apt" in policy
    assert "http" not in policy
