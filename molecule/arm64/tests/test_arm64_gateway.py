"""What a gateway does with the processor and the pages of a Raspberry Pi 5, under systemd."""

import json
import shlex
import time

from testinfra.host import Host

READINGS = 200
MQTT_PORT, METRICS_PORT = 1883, 9101


def figures(host: Host) -> dict[str, float]:
    """The bridge's own, by name."""
    text = host.check_output(f"curl --silent http://127.0.0.1:{METRICS_PORT}/metrics")
    rows = [line.split(" ") for line in text.splitlines() if line.startswith("bridge_")]
    return {row[0]: float(row[1]) for row in rows if "{" not in row[0]}


def test_it_has_a_raspberry_pis_processor_and_pages(host: Host) -> None:
    assert host.check_output("uname -m; getconf PAGESIZE").split() == ["aarch64", "16384"]


def test_services_run(host: Host) -> None:
    for name in ("mosquitto", "mqtt-bridge", "kafka", "chrony", "edge-firewall"):
        assert host.service(name).is_running, name


def test_readings_reach_kafka(host: Host) -> None:
    before = figures(host)
    lines = "".join(
        json.dumps({"device_id": "d1", "seq": seq, "temperature": 20.5, "humidity": 40}) + "\n"
        for seq in range(READINGS)
    )
    host.check_output(
        f"printf %s {shlex.quote(lines)} | mosquitto_pub -p {MQTT_PORT} -q 1 -l"
        " -u device -P test-only-device -t sensors/s/d1/telemetry"
    )
    deadline = time.monotonic() + 300
    while (now := figures(host))["bridge_forwarded_total"] < before[
        "bridge_forwarded_total"
    ] + READINGS:
        assert time.monotonic() < deadline, now
        time.sleep(2)
    assert now["bridge_acknowledged_total"] == now["bridge_received_total"]
    assert now["bridge_spool_records"] == 0


def test_a_killed_bridge_comes_back(host: Host) -> None:
    host.check_output("systemctl kill --signal=KILL mqtt-bridge")
    deadline = time.monotonic() + 180
    while not host.run(f"curl --silent http://127.0.0.1:{METRICS_PORT}/metrics").succeeded:
        assert time.monotonic() < deadline, "the bridge stays away"
        time.sleep(2)
