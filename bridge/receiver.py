"""The MQTT side: receives messages and acknowledges those that are safe."""

import logging
import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from bridge import log
from bridge.clock import Stamp
from bridge.metrics import Metrics
from bridge.settings import Settings
from bridge.spool_file import Arrival
from bridge.window import AckWindow
from telemetry.topics import ack_topic

_KEEPALIVE_SECONDS = 30
_FOR_EVER = 0xFFFF_FFFF
_QOS = 1


class Outlet(Protocol):
    """Where received messages go: the spool."""

    def put(self, arrival: Arrival, settled: Callable[[], None]) -> None:
        """Take a message; call `settled` from any thread once it cannot be lost any more."""


class Receiver:
    """Subscribes with a session that outlives the connection; paho's thread does the receiving."""

    def __init__(
        self,
        settings: Settings,
        outlet: Outlet,
        stamp: Callable[[], Stamp],
        metrics: Metrics,
        fail: Callable[[str], None],
    ) -> None:
        """Prepare the client; `stamp` tells the time, `fail` ends the program for a reason."""
        self._settings = settings
        self._outlet = outlet
        self._stamp = stamp
        self._metrics = metrics
        self._fail = fail
        self._window = AckWindow()
        # Held while PUBACKs are queued, so that the connection they are for cannot end between.
        self._connection = threading.Lock()
        self._connected = log.State()
        self._stopping = False
        self._accepted = False  # by the broker, on this connection
        self.subscribed = threading.Event()
        metrics.in_flight.set_function(lambda: len(self._window))

        client = Client(
            CallbackAPIVersion.VERSION2, settings.session_id, protocol=MQTTv5, manual_ack=True
        )
        if settings.mqtt_username:
            client.username_pw_set(settings.mqtt_username, settings.mqtt_password or None)
        client.reconnect_delay_set(min_delay=1, max_delay=30)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_pre_connect = lambda *_: self._forget()
        client.on_message = self._on_message
        self._client = client

    def start(self) -> None:
        """Connect in the background, again and again until it succeeds."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = _FOR_EVER
        properties.ReceiveMaximum = self._settings.max_in_flight
        self._client.connect_async(
            self._settings.mqtt_host,
            self._settings.mqtt_port,
            keepalive=_KEEPALIVE_SECONDS,
            clean_start=False,
            properties=properties,
        )
        self._client.loop_start()

    def acknowledge(self) -> None:
        """Send the PUBACKs that are due."""
        with self._connection:
            for packet_id in self._window.release():
                if self._client.ack(packet_id, _QOS) == 0:
                    self._metrics.acknowledged.inc()

    def confirm(self, device: str, covered: bytes) -> None:
        """Tell a device what is on disk; retained, for one that asks later."""
        # Not more than once: what is lost on the way is told again with the next reading.
        self._client.publish(ack_topic(device), covered, qos=0, retain=True)

    def stop_receiving(self) -> None:
        """Leave further messages to the broker, which keeps them for the next start."""
        # To unsubscribe would have the broker drop them.
        self._stopping = True

    def close(self) -> None:
        """Send what is queued, and disconnect; the session stays."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        if self._stopping:
            return
        self._metrics.received.inc()
        stamp = self._stamp()
        topic, payload = message.topic.encode(), bytes(message.payload)
        if message.qos == _QOS:
            arrival = Arrival(topic, payload, stamp, message.mid, message.dup)
            self._outlet.put(arrival, self._window.receive(message.mid).settle)
        else:  # a sensor that published with QoS 0 gets no acknowledgement
            self._outlet.put(Arrival(topic, payload, stamp, 0, repeated=False), _nothing)

    def _on_connect(
        self,
        client: Client,
        _userdata: object,
        flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._away(f"connection refused: {reason}")
            return
        self._accepted = True
        self._connected.enter(
            logging.INFO,
            "mqtt_connected",
            broker=self._broker,
            client_id=self._settings.session_id,
            session_present=str(flags.session_present).lower(),
        )
        # Subscribing anew changes nothing in a session that has the subscription, and mends one
        # that lost it. Retained messages come only the first time.
        client.subscribe(
            self._settings.mqtt_topic,
            options=SubscribeOptions(
                qos=_QOS, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
            ),
        )

    def _on_subscribe(
        self,
        _client: Client,
        _userdata: object,
        _packet_id: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        if any(reason.value != _QOS for reason in reasons):
            granted = ", ".join(str(reason) for reason in reasons)
            wanted = f"a subscription to {self._settings.mqtt_topic} with QoS {_QOS}"
            self._fail(f"mqtt broker {self._broker} refuses {wanted}: {granted}")
            return
        self._metrics.mqtt_connected.set(1)
        self.subscribed.set()

    def _on_connect_fail(self, _client: Client, _userdata: object) -> None:
        # paho calls this where it handles the OSError, and does not pass it.
        self._away(str(sys.exc_info()[1]))

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: object,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._forget()
        self.subscribed.clear()
        if self._accepted and not self._stopping:
            self._away(f"connection lost: {reason}")
        self._accepted = False

    def _forget(self) -> None:
        with self._connection:
            self._window.reset()

    def _away(self, reason: str) -> None:
        self._metrics.mqtt_connected.set(0)
        self._connected.enter(
            logging.WARNING, "mqtt_unreachable", broker=self._broker, reason=reason
        )

    @property
    def _broker(self) -> str:
        return f"{self._settings.mqtt_host}:{self._settings.mqtt_port}"


def _nothing(*_: Any) -> None:  # noqa: ANN401
    """Do nothing."""
