"""What a rollout has the MQTT broker hold is sent again once: playbooks/files/gateway_mqtt.py."""

import base64
import json
import shlex
import uuid
from pathlib import Path
from typing import Any

from test_mqtt_bridge import await_values
from testinfra.host import Host

PROGRAM = Path(__file__).resolve().parents[5] / "playbooks" / "files" / "gateway_mqtt.py"
KEPT = "/run/held.jsonl"


def ask(host: Host, *arguments: str) -> dict[str, Any]:
    """Runs the program on the gateway."""
    text = base64.b64encode(PROGRAM.read_bytes()).decode()
    host.check_output(f"echo {text} | base64 --decode > /run/gateway_mqtt.py")
    command = ["/opt/mqtt_bridge/current/bin/python", "/run/gateway_mqtt.py", *arguments]
    answer: dict[str, Any] = json.loads(host.check_output(shlex.join(command)))
    return answer


def publish(host: Host, site: str, payload: bytes) -> None:
    command = ["mosquitto_pub", "-q", "1", "-u", "device", "-P", "test-only-device"]
    command += ["-t", f"sensors/{site}/d1/telemetry", "-m", payload.decode()]
    host.check_output(shlex.join(command))


def test_held_readings_are_sent_again_and_marked(host: Host) -> None:
    site = uuid.uuid4().hex
    numbered = {
        json.dumps({"temperature": 20.5, "ts": "2026-03-01T06:00:00Z", "seq": seq}).encode()
        for seq in range(3)
    }
    other = b'{"temperature": 20.5}'
    assert ask(host, "hold") == {"held": True}
    for payload in (*sorted(numbered), other):
        publish(host, site, payload)
    await_values(host, site, {*numbered, other})
    # As when the release on trial was replaced by the one before.
    host.check_output("systemctl restart mqtt-bridge")

    told = ask(host, "again", f"--file={KEPT}", "--seconds=60")
    assert told == {"held": 4, "sent": 3, "kept": 1, "whole": True, "file": KEPT}
    kept = json.loads(host.file(KEPT).content_string)
    assert (kept["topic"], bytes.fromhex(kept["payload"])) == (
        f"sensors/{site}/d1/telemetry",
        other,
    )

    last = f'{{"temperature": 1, "site": "{site}"}}'.encode()
    publish(host, site, last)
    found = await_values(host, site, {last})
    resent = [record.value for record in found if "resent" in record.headers]
    # What was sent before and after is the same but for the mark, by which the sinks know it.
    assert numbered <= set(resent)
    first = [record.value for record in found if "resent" not in record.headers]
    assert sorted(first) == sorted([*numbered, other, last])


def test_what_was_let_go_is_not_held(host: Host) -> None:
    site = uuid.uuid4().hex
    ask(host, "hold")
    publish(host, site, b'{"temperature": 2, "ts": "2026-03-01T06:00:00Z", "seq": 1}')
    ask(host, "let-go")
    ask(host, "hold")
    assert ask(host, "again", f"--file={KEPT}", "--seconds=60")["held"] == 0


def test_probes_are_numbered_readings(host: Host) -> None:
    device = f"probe-{uuid.uuid4().hex}"
    arguments = [f"--device={device}", "--run=1772345678", "--count=3", "--seconds=1"]
    assert ask(host, "probe", *arguments) == {"sent": 3, "acknowledged": 3}
