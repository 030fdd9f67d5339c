"""Publishes with QoS 1 and keeps account of the PUBACKs."""

import ssl
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from paho.mqtt.client import Client, ConnectFlags, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

_CHECK_SECONDS = 0.01


class PublishError(RuntimeError):
    """The broker cannot be used, or did not acknowledge; says what to look at."""


@dataclass(frozen=True)
class Broker:
    """Where to publish, and as whom; an empty user name is for anonymous.

    Attributes:
        authorities: file with those that may vouch for it by TLS; None: no TLS.
        certificate: file with ours, None: without one.
        key: file with its key.
    """

    host: str
    port: int
    username: str = ""
    password: str = ""
    authorities: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def client(self, client_id: str) -> Client:
        """Return a client that is to connect there.

        Raises:
            ValueError: a file cannot be used.
        """
        client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTv5)
        if self.username:
            client.username_pw_set(self.username, self.password or None)
        if self.authorities:
            try:
                context = ssl.create_default_context(cafile=self.authorities)
                if self.certificate:
                    context.load_cert_chain(self.certificate, self.key)
            except OSError as error:
                message = f"--authorities, --certificate or --key cannot be used: {error}"
                raise ValueError(message) from error
            client.tls_set_context(context)
        return client


class Publisher:
    """A connection to the broker with a bounded number of messages in flight.

    After a lost connection paho sends again what was not acknowledged.

    Attributes:
        sent: messages handed over.
        acknowledged: messages that the broker took.
    """

    def __init__(self, broker: Broker, max_in_flight: int, ack_seconds: float) -> None:
        """Prepare; `ack_seconds` is how long the broker may go without any answer."""
        self.sent = 0
        self.acknowledged = 0
        self._refused = 0
        self._refusal = ""
        self._broker = broker
        self._max_in_flight = max_in_flight
        self._ack_seconds = ack_seconds
        self._heard = 0.0  # monotonic time of the last PUBACK
        self._connected = threading.Event()
        self._rejection = ""
        self._slots = threading.BoundedSemaphore(max_in_flight)
        client = broker.client(f"simulator-{uuid.uuid4().hex[:12]}")
        # The bound is ours: paho's own would look through all messages at each PUBACK.
        client.max_inflight_messages_set(0)
        client.reconnect_delay_set(min_delay=1, max_delay=5)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        self._client = client

    def connect(self) -> None:
        """Connect and wait for the broker's word.

        Raises:
            PublishError: it cannot be reached or refuses.
        """
        address = f"MQTT broker {self._broker.host}:{self._broker.port}"
        try:
            self._client.connect(self._broker.host, self._broker.port)
        except OSError as error:
            message = f"{address} cannot be reached ({error}): check --host and --port"
            raise PublishError(message) from error
        self._client.loop_start()
        answered = self._connected.wait(self._ack_seconds)
        if not answered or self._rejection:
            self._close()
        if not answered:
            message = f"{address} did not answer in {self._ack_seconds:g} s: is it an MQTT broker?"
            raise PublishError(message)
        if self._rejection:
            message = f"{address} refused the connection ({self._rejection}): "
            raise PublishError(message + "check --username and --password-file, or --certificate")
        self._heard = time.monotonic()

    def publish(self, topic: str, payload: bytes) -> None:
        """Hand over a message; blocks while as many as allowed are in flight.

        Raises:
            PublishError: no PUBACK came for too long.
        """
        while not self._slots.acquire(timeout=_CHECK_SECONDS):
            self._check_silence()
        if self.sent == self.acknowledged + self._refused:
            self._heard = time.monotonic()  # it had nothing to acknowledge until now
        self.sent += 1
        self._client.publish(topic, payload, qos=1)

    def finish(self) -> None:
        """Wait for all PUBACKs, and disconnect.

        Raises:
            PublishError: some did not come, or the broker refused messages.
        """
        try:
            while self.acknowledged + self._refused < self.sent:
                self._check_silence()
                time.sleep(_CHECK_SECONDS)
        finally:
            self._close()
        if self._refused:
            message = f"broker refused {self._refused} of {self.sent} readings ({self._refusal}): "
            raise PublishError(message + "may this user publish to the topic?")

    def _check_silence(self) -> None:
        if time.monotonic() - self._heard > self._ack_seconds:
            missing = self.sent - self.acknowledged - self._refused
            address = f"{self._broker.host}:{self._broker.port}"
            message = (
                f"{missing} of {self.sent} readings were not acknowledged: no PUBACK for "
                f"{self._ack_seconds:g} s; is the broker {address} up?"
            )
            raise PublishError(message)

    def _close(self) -> None:
        # Else paho's thread would wait for the missing PUBACKs for ever.
        self._client.drop_out_messages()
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self,
        _client: Client,
        _userdata: object,
        _flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if not self._connected.is_set():
            self._rejection = str(reason) if reason.is_failure else ""
            allowed = getattr(properties, "ReceiveMaximum", self._max_in_flight)
            self._slots = threading.BoundedSemaphore(min(self._max_in_flight, allowed))
            self._connected.set()

    def _on_publish(
        self,
        _client: Client,
        _userdata: object,
        _packet_id: int,
        reason: ReasonCode,
        _properties: Properties,
    ) -> None:
        if reason.is_failure:
            self._refused += 1
            self._refusal = str(reason)
        else:
            self.acknowledged += 1
        self._heard = time.monotonic()
        self._slots.release()
