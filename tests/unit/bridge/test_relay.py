"""What becomes of a message."""

import pytest
from bridge_bench import NOON, entry
from hypothesis import given
from hypothesis import strategies as st

from bridge.relay import KEPT_OF_TOO_LARGE, Record, origin, to_dead_letter, to_record
from bridge.spool_file import Entry


def record(message: Entry, *, resent: bool = False) -> Record:
    return to_record(message, origin("gw1", "a1b2"), 7, resent=resent)


@given(st.binary(max_size=300))
def test_the_payload_is_never_touched(payload: bytes) -> None:
    assert record(entry(payload)).value == payload


def test_key_is_the_device_and_headers_tell_the_way() -> None:
    message = entry(b"{}", seq=42)._replace(topic=b"sensors/hall/d7/telemetry")
    assert record(message).key == b"d7"
    assert record(message).headers == [
        ("gateway", b"gw1"),
        ("spool_id", b"a1b2"),
        ("mqtt_topic", b"sensors/hall/d7/telemetry"),
        ("received_ns", b"%d" % NOON),
        ("clock_quality", b"unsynchronised"),
        ("spool_seq", b"42"),
        ("spool_waiting", b"7"),
    ]


def test_what_is_known_of_the_clock_goes_along() -> None:
    message = entry(b"{}")._replace(quality="synchronised", offset_ns=-16_385, error_ns=0)
    found = dict(record(message, resent=True).headers)
    assert found["clock_quality"] == b"synchronised"
    assert found["clock_offset_ns"] == b"-16385"
    assert found["clock_error_ns"] == b"0"
    assert found["resent"] == b"1"


@pytest.mark.parametrize("topic", [b"other/d7", b"sensors/hall/\xff/telemetry"])
def test_key_is_the_whole_topic_when_it_names_no_device(topic: bytes) -> None:
    assert record(entry(b"")._replace(topic=topic)).key == topic
    assert dict(record(entry(b"")._replace(topic=topic)).headers)["mqtt_topic"] == topic


def test_dead_letter_keeps_the_record_and_says_why() -> None:
    refused = record(entry(b"x" * 100_000))
    letter = to_dead_letter(refused, "not valid", too_large=False)
    assert (letter.key, letter.value) == (refused.key, refused.value)
    assert dict(letter.headers) == {
        "reason": b"not valid",
        "original_size": b"100000",
        **dict(refused.headers),
    }


def test_dead_letter_of_a_too_large_record_is_cut() -> None:
    refused = record(entry(bytes(range(256)) * 8192))
    letter = to_dead_letter(refused, "too large", too_large=True)
    assert letter.value == refused.value[:KEPT_OF_TOO_LARGE]
    assert dict(letter.headers)["original_size"] == b"2097152"
