"""The whole service as systemd starts it, between a real Mosquitto and librdkafka's mock Kafka."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from bridge_bench import RAW, ROOT, free_port, publish, read_all, wait_for

NOWHERE = "127.0.0.1:1"


class Bridge:
    """A process `python -m bridge`."""

    def __init__(self, kafka: str, broker: int, spool: Path, log: Path) -> None:
        self._port = free_port()
        environment = os.environ | {
            "BRIDGE_MQTT_HOST": "127.0.0.1",
            "BRIDGE_MQTT_PORT": str(broker),
            "BRIDGE_GATEWAY": "gw1",
            "BRIDGE_KAFKA_BOOTSTRAP_SERVERS": kafka,
            "BRIDGE_SPOOL_DIR": str(spool),
            "BRIDGE_METRICS_PORT": str(self._port),
        }
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bridge"], cwd=ROOT, env=environment, stderr=stderr
            )

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics") as answer:
            text = answer.read().decode()
        return float(next(line for line in text.splitlines() if line.startswith(name)).split()[1])

    def stop(self, seconds: float = 15) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "bridge.log"
    path.touch()
    return path


@pytest.fixture
def start(broker: int, tmp_path: Path, log: Path) -> Iterator[Callable[[str], Bridge]]:
    """Start a bridge with a Kafka address; the next one has the same spool."""
    started: list[Bridge] = []

    def start(kafka: str) -> Bridge:
        count = log.read_text().count("event=mqtt_connected")
        started.append(Bridge(kafka, broker, tmp_path / "spool", log))
        wait_for(lambda: log.read_text().count("event=mqtt_connected") > count)
        wait_for(lambda: started[-1].metric("bridge_mqtt_connected") == 1)
        return started[-1]

    yield start
    for bridge in started:
        bridge.kill()


def test_kafka_away_acknowledged_killed_and_nothing_lost(
    broker: int, start: Callable[[str], Bridge], cluster: str, log: Path
) -> None:
    wanted = [b"%d" % number for number in range(2000)]
    first = start(NOWHERE)
    publish(broker, wanted[:1000])
    wait_for(lambda: first.metric("bridge_acknowledged_total") == 1000)
    first.kill()
    publish(broker, wanted[1000:])  # nobody is there: the broker keeps it

    second = start(cluster)
    wait_for(lambda: second.metric("bridge_spool_records") == 0)
    wait_for(lambda: second.metric("bridge_acknowledged_total") == 1000)
    assert second.stop() == 0
    assert "event=stopped unsent=0" in log.read_text()
    found = [message.value() for message in read_all(cluster, RAW, 2000)]
    assert set(found) == set(wanted)

    third = start(cluster)
    time.sleep(0.3)
    assert third.metric("bridge_received_total") == 0, "an acknowledged message came again"


def test_it_ends_in_time_though_kafka_is_away(
    broker: int, start: Callable[[str], Bridge], tmp_path: Path
) -> None:
    bridge = start(NOWHERE)
    publish(broker, [b"%d" % number for number in range(20_000)])
    wait_for(lambda: bridge.metric("bridge_acknowledged_total") == 20_000)
    assert bridge.stop(15) == 0
    with closing(sqlite3.connect(tmp_path / "spool" / "spool.db")) as file:
        assert file.execute("SELECT count(*) FROM message").fetchone() == (20_000,)


def test_a_file_damaged_inside_is_set_aside_by_the_next_start(
    broker: int, start: Callable[[str], Bridge], cluster: str, tmp_path: Path, log: Path
) -> None:
    first = start(NOWHERE)
    publish(broker, [b"x" * 1000] * 500)
    wait_for(lambda: first.metric("bridge_acknowledged_total") == 500)
    first.kill()
    path = tmp_path / "spool" / "spool.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:  # the schema and the state stay legible
        file.seek(20 * 4096)
        file.write(b"\xff" * (path.stat().st_size - 40 * 4096))
    second = start(cluster)
    assert "event=spool_damaged" in log.read_text()
    publish(broker, [b"after"])
    # More may come: of what was killed the broker has not read every acknowledgement.
    wait_for(lambda: second.metric("bridge_forwarded_total") >= 1)
    wait_for(lambda: second.metric("bridge_spool_records") == 0)
    found = read_all(cluster, RAW, int(second.metric("bridge_forwarded_total")))
    assert b"after" in [message.value() for message in found]
    assert list(path.parent.glob("spool.damaged-*"))


@pytest.mark.parametrize("kind", ["below a file", "not a file system"])
def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "spool" if kind == "below a file" else Path("/proc")
    log = tmp_path / "log"
    assert Bridge(NOWHERE, 1, folder, log).process.wait(10) == 1
    (line,) = log.read_text().splitlines()
    assert line.startswith(f"level=critical event=spool folder={folder} fault=")
    assert "todo=" in line


def test_wrong_settings_are_named_and_end_with_2() -> None:
    environment = {name: value for name, value in os.environ.items() if "BRIDGE" not in name}
    outcome = subprocess.run(
        [sys.executable, "-m", "bridge"],
        cwd=ROOT,
        env=environment | {"BRIDGE_MAX_IN_FLIGHT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 2
    assert "BRIDGE_MQTT_HOST is not set" in outcome.stderr
    assert "expected a whole number from 1 to 65535" in outcome.stderr


def test_a_file_of_authorities_that_cannot_be_used_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("", encoding="utf-8")
    needed = {"MQTT_HOST": "h", "GATEWAY": "g", "KAFKA_BOOTSTRAP_SERVERS": "k:1"}
    environment = {f"BRIDGE_{name}": value for name, value in needed.items()}
    environment["BRIDGE_MQTT_CA_FILE"] = str(tmp_path / "empty.pem")
    done = subprocess.run(
        [sys.executable, "-m", "bridge"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 2
    assert "BRIDGE_MQTT_CA_FILE" in done.stderr
