"""What a gateway does with the processor and the pages of a Raspberry Pi 5, under systemd."""

import json
import shlex
import time

import pytest
import testinfra
from testinfra.host import Host

from tools.testhosts import KEY

READINGS = 200
SSH_PORT, MQTT_PORT, METRICS_PORT = 18822, 1883, 9101


@pytest.fixture(scope="module")
def pi() -> Host:
    """The emulated machine, which is no container."""
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    return testinfra.get_host(
        f"ssh://root@127.0.0.1:{SSH_PORT}", ssh_identity_file=str(KEY), ssh_extra_args=options
    )


def figures(pi: Host) -> dict[str, float]:
    """The bridge's own, by name."""
    text = pi.check_output(f"curl --silent http://127.0.0.1:{METRICS_PORT}/metrics")
    rows = [line.split(" ") for line in text.splitlines() if line.startswith("bridge_")]
    return {row[0]: float(row[1]) for row in rows if "{" not in row[0]}


def test_it_has_a_raspberry_pis_processor_and_pages(pi: Host) -> None:
    assert pi.check_output("uname -m; getconf PAGESIZE").split() == ["aarch64", "16384"]


def test_services_run(pi: Host) -> None:
    for name in ("mosquitto", "mqtt-bridge", "kafka", "chrony", "edge-firewall"):
        assert pi.service(name).is_running, name


def test_readings_reach_kafka(pi: Host) -> None:
    before = figures(pi)
    lines = "".join(
        json.dumps({"device_id": "d1", "seq": seq, "temperature": 20.5, "humidity": 40}) + "\n"
        for seq in range(READINGS)
    )
    pi.check_output(
        f"printf %s {shlex.quote(lines)} | mosquitto_pub -p {MQTT_PORT} -q 1 -l"
        " -u device -P test-only-device -t sensors/s/d1/telemetry"
    )
    deadline = time.monotonic() + 300
    while (now := figures(pi))["bridge_forwarded_total"] < before[
        "bridge_forwarded_total"
    ] + READINGS:
        assert time.monotonic() < deadline, now
        time.sleep(2)
    assert now["bridge_acknowledged_total"] == now["bridge_received_total"]
    assert now["bridge_spool_records"] == 0


def test_a_killed_bridge_comes_back(pi: Host) -> None:
    pi.check_output("systemctl kill --signal=KILL mqtt-bridge")
    deadline = time.monotonic() + 180
    while not pi.run(f"curl --silent http://127.0.0.1:{METRICS_PORT}/metrics").succeeded:
        assert time.monotonic() < deadline, "the bridge stays away"
        time.sleep(2)
