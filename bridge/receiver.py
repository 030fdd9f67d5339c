"""The MQTT side: receives messages and acknowledges those that are safe."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from paho.mqtt.packettypes import PacketTypes

from bridge import log, mqtt
from bridge.clock import Stamp
from bridge.metrics import Metrics
from bridge.settings import Settings
from bridge.spool_file import Arrival
from bridge.window import AckWindow
from telemetry.topics import ack_topic

_RETRY_SECONDS = (1, 30)  # after the first failure, and at most


class Outlet(Protocol):
    """Where received messages go: the spool."""

    def put(self, arrivals: Sequence[Arrival], settled: Callable[[], None]) -> None:
        """Take messages; call `settled` from any thread once none can be lost any more."""


class Receiver:
    """Subscribes with a session that outlives the connection; a thread of its own receives."""

    def __init__(
        self,
        settings: Settings,
        outlet: Outlet,
        stamps: Callable[[int], list[Stamp]],
        metrics: Metrics,
        fail: Callable[[str], None],
    ) -> None:
        """Prepare; `stamps` tells the time so many times, `fail` ends the program for a reason."""
        self._settings = settings
        self._login = mqtt.Login(
            settings.session_id,
            settings.mqtt_username,
            settings.mqtt_password,
            receive_maximum=settings.max_in_flight,
            ca_file=settings.mqtt_ca_file,
        )
        self._outlet = outlet
        self._stamps = stamps
        self._metrics = metrics
        self._fail = fail
        self._window = AckWindow()
        # Held while PUBACKs are queued, so that the connection they are for cannot end between.
        self._lock = threading.Lock()
        self._connection: mqtt.Connection | None = None
        self._connected = log.State()
        self._stopping = False
        self._closing = threading.Event()
        self._thread = threading.Thread(name="mqtt", target=self._run, daemon=True)
        self.subscribed = threading.Event()
        metrics.in_flight.set_function(lambda: len(self._window))

    def start(self) -> None:
        """Connect in the background, again and again until it succeeds."""
        self._thread.start()

    def acknowledge(self) -> None:
        """Send the PUBACKs that are due."""
        with self._lock:
            packet_ids = self._window.release()
            if packet_ids and self._connection is not None:
                self._connection.acknowledge(packet_ids)
                self._metrics.acknowledged.inc(len(packet_ids))

    def confirm(self, device: str, covered: bytes) -> None:
        """Tell a device what is on disk; retained, for one that asks later."""
        # Not more than once: what is lost on the way is told again with the next reading.
        with self._lock:
            if self._connection is not None:
                self._connection.publish(ack_topic(device), covered, retain=True)

    def stop_receiving(self) -> None:
        """Leave further messages to the broker, which keeps them for the next start."""
        # To unsubscribe would have the broker drop them.
        self._stopping = True

    def close(self) -> None:
        """Send what is queued, and disconnect; the session stays."""
        with self._lock:
            self._closing.set()
            if self._connection is not None:
                self._connection.leave()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        wait, most = _RETRY_SECONDS
        while not self._closing.is_set():
            try:
                connection = mqtt.Connection(
                    self._settings.mqtt_host, self._settings.mqtt_port, self._login
                )
            except OSError as error:
                self._away(str(error))
                self._closing.wait(wait)
                wait = min(2 * wait, most)
                continue
            try:
                self._serve(connection)
            except OSError as error:
                if not self._stopping:
                    self._away(f"connection lost: {error}")
            finally:
                self._end(connection)
            wait, _ = _RETRY_SECONDS
            self._closing.wait(wait)

    def _serve(self, connection: mqtt.Connection) -> None:
        """Receive until the connection is left, or lost: then OSError is raised."""
        self._connected.enter(
            logging.INFO,
            "mqtt_connected",
            broker=self._broker,
            client_id=self._settings.session_id,
            session_present=str(connection.session_present).lower(),
        )
        with self._lock:
            if self._closing.is_set():
                connection.leave()
            self._connection = connection
        # Subscribing anew changes nothing in a session that has the subscription, and mends one
        # that lost it.
        connection.subscribe(self._settings.mqtt_topic)
        while (packets := connection.receive(self._take)) is not None:
            for packet in packets:
                if packet.kind == PacketTypes.SUBACK:
                    self._on_subscribe(packet)
                elif packet.kind == PacketTypes.DISCONNECT:
                    raise mqtt.ProtocolError(str(mqtt.parting(packet)))

    def _take(self, messages: list[mqtt.Message]) -> None:
        if self._stopping:
            return
        self._metrics.received.inc(len(messages))
        stamps = self._stamps(len(messages))
        arrivals = [
            Arrival(topic, payload, stamp, packet_id, repeated)
            for (topic, payload, packet_id, repeated), stamp in zip(messages, stamps, strict=True)
        ]
        # A sensor that published with QoS 0 gets no acknowledgement.
        ids = [packet_id for _, _, packet_id, _ in messages if packet_id]
        self._outlet.put(arrivals, self._window.receive(ids).settle)

    def _on_subscribe(self, packet: mqtt.Packet) -> None:
        granted = mqtt.granted(packet)
        if granted.value != mqtt.QOS:
            wanted = f"a subscription to {self._settings.mqtt_topic} with QoS {mqtt.QOS}"
            self._fail(f"mqtt broker {self._broker} refuses {wanted}: {granted}")
            return
        self._metrics.mqtt_connected.set(1)
        self.subscribed.set()

    def _end(self, connection: mqtt.Connection) -> None:
        with self._lock:
            self._connection = None
            self._window.reset()
            self.subscribed.clear()
        connection.close()

    def _away(self, reason: str) -> None:
        self._metrics.mqtt_connected.set(0)
        self._connected.enter(
            logging.WARNING, "mqtt_unreachable", broker=self._broker, reason=reason
        )

    @property
    def _broker(self) -> str:
        return f"{self._settings.mqtt_host}:{self._settings.mqtt_port}"
