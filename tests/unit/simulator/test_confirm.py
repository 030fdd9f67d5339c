"""Readings confirmed by a real bridge, through a broker that forgets what it acknowledged."""

import getpass
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")

Start = Callable[[], "subprocess.Popen[bytes]"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def start_broker(port: int, tmp_path: Path) -> Iterator[Start]:
    """Start a Mosquitto that keeps nothing on disk; it may be killed and started again."""
    configuration = tmp_path / "mosquitto.conf"
    configuration.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nuser {getpass.getuser()}\n"
        "max_queued_messages 0\nmax_inflight_messages 1000\n",
        encoding="utf-8",
    )
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [str(MOSQUITTO), "-c", str(configuration)], stderr=subprocess.DEVNULL
        )
        started.append(process)
        deadline = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return process
            assert time.monotonic() < deadline, "mosquitto does not listen"
            time.sleep(0.05)

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def bridge(port: int, tmp_path: Path) -> Iterator[Path]:
    """Run a bridge whose Kafka is away; return its spool."""
    environment = os.environ | {
        "BRIDGE_MQTT_HOST": "127.0.0.1",
        "BRIDGE_MQTT_PORT": str(port),
        "BRIDGE_GATEWAY": "gw1",
        "BRIDGE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "BRIDGE_METRICS_PORT": str(free_port()),
        "BRIDGE_SPOOL_DIR": str(tmp_path / "spool"),
    }
    with (tmp_path / "bridge.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge"], cwd=ROOT, env=environment, stderr=log
        )
    yield tmp_path / "spool" / "spool.db"
    process.kill()
    process.wait()


def test_what_a_killed_broker_forgot_is_sent_again(
    port: int, start_broker: Start, bridge: Path, tmp_path: Path
) -> None:
    broker = start_broker()
    log, report = tmp_path / "confirmed.jsonl", tmp_path / "report.json"
    options = ["--rate", "200", "--count", "1000", "--devices", "4", "--confirm-again", "2"]
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "simulator", "--port", str(port), *options),
            *("--confirm", str(log), "--report", str(report)),
        ],
        cwd=ROOT,
    ) as load:
        for _ in range(2):
            time.sleep(1.5)
            broker.kill()
            broker.wait()
            broker = start_broker()
        assert load.wait(60) == 0
    confirmed = [json.loads(line) for line in log.read_text().splitlines()]
    wanted = {(f"site1-{device:04d}", seq) for device in (1, 2, 3, 4) for seq in range(250)}
    assert sorted((line["device_id"], line["seq"]) for line in confirmed) == sorted(wanted)
    with sqlite3.connect(bridge) as spool:
        payloads = [json.loads(p) for (p,) in spool.execute("SELECT payload FROM message")]
    assert {(payload["device_id"], payload["seq"]) for payload in payloads} == wanted
    figures = json.loads(report.read_text())
    assert figures["confirmed"] == 1000
    assert figures["sent_again"] > 0, "the broker lost nothing: this test proved nothing"
