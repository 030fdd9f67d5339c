"""Readings held until the gateway says that they are on its disk: `ack/<device>`."""

import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.reasoncodes import ReasonCode

from simulator.publisher import Broker, PublishError
from telemetry.reading import Reading
from telemetry.topics import ack_topic, parse_ack_topic

_CHECK_SECONDS = 0.5
_MOST_PATIENCE_SECONDS = 300.0


@dataclass
class _Held:
    """A reading that is not confirmed."""

    topic: str
    payload: bytes
    ts: str | None
    sent_at: float = field(default_factory=time.monotonic)
    times: int = 1  # sent


class Confirmations:
    """Knows which readings are confirmed, writes them down, and sends the others again.

    The broker's PUBACK does not do for this: a broker that is killed may lose what it acknowledged.
    A reading is sent again when a later one of its device was confirmed, so it was lost; without
    such a sign ever less often, since it may wait in the broker for a bridge that is away.
    """

    def __init__(self, broker: Broker, path: Path, again_after_seconds: float) -> None:
        """Prepare; `path` gets a JSON line for each confirmed reading: device_id, seq, ts."""
        self.confirmed = 0
        self.sent_again = 0
        self._broker = broker
        self._again_after_seconds = again_after_seconds
        self._log = path.open("w", encoding="utf-8")
        self._lock = threading.Lock()
        self._held: dict[str, dict[int, _Held]] = {}
        self._newest: dict[str, int] = {}  # confirmed, by device
        self._heard = time.monotonic()
        self._looked = 0.0
        self._ready = threading.Event()
        client = broker.client(f"simulator-acks-{uuid.uuid4().hex[:8]}")
        client.reconnect_delay_set(min_delay=1, max_delay=5)
        client.on_connect = self._on_connect
        client.on_subscribe = lambda *_: self._ready.set()
        client.on_message = self._on_message
        self._client = client

    def __enter__(self) -> Self:
        """Subscribe, and wait until that is done.

        Raises:
            PublishError: the broker does not let us in 30 s.
        """
        self._client.connect_async(self._broker.host, self._broker.port)
        self._client.loop_start()
        if not self._ready.wait(30):
            message = (
                f"{self._broker.host}:{self._broker.port} does not let us subscribe to ack/+: "
            )
            raise PublishError(message + "may this user read it?")
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect, and close the file."""
        self._client.disconnect()
        self._client.loop_stop()
        self._log.close()

    def hold(self, reading: Reading, topic: str, payload: bytes) -> None:
        """Note a reading that is about to be sent; one without a number cannot be confirmed."""
        if reading.seq is None:
            return
        ts = reading.ts.isoformat(timespec="microseconds") if reading.ts else None
        with self._lock:
            self._held.setdefault(reading.device_id, {})[reading.seq] = _Held(topic, payload, ts)

    def send_again(self, publish: Callable[[str, bytes], None]) -> None:
        """Send what has waited too long for its confirmation."""
        now = time.monotonic()
        if now - self._looked < _CHECK_SECONDS:
            return
        self._looked = now
        with self._lock:
            due = [
                held
                for device, of_device in self._held.items()
                for seq, held in of_device.items()
                if now - held.sent_at > self._patience(held, lost=seq < self._newest.get(device, 0))
            ]
        for held in due:
            held.sent_at = now
            held.times += 1
            self.sent_again += 1
            publish(held.topic, held.payload)

    def _patience(self, held: _Held, *, lost: bool) -> float:
        doubled = self._again_after_seconds * 2 ** (held.times - 1)
        return self._again_after_seconds if lost else min(doubled, _MOST_PATIENCE_SECONDS)

    def finish(self, publish: Callable[[str, bytes], None], silence_seconds: float) -> None:
        """Wait until all is confirmed, sending again what is not.

        Raises:
            PublishError: nothing was confirmed for too long.
        """
        self._heard = time.monotonic()
        while waiting := sum(len(of_device) for of_device in self._held.values()):
            if time.monotonic() - self._heard > silence_seconds:
                message = (
                    f"{waiting} readings were not confirmed on ack/+ for {silence_seconds:g} s: "
                )
                raise PublishError(message + "does the gateway's bridge run?")
            self.send_again(publish)
            time.sleep(_CHECK_SECONDS)

    def _on_connect(
        self,
        client: Client,
        _userdata: object,
        _flags: ConnectFlags,
        reason: ReasonCode,
        _properties: object,
    ) -> None:
        if not reason.is_failure:
            client.subscribe(ack_topic("+"), qos=1)

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        # What was retained from before this run may speak of other readings with these numbers.
        device = parse_ack_topic(message.topic)
        if message.retain or device is None:
            return
        covered = json.loads(message.payload)["covered"]
        with self._lock:
            held = self._held.get(device, {})
            for seq in [seq for seq in held if _is_in(seq, covered)]:
                line: dict[str, Any] = {"device_id": device, "seq": seq, "ts": held.pop(seq).ts}
                self._log.write(json.dumps(line) + "\n")
                self.confirmed += 1
                self._newest[device] = max(seq, self._newest.get(device, 0))
                self._heard = time.monotonic()
            self._log.flush()


def _is_in(seq: int, ranges: list[list[int]]) -> bool:
    return any(low <= seq <= high for low, high in ranges)
