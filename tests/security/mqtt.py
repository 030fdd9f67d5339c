"""One attempt at an MQTT broker, by packets made here: libraries refuse the worst of them."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from tests.security.doors import SECONDS, Outcome, Visitor

_FAILURE = 0x80  # and above, in every answer of MQTT 5
_CLEAN_START, _HAS_PASSWORD, _HAS_USER = 0x02, 0x40, 0x80
_PATIENCE = 3.0  # for a message that ought not to come


class Refused(Exception):  # noqa: N818 - no error, but what is hoped for
    """The broker said no, or hung up."""


@dataclass
class Door:
    """A broker's port; `authorities` vouch for it by TLS, without `tls` it is asked in plain."""

    host: str
    port: int
    authorities: Path | None = None
    tls: bool = True

    @contextmanager
    def enter(self, visitor: Visitor) -> Iterator[Session]:
        """Connect, and wait for the broker's word.

        Raises:
            Refused: it does not let this visitor in.
        """
        with contextlib.ExitStack() as stack:
            try:
                line = stack.enter_context(
                    socket.create_connection((self.host, self.port), SECONDS)
                )
                if self.tls:
                    context = visitor.context(self.authorities)
                    line = stack.enter_context(context.wrap_socket(line, server_hostname=self.host))
                session = Session(line)
                line.sendall(_connect(visitor))
                session.expect(PacketTypes.CONNACK, 1)
            except OSError as error:
                raise Refused(str(error)) from error
            yield session

    def tries(
        self,
        visitor: Visitor,
        *,
        write: bytes | None = None,
        read: bytes | None = None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Outcome:
        """Connect, and publish to a topic, or subscribe and see whether anything comes."""
        try:
            with self.enter(visitor) as session:
                if write is not None:
                    session.publish(write)
                if read is not None:
                    session.subscribe(read)
                    meanwhile()
                    if not session.hears(_PATIENCE):
                        return Outcome(admitted=False, answer="nothing came")
        except Refused as refusal:
            return Outcome(admitted=False, answer=str(refusal))
        return Outcome(admitted=True, answer="")


class Session:
    """A connection that was let in."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def publish(self, topic: bytes, payload: bytes = b"{}") -> None:
        """Publish with QoS 1, and wait for the answer."""
        body = _text(topic) + b"\x00\x01\x00" + payload
        self._send(PacketTypes.PUBLISH << 4 | 2, body)
        self.expect(PacketTypes.PUBACK, 2)

    def subscribe(self, pattern: bytes) -> None:
        """Subscribe with QoS 1, and wait for the answer."""
        self._send(PacketTypes.SUBSCRIBE << 4 | 2, b"\x00\x01\x00" + _text(pattern) + b"\x01")
        self.expect(PacketTypes.SUBACK, -1)

    def hears(self, seconds: float) -> bool:
        """Tell whether a message comes."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._line.settimeout(left)
            try:
                kind, _ = self._packet()
            except TimeoutError:
                return False
            if kind == PacketTypes.PUBLISH:
                return True
        return False

    def ended_after(self, seconds: float) -> float | None:
        """Seconds until the broker ends the connection; None if it does not in time."""
        started = time.monotonic()
        while time.monotonic() - started < seconds:
            try:
                self._line.settimeout(1)
                self._send(PacketTypes.PINGREQ << 4, b"")
                self._packet()
            except TimeoutError:
                continue  # slow, and there
            except (Refused, OSError):
                return time.monotonic() - started
            time.sleep(0.2)
        return None

    def expect(self, wanted: int, place: int) -> None:
        """Wait for an answer whose reason code stands at a place.

        Raises:
            Refused: it says no, or there is none.
        """
        try:
            while True:
                kind, body = self._packet()
                if kind == PacketTypes.DISCONNECT:
                    raise Refused(str(ReasonCode(kind, identifier=body[0] if body else 0)))
                if kind == wanted:
                    break
        except OSError as error:
            raise Refused(str(error) or "no answer") from error
        code = body[place] if len(body) > place else 0
        if code >= _FAILURE:
            raise Refused(str(ReasonCode(kind, identifier=code)))

    def _send(self, first: int, body: bytes) -> None:
        try:
            self._line.sendall(_packet(first, body))
        except OSError as error:
            raise Refused(str(error)) from error

    def _packet(self) -> tuple[int, bytes]:
        first = self._read(1)[0]
        length = shift = 0
        while True:
            byte = self._read(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return first >> 4, self._read(length)

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._line.recv(count - len(data))
            if not part:
                message = "the broker hung up"
                raise Refused(message)
            data += part
        return data


def _connect(visitor: Visitor) -> bytes:
    fields = [visitor.client_id]
    flags = _CLEAN_START
    if visitor.username:
        fields.append(visitor.username)
        flags |= _HAS_USER
    if visitor.password:
        fields.append(visitor.password)
        flags |= _HAS_PASSWORD
    texts = b"".join(_text(field.encode()) for field in fields)
    # Without a keep-alive: who is silent stays connected.
    body = b"\x00\x04MQTT\x05" + bytes([flags]) + b"\x00\x00\x00" + texts
    return _packet(PacketTypes.CONNECT << 4, body)


def _packet(first: int, body: bytes) -> bytes:
    size, length = bytearray(), len(body)
    while True:
        length, low = divmod(length, 128)
        size.append(low | 0x80 if length else low)
        if not length:
            return bytes([first]) + bytes(size) + body


def _text(text: bytes) -> bytes:
    return struct.pack(">H", len(text)) + text
