"""One connection to an MQTT 5 broker, with each message's bytes as they came.

Of MQTT this speaks what a reader with a persistent session needs: QoS 1 and 0 in, QoS 0 out. Why
not with a client library: docs/decisions/0012-mqtt-client.md. Properties and reason codes are
paho-mqtt's.
"""

import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from bridge.tls import TlsSocket, client_context

QOS = 1
FOR_EVER = 0xFFFF_FFFF
_CHUNK = 64 * 1024
# Where so many bytes came at once, more are given a moment to come: each look costs as much as
# some ten messages.
_MANY = 1000
_GATHER_SECONDS = 0.001
_CONNECT_SECONDS = 5
_PUBLISH_QOS_0 = 0x30
_RETAIN = 0x01
_DUP = 0x08
_SUBSCRIBE_ID = 1
_ANSWER_SECONDS = 15  # a broker that leaves a PINGREQ so long without an answer is gone
_pack_acknowledgement = struct.Struct(">HH").pack
_PUBACK = 0x4002  # its type, and the length of what follows: the packet id


class Message(NamedTuple):
    """A PUBLISH; `packet_id` is 0 with QoS 0, `repeated` is the DUP flag."""

    topic: bytes
    payload: bytes
    packet_id: int
    repeated: bool


class Packet(NamedTuple):
    """Any other packet: its type, as PacketTypes has it, and what follows the fixed header."""

    kind: int
    body: bytes


class ProtocolError(OSError):
    """The broker sent what MQTT does not allow, or refused; the connection is of no use."""


@dataclass(frozen=True)
class Login:
    """Who connects; `receive_maximum` messages may be without a PUBACK.

    With `ca_file`, a file of authorities, the connection is TLS and one of them has to vouch for
    the broker's name or address.
    """

    client_id: str
    username: str = ""
    password: str = ""
    keepalive_seconds: int = 30
    receive_maximum: int = 65_535
    ca_file: str = ""


class Connection:
    """A connection, from CONNECT to its end.

    One thread opens it and calls `receive`; `acknowledge`, `publish` and `leave` are for any
    thread. All but `leave` of a connection that has ended do nothing.
    """

    def __init__(self, host: str, port: int, login: Login) -> None:
        """Connect; the broker's session with this client id goes on, or begins.

        Raises:
            OSError: there is no way to the broker.
            ProtocolError: it refuses, and why.
        """
        self._keepalive = login.keepalive_seconds
        self._rest = b""
        self._parts: list[bytes] = []
        self._missing = 0  # of a packet that is larger than a chunk
        self._outbox: list[bytes] = []
        self._leaving = False
        self._busy = False
        self._lock = threading.Lock()
        line = socket.create_connection((host, port), _CONNECT_SECONDS)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket: socket.socket | TlsSocket = line
        self._wake, self._woken = socket.socketpair()
        # TLS may have decrypted more than the broker's first answer.
        self._first_look = bool(login.ca_file)
        try:
            if login.ca_file:
                self._socket = TlsSocket(line, client_context(login.ca_file), host)
            self._socket.sendall(connect(login))
            self.session_present = self._await_connack()
            self._socket.settimeout(self._keepalive)
        except BaseException:
            self.close()
            raise
        self._sent_at = self._heard_at = time.monotonic()

    def subscribe(self, pattern: str) -> None:
        """Ask for a subscription; the SUBACK comes by `receive`."""
        self._send(subscribe(pattern))

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Send PUBACKs, all at once."""
        self._send(b"".join([_pack_acknowledgement(_PUBACK, number) for number in packet_ids]))

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish with QoS 0."""
        self._send(publish(topic, payload, retain=retain))

    def leave(self) -> None:
        """Have `receive` send what is queued, disconnect, and return None; the session stays."""
        self._leaving = True
        self._notify()

    def receive(self, handle: Callable[[list[Message]], None]) -> list[Packet] | None:
        """Wait for packets; hand over the messages and return the others; None after `leave`.

        Also sends what others queue, and keeps the connection alive.

        Raises:
            OSError: the connection is gone.
        """
        wait = 0 if self._first_look else self._keepalive / 2
        ready, _, _ = select.select([self._socket, self._woken], [], [], wait)
        if self._woken in ready:
            self._woken.recv(_CHUNK)
        self._flush()
        if self._leaving:
            self._socket.sendall(b"\xe0\x00")
            return None
        packets: list[Packet] = []
        if self._socket in ready or self._first_look:
            if self._busy:
                time.sleep(_GATHER_SECONDS)
            chunk = self._read_some(ready=self._socket in ready)
            self._first_look = False
            self._busy = len(chunk) > _MANY
            self._heard_at = time.monotonic()
            messages, packets = self._split(chunk)
            if messages:
                handle(messages)
        self._keep_alive()
        return packets

    def close(self) -> None:
        """Close the socket."""
        for one in (self._socket, self._wake, self._woken):
            one.close()

    def _read_some(self, *, ready: bool) -> bytes:
        """Read what is there; by TLS that may be no data, as with a new session ticket."""
        if isinstance(self._socket, TlsSocket):
            return self._socket.drain(ready=ready)
        chunk = self._socket.recv(_CHUNK)
        if not chunk:
            message = "the broker closed the connection"
            raise ProtocolError(message)
        return chunk

    def _send(self, data: bytes) -> None:
        with self._lock:
            self._outbox.append(data)
            first = len(self._outbox) == 1
        if first:
            self._notify()

    def _notify(self) -> None:
        try:
            self._wake.send(b"\0")
        except OSError:  # closed: nobody is there to read it
            return

    def _flush(self) -> None:
        with self._lock:
            queued, self._outbox = self._outbox, []
        if queued:
            self._socket.sendall(b"".join(queued))
            self._sent_at = time.monotonic()

    def _keep_alive(self) -> None:
        now = time.monotonic()
        if now - self._heard_at > self._keepalive + _ANSWER_SECONDS:
            message = f"the broker has been silent for {now - self._heard_at:.0f} s"
            raise ProtocolError(message)
        if now - min(self._sent_at, self._heard_at) >= self._keepalive / 2:
            self._socket.sendall(b"\xc0\x00")
            self._sent_at = now

    def _await_connack(self) -> bool:
        """Return whether the session went on."""
        kind, length = self._read(1)[0] >> 4, b""
        # What follows at once are the session's messages: not a byte more than this packet.
        while not length or length[-1] & 0x80:
            length += self._read(1)
        body = self._read(_variable(length, 0)[0])
        if kind != PacketTypes.CONNACK or len(body) < 2:  # noqa: PLR2004
            message = f"the broker answered with a packet of type {kind} and {body!r}"
            raise ProtocolError(message)
        reason = _reason(PacketTypes.CONNACK, body[1:])
        if reason.is_failure:
            message = f"connection refused: {reason}"
            raise ProtocolError(message)
        properties = Properties(PacketTypes.CONNACK)  # type: ignore[no-untyped-call]
        properties.unpack(body[2:])  # type: ignore[no-untyped-call]
        # The broker may want another one; 0 says that it does not look.
        self._keepalive = getattr(properties, "ServerKeepAlive", 0) or self._keepalive
        return bool(body[0] & 1)

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = self._socket.recv(count - len(data))
            if not chunk:
                message = "the broker closed the connection before it answered"
                raise ProtocolError(message)
            data += chunk
        return data

    def _split(self, chunk: bytes) -> tuple[list[Message], list[Packet]]:
        # A large packet is put together once, when its end is there.
        self._parts.append(chunk)
        self._missing -= len(chunk)
        if self._missing > 0:
            return [], []
        data = self._rest + b"".join(self._parts)
        self._parts.clear()
        messages, packets, used = split(data)
        self._rest = data[used:]
        self._missing = missing(self._rest)
        return messages, packets


def split(data: bytes) -> tuple[list[Message], list[Packet], int]:
    """Take apart what came from a broker.

    Args:
        data: begins with a packet.

    Returns:
        The messages, the other packets, and how many bytes those were; the rest of `data` is the
        beginning of a packet.

    Raises:
        ProtocolError: a packet cannot be read.
    """
    messages: list[Message] = []
    packets: list[Packet] = []
    at = 0
    end = len(data)
    try:
        while end - at > 1:
            first, length, body = data[at], data[at + 1], at + 2
            if length & 0x80:
                length, body = _variable(data, at + 1)
            following = body + length
            if following > end or not body:
                break
            if first >> 4 == PacketTypes.PUBLISH:
                messages.append(_message(data, first, body, following))
            else:
                packets.append(Packet(first >> 4, data[body:following]))
            at = following
    except IndexError:
        message = f"the broker sent a packet that is shorter than its parts: {data[at : at + 20]!r}"
        raise ProtocolError(message) from None
    return messages, packets, at


def missing(data: bytes) -> int:
    """Return how many bytes the packet that `data` begins with lacks; 0 if that is not known."""
    if len(data) < 2:  # noqa: PLR2004
        return 0
    length, body = _variable(data, 1)
    return max(body + length - len(data), 0) if body else 0


def connect(login: Login) -> bytes:
    """Return a CONNECT that goes on with the session; it does not expire."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = FOR_EVER
    properties.ReceiveMaximum = login.receive_maximum
    has_user, has_password = bool(login.username), bool(login.username and login.password)
    body = [
        _text("MQTT"),
        bytes([5, has_user << 7 | has_password << 6]),
        struct.pack(">H", login.keepalive_seconds),
        properties.pack(),  # type: ignore[no-untyped-call]
        _text(login.client_id),
        _text(login.username) if has_user else b"",
        _text(login.password) if has_password else b"",
    ]
    return _packet(PacketTypes.CONNECT << 4, b"".join(body))


def subscribe(pattern: str) -> bytes:
    """Return a SUBSCRIBE; retained messages come only if the subscription is new."""
    options = SubscribeOptions(qos=QOS, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
    head = struct.pack(">HB", _SUBSCRIBE_ID, 0)
    packed: bytes = options.pack()  # type: ignore[no-untyped-call]
    return _packet(PacketTypes.SUBSCRIBE << 4 | 2, head + _text(pattern) + packed)


def publish(topic: str, payload: bytes, *, retain: bool) -> bytes:
    """Return a PUBLISH with QoS 0."""
    return _packet(_PUBLISH_QOS_0 | (_RETAIN if retain else 0), _text(topic) + b"\0" + payload)


def granted(suback: Packet) -> ReasonCode:
    """Return what a SUBACK says of the one subscription."""
    return ReasonCode(PacketTypes.SUBACK, identifier=suback.body[-1])


def parting(disconnect: Packet) -> ReasonCode:
    """Return why the broker disconnects."""
    return _reason(PacketTypes.DISCONNECT, disconnect.body)


def _message(data: bytes, first: int, at: int, end: int) -> Message:
    topic_end = at + 2 + (data[at] << 8 | data[at + 1])
    packet_id, properties = 0, topic_end
    if first & 0x06:
        packet_id, properties = data[topic_end] << 8 | data[topic_end + 1], topic_end + 2
    length, payload = data[properties], properties + 1
    if length & 0x80:
        length, payload = _variable(data, properties)
    if not payload or payload + length > end:
        raise IndexError
    payload += length
    return Message(data[at + 2 : topic_end], data[payload:end], packet_id, bool(first & _DUP))


def _variable(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length and what it is followed by; 0 if its end is missing."""
    number = 0
    for place in range(4):
        if at + place >= len(data):
            return 0, 0
        byte = data[at + place]
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:  # noqa: PLR2004
            return number, at + place + 1
    message = f"the broker sent a length of more than 4 bytes: {data[at : at + 5]!r}"
    raise ProtocolError(message)


def _reason(kind: int, code: bytes) -> ReasonCode:
    # Where it is left out it is the normal one.
    return ReasonCode(kind, identifier=code[0] if code else 0)


def _packet(first: int, body: bytes) -> bytes:
    length, size = len(body), bytearray()
    while True:
        length, low = divmod(length, 128)
        size.append(low | 0x80 if length else low)
        if not length:
            return bytes([first]) + bytes(size) + body


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded
