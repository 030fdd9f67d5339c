"""MQTT packets as a broker sends them, whole and torn, well formed and not."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes

from bridge.mqtt import (
    Login,
    Message,
    Packet,
    ProtocolError,
    connect,
    granted,
    missing,
    publish,
    split,
)

DUP, QOS_1 = 0x08, 0x02


def packed(message: Message, properties: bytes = b"") -> bytes:
    """Return a PUBLISH as a broker sends it."""
    head = struct.pack(">H", len(message.topic)) + message.topic
    if message.packet_id:
        head += struct.pack(">H", message.packet_id)
    body = head + bytes([len(properties)]) + properties + message.payload
    first = 0x30 | (QOS_1 if message.packet_id else 0) | (DUP if message.repeated else 0)
    size = bytearray()
    length = len(body)
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    return bytes([first]) + bytes([*size, length]) + body


MESSAGES = st.builds(
    Message,
    topic=st.binary(max_size=40),
    payload=st.one_of(st.binary(max_size=300), st.just(b"x" * 3000)),
    packet_id=st.integers(0, 65_535),
    repeated=st.booleans(),
)


@given(st.lists(MESSAGES, max_size=6), st.integers(1, 400))
def test_every_byte_comes_through_however_the_stream_is_cut(
    sent: list[Message], piece: int
) -> None:
    stream = b"".join(map(packed, sent))
    found: list[Message] = []
    rest = b""
    for start in range(0, len(stream), piece):
        rest += stream[start : start + piece]
        messages, packets, used = split(rest)
        assert packets == []
        found += messages
        rest = rest[used:]
        assert missing(rest) <= max(len(stream) - start - piece, 0)
    assert found == sent
    assert rest == b""


def test_properties_are_skipped_and_other_packets_kept() -> None:
    expiry = b"\x02\x00\x00\x00\x3c"
    wanted = Message(b"t", b"payload", 7, repeated=True)
    messages, packets, used = split(packed(wanted, expiry) + b"\xd0\x00\x90\x04\x00\x01\x00\x87")
    assert messages == [wanted]
    assert packets == [Packet(PacketTypes.PINGRESP, b""), Packet(PacketTypes.SUBACK, b"\0\1\0\x87")]
    assert used == len(packed(wanted, expiry)) + 8
    assert str(granted(packets[1])) == "Not authorized"


@pytest.mark.parametrize(
    "data",
    [
        b"\x30\x00",  # no topic
        b"\x30\x04\x00\x09ab",  # a topic that is longer than its packet
        b"\x32\x03\x00\x01a",  # QoS 1 without a packet id
        b"\x30\x05\x00\x01a\x7fx",  # properties that are longer than their packet
        b"\x30\x04\x00\x01a\x80",  # properties whose length has no end
        b"\x30\xff\xff\xff\xff\x01",  # a length of five bytes
    ],
)
def test_what_mqtt_does_not_allow_ends_the_connection_with_a_reason(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="the broker sent"):
        split(data)


@given(st.binary(max_size=200))
def test_nothing_else_comes_of_any_bytes(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        split(data)
        missing(data)


def test_connect_goes_on_with_a_session_that_does_not_expire() -> None:
    sent = connect(Login("bridge-gw1", "user", "secret", 30, 1000))
    assert sent[:2] == bytes([0x10, len(sent) - 2])
    assert sent[2:10] == b"\x00\x04MQTT\x05\xc0"  # user, password, no clean start
    assert sent[10:12] == b"\x00\x1e"
    assert b"\x11\xff\xff\xff\xff" in sent  # session expiry interval
    assert b"\x21\x03\xe8" in sent  # receive maximum
    assert sent.endswith(b"\x00\x0abridge-gw1\x00\x04user\x00\x06secret")


def test_a_confirmation_is_retained() -> None:
    assert publish("ack/d", b"{}", retain=True) == b"\x31\x0a\x00\x05ack/d\x00{}"
