"""`python -m simulator` from the command line, with a real Mosquitto where it has to publish."""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
ROOT = Path(__file__).parents[3]
LINE = "{number}, 145803164{number:04d}, 1, 3, 20.48, 38.687, 197.14, 542.8, 1, 2, 0, 1\n"

needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")


def simulate(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "simulator", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    """Port of a Mosquitto that lets nobody publish below sensors/forbidden."""
    port = free_port()
    (tmp_path / "acl").write_text(
        "topic deny sensors/forbidden/#\ntopic readwrite sensors/#\n", encoding="utf-8"
    )
    (tmp_path / "mosquitto.conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nacl_file {tmp_path}/acl\n"
        f"user {getpass.getuser()}\n",
        encoding="utf-8",
    )
    with subprocess.Popen(
        [str(MOSQUITTO), "-c", str(tmp_path / "mosquitto.conf")], stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 10
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", port)):
                assert time.monotonic() < deadline, "mosquitto does not listen"
                time.sleep(0.05)
        yield port
        process.terminate()


@pytest.fixture
def heard(broker: int) -> Iterator[list[tuple[str, dict[str, object]]]]:
    """Topic and payload of all that arrives."""
    messages: list[tuple[str, dict[str, object]]] = []
    client = Client(CallbackAPIVersion.VERSION2, "listener", protocol=MQTTv5)
    client.on_message = lambda _client, _userdata, message: messages.append(
        (message.topic, json.loads(message.payload))
    )
    client.connect("127.0.0.1", broker)
    client.subscribe("sensors/#", qos=0)
    client.loop_start()
    time.sleep(0.2)
    yield messages
    client.disconnect()
    client.loop_stop()


@needs_mosquitto
def test_all_readings_arrive_and_the_report_says_so(
    broker: int, heard: list[tuple[str, dict[str, object]]], tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    outcome = simulate(
        *("--port", broker, "--site", "hall", "--devices", 4, "--rate", 2000, "--count", 1000),
        *("--progress", "--report", report),
    )
    assert outcome.returncode == 0, outcome.stderr
    told = json.loads(report.read_text())
    assert (told["sent"], told["acknowledged"], told["devices"]) == (1000, 1000, 4)
    assert json.loads(outcome.stdout.splitlines()[-1]) == {"sent": 1000, "acknowledged": 1000}
    deadline = time.monotonic() + 5
    while len(heard) < 1000 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(heard) == 1000
    assert heard[0][1]["ts"] == told["first_ts"]
    assert heard[-1][1]["ts"] == told["last_ts"]
    for name in ("hall-0001", "hall-0004"):
        own = [payload for topic, payload in heard if topic == f"sensors/hall/{name}/telemetry"]
        assert [payload["seq"] for payload in own] == list(range(250))
        assert {payload["device_id"] for payload in own} == {name}


@needs_mosquitto
def test_a_recorded_file_arrives_in_its_order(
    broker: int, heard: list[tuple[str, dict[str, object]]], tmp_path: Path
) -> None:
    path = tmp_path / "Office_1.csv"
    path.write_text("".join(LINE.format(number=number) for number in range(50)), encoding="utf-8")
    outcome = simulate("--port", broker, "--replay", path, "--speed", 0)
    assert outcome.returncode == 0, outcome.stderr
    time.sleep(0.3)
    assert [payload["seq"] for _, payload in heard] == list(range(50))
    assert heard[0][0] == "sensors/site1/office-1-node3/telemetry"
    assert heard[0][1]["light1"] == 197.14


@needs_mosquitto
def test_readings_that_the_broker_refuses_are_a_failure(broker: int, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    outcome = simulate(
        *("--port", broker, "--site", "forbidden", "--count", 5, "--rate", 0, "--report", report)
    )
    assert outcome.returncode == 1
    assert "refused 5 of 5 readings" in outcome.stderr
    assert json.loads(report.read_text())["acknowledged"] == 0


def test_a_broker_that_is_not_there_is_named() -> None:
    port = free_port()
    outcome = simulate("--port", port, "--count", 1)
    assert outcome.returncode == 1
    assert f"127.0.0.1:{port} cannot be reached" in outcome.stderr


def test_a_port_where_nobody_speaks_mqtt_is_told() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        outcome = simulate("--port", mute.getsockname()[1], "--ack-timeout", 1)
    assert outcome.returncode == 1
    assert "is it an MQTT broker?" in outcome.stderr


def test_a_bad_line_stops_before_anything_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "office.csv"
    path.write_text(LINE.format(number=1) + "broken\n", encoding="utf-8")
    outcome = simulate("--port", free_port(), "--replay", path)
    assert outcome.returncode == 2
    assert f"{path}:2: 1 columns" in outcome.stderr
    assert "nothing was sent: mend them or use --skip-bad" in outcome.stderr


@needs_mosquitto
def test_bad_lines_can_be_left_out(broker: int, tmp_path: Path) -> None:
    path = tmp_path / "office.csv"
    path.write_text(LINE.format(number=1) + "broken\n", encoding="utf-8")
    outcome = simulate("--port", broker, "--replay", path, "--skip-bad", "--speed", 0)
    assert outcome.returncode == 0
    assert "sent 1, acknowledged 1" in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--rate", "-1"), "expected a number from 0 up"),
        (("--port", "70000"), "expected a whole number from 1 to 65535"),
        (("--start", "yesterday"), "expected a time such as"),
        (("--start", "2026-03-01T00:00:00Z", "--rate", "0"), "--start needs a --rate above 0"),
        (("--site", "a/b"), "site 'a/b' cannot be part of a topic"),
        (("--password-file", "/nonexistent/file"), "--password-file /nonexistent/file"),
    ],
)
def test_wrong_arguments_end_with_2(arguments: tuple[str, ...], complaint: str) -> None:
    outcome = simulate(*arguments)
    assert outcome.returncode == 2
    assert complaint in outcome.stderr


def test_files_for_tls_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    done = simulate("--authorities", tmp_path / "nowhere.crt", "--count", 1)
    assert done.returncode == 2
    assert "--authorities" in done.stderr
