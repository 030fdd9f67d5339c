"""Runs on a gateway during a rollout, as root, in the Python of the release of before.

`probe` sends numbered probes for some seconds. `hold` has the MQTT broker keep all readings for a
session of its own from then on; `again` sends those once more that are sure to become no doubles,
and keeps the others in a file; `let-go` forgets them. Each prints one line of JSON.
"""

import argparse
import json
import sys
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

# Drawn by role mosquitto; `-u NAME` and `-P PASSWORD`.
LOGIN = Path("/etc/mosquitto/health/mosquitto_rr")
READINGS = "sensors/+/+/telemetry"
MARKER = "health/hold"
SESSION = "rollout-hold"
# A session that nobody ends is forgotten by then.
SESSION_SECONDS = 86_400
WAIT_SECONDS = 30


def connect(
    options: argparse.Namespace,
    session: str = "",
    *,
    keep: bool = False,
    take: Callable[[MQTTMessage], None] | None = None,
) -> Client:
    """Return a client that is connected and works in the background.

    Args:
        options: host and port of the broker.
        session: name of a session that may be there already; empty: a new one.
        keep: go on with that session, and leave it behind.
        take: is given each message; without it none is acknowledged, so that they stay.

    Raises:
        OSError: the broker is not reached, or refuses the user.
    """
    words = LOGIN.read_text(encoding="utf-8").split()
    client = Client(CallbackAPIVersion.VERSION2, session, protocol=MQTTv5, manual_ack=take is None)
    client.username_pw_set(words[words.index("-u") + 1], words[words.index("-P") + 1])
    client.reconnect_delay_set(min_delay=1, max_delay=1)
    if take is not None:
        client.on_message = lambda _client, _userdata, message: take(message)
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_SECONDS if keep else 0
    client.connect(options.host, options.port, clean_start=not keep, properties=properties)
    client.loop_start()
    deadline = time.monotonic() + WAIT_SECONDS
    while not client.is_connected():
        if time.monotonic() > deadline:
            message = f"no session for user {words[words.index('-u') + 1]}"
            raise TimeoutError(message)
        time.sleep(0.02)
    return client


def leave(client: Client) -> None:
    """Disconnect once what is under way is sent."""
    client.disconnect()
    client.loop_stop()


def probe(options: argparse.Namespace) -> dict[str, Any]:
    """Send probes evenly over the seconds; goes on when the broker is away for a while."""
    client = connect(options)
    began = time.monotonic()
    sent = []
    for seq in range(options.count):
        time.sleep(max(0.0, began + seq * options.seconds / options.count - time.monotonic()))
        reading = {
            "device_id": options.device,
            "ts": datetime.now(UTC).isoformat(),
            "seq": seq,
            "run": options.run,
        }
        topic = f"sensors/probe/{options.device}/telemetry"
        sent.append(client.publish(topic, json.dumps(reading), qos=1))
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline and not all(message.is_published() for message in sent):
        time.sleep(0.1)
    leave(client)
    return {"sent": len(sent), "acknowledged": sum(m.is_published() for m in sent)}


def hold(options: argparse.Namespace) -> dict[str, Any]:
    """Begin to hold, or go on; what is held already stays."""
    client = connect(options, SESSION, keep=True)
    granted: list[ReasonCode] = []
    client.on_subscribe = lambda _client, _userdata, _mid, codes, _properties: granted.extend(codes)
    # What is retained is older than the hold.
    wanted = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
    client.subscribe([(READINGS, wanted), (MARKER, wanted)])
    deadline = time.monotonic() + WAIT_SECONDS
    while not granted and time.monotonic() < deadline:
        time.sleep(0.02)
    leave(client)
    if not granted or any(code.is_failure for code in granted):
        message = f"the broker does not let {LOGIN} read {READINGS}: {granted}; run site.yml first"
        raise OSError(message)
    return {"held": True}


def again(options: argparse.Namespace) -> dict[str, Any]:
    """Send what was held once more, and end the hold."""
    marker = uuid.uuid4().bytes
    client = connect(options)
    # All that came before it is in front of it.
    client.publish(MARKER, marker, qos=1).wait_for_publish(WAIT_SECONDS)
    held: list[tuple[str, bytes]] = []
    seen = threading.Event()
    options.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with options.file.open("w", encoding="utf-8") as file:

        def take(message: MQTTMessage) -> None:
            if seen.is_set() or message.topic == MARKER:
                if message.payload == marker:
                    seen.set()
                return
            held.append((message.topic, bytes(message.payload)))
            # Here before the broker is told to forget it.
            file.write(line(*held[-1]))
            file.flush()

        holder = connect(options, SESSION, keep=True, take=take)
        whole = seen.wait(options.seconds)
        leave(holder)
    sent = [client.publish(*reading, qos=1) for reading in held if is_numbered(reading[1])]
    for message in sent:
        message.wait_for_publish(WAIT_SECONDS)
    leave(client)
    if whole:
        let_go(options)
    others = [line(*reading) for reading in held if not is_numbered(reading[1])]
    options.file.write_text("".join(others), encoding="utf-8")
    told = {"held": len(held), "sent": len(sent), "kept": len(others), "whole": whole}
    return {**told, "file": str(options.file)}


def line(topic: str, payload: bytes) -> str:
    """Return a reading as it stands in the file."""
    return json.dumps({"topic": topic, "payload": payload.hex()}) + "\n"


def let_go(options: argparse.Namespace) -> dict[str, Any]:
    """End the hold; the broker forgets what it held."""
    leave(connect(options, SESSION))
    return {"held": False}


def is_numbered(payload: bytes) -> bool:
    """Tell whether a reading carries its own time and number, by which it is stored only once."""
    try:
        reading = json.loads(payload)
    except ValueError:
        return False
    known = isinstance(reading, dict)
    return known and reading.get("ts") is not None and reading.get("seq") is not None


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="probes, and readings held for a rollout")
    parser.add_argument("command", choices=["probe", "hold", "again", "let-go"])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--device", help="name of the probe")
    parser.add_argument("--run", type=float, help="number that its probes carry")
    parser.add_argument("--count", type=int, default=20, help="probes")
    parser.add_argument("--seconds", type=float, default=60, help="for the probes, or to wait")
    parser.add_argument("--file", type=Path, help="for what is not sent again")
    options = parser.parse_args()
    commands = {"probe": probe, "hold": hold, "again": again, "let-go": let_go}
    try:
        print(json.dumps(commands[options.command](options)))
    except (OSError, ValueError) as error:
        sys.exit(f"{options.command}: {options.host}:{options.port}: {error!r}")


if __name__ == "__main__":
    main()
