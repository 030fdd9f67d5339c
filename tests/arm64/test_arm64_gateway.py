"""Mosquitto and the bridge as a Raspberry Pi would run them: arm64 programs under qemu-user.

Takes a file system of Debian for arm64, which is made once (20 minutes and more on two cores that
others use too) and kept beside the artifacts. Not run here: the roles and systemd, chrony, and
pages of 16 KiB, since qemu-user has the pages of this machine.
"""

import os
import shutil
import subprocess
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.artifacts import fetch
from tools.testhosts import environment

CACHE = Path(os.environ.get("EDGE_CACHE", "~/.cache/edge-telemetry")).expanduser()
ROOT = Path(os.environ.get("EDGE_ARM64_ROOT", CACHE / "arm64-root"))
PACKAGES = "python3,mosquitto,mosquitto-clients"
# The root's own /proc, seen by what is started there alone.
ENTER = 'mount --bind /proc "$0/proc"; exec chroot "$0" "$@"'
MQTT_PORT, METRICS_PORT = 18831, 19131
READINGS = 100


@pytest.fixture(scope="module")
def root() -> Path:
    """Debian for arm64 with the broker, and the bridge's wheels below /opt/site."""
    if not Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists():
        pytest.fail(
            "no qemu for arm64: mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc; "
            "apt-get install mmdebstrap qemu-user-static binfmt-support arch-test; "
            "update-binfmts --enable qemu-aarch64"
        )
    if not (ROOT / "usr/sbin/mosquitto").exists():
        debian = ["mmdebstrap", "--quiet", "--architectures=arm64", "--variant=apt"]
        made = [*debian, f"--include={PACKAGES}", "trixie", str(ROOT)]
        subprocess.run(made, check=True, env=environment())
    site = ROOT / "opt/site"
    shutil.rmtree(site, ignore_errors=True)
    wheels = ROOT / "opt/wheels"
    for found in fetch(["bridge", "edge_telemetry"], "arm64", "3.13").values():
        shutil.unpack_archive(found["archive"], wheels, "tar", filter="data")
    for wheel in wheels.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(site)
    shutil.rmtree(wheels)
    return ROOT


def inside(root: Path, *command: str) -> list[str]:
    """A command as it is started in the file system for arm64."""
    return ["unshare", "--mount", "sh", "-ec", ENTER, str(root), *command]


def metrics() -> dict[str, float]:
    """The bridge's own figures; none while it does not answer."""
    try:
        url = f"http://127.0.0.1:{METRICS_PORT}/metrics"
        text = urllib.request.urlopen(url, timeout=5).read().decode()
    except OSError:
        return {}
    rows = [line.split(" ") for line in text.splitlines() if line.startswith("bridge_")]
    return {row[0]: float(row[1]) for row in rows if "{" not in row[0]}


def wait_for(name: str, value: float, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while (found := metrics()).get(name) != value:
        assert time.monotonic() < deadline, found
        time.sleep(1)


@pytest.fixture(scope="module")
def gateway(root: Path) -> Iterator[Path]:
    """Broker and bridge on ports of their own, without a Kafka."""
    shutil.rmtree(root / "tmp/spool", ignore_errors=True)
    (root / "tmp/spool").mkdir()
    listener = f"listener {MQTT_PORT} 127.0.0.1\nallow_anonymous true\n"
    (root / "tmp/mosquitto.conf").write_text(listener)
    settings = {
        "PYTHONPATH": "/opt/site",
        "BRIDGE_GATEWAY": "arm64",
        "BRIDGE_MQTT_HOST": "127.0.0.1",
        "BRIDGE_MQTT_PORT": str(MQTT_PORT),
        "BRIDGE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "BRIDGE_SPOOL_DIR": "/tmp/spool",  # noqa: S108 - of the file system for arm64
        "BRIDGE_METRICS_PORT": str(METRICS_PORT),
    }
    commands = (
        inside(root, "/usr/sbin/mosquitto", "-c", "/tmp/mosquitto.conf"),  # noqa: S108
        inside(root, "/usr/bin/python3", "-m", "bridge"),
    )
    started = [subprocess.Popen(c, env={**os.environ, **settings}) for c in commands]
    try:
        wait_for("bridge_mqtt_connected", 1)
        yield root
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=60)


def test_the_programs_are_for_arm64(root: Path) -> None:
    # e_machine of the ELF header.
    assert (root / "usr/sbin/mosquitto").read_bytes()[18] == 183
    (client,) = (root / "opt/site/confluent_kafka").glob("cimpl*.so")
    assert client.read_bytes()[18] == 183


def test_readings_reach_the_spool(gateway: Path) -> None:
    lines = "".join(f'{{"device_id":"d1","seq":{n},"temperature":20.5}}\n' for n in range(READINGS))
    publish = [
        "mosquitto_pub",
        "-p",
        str(MQTT_PORT),
        "-q",
        "1",
        "-l",
        "-t",
        "sensors/s/d1/telemetry",
    ]
    subprocess.run(["chroot", str(gateway), *publish], input=lines, text=True, check=True)
    wait_for("bridge_spool_records", READINGS)
    found = metrics()
    assert found["bridge_received_total"] == found["bridge_acknowledged_total"] == READINGS
    assert found["bridge_forwarded_total"] == 0
