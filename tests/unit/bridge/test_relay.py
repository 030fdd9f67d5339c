"""What becomes of a message."""

from hypothesis import given
from hypothesis import strategies as st

from bridge.relay import KEPT_OF_TOO_LARGE, to_dead_letter, to_record


@given(st.binary(max_size=300))
def test_the_payload_is_never_touched(payload: bytes) -> None:
    assert to_record("sensors/s/d/telemetry", payload, 1, "gw1").value == payload


def test_key_is_the_device_and_headers_tell_the_way() -> None:
    record = to_record("sensors/hall/d7/telemetry", b"{}", 1_700_000_000_123_456_789, "gw1")
    assert record.key == b"d7"
    assert record.headers == (
        ("mqtt_topic", b"sensors/hall/d7/telemetry"),
        ("gateway", b"gw1"),
        ("received_ns", b"1700000000123456789"),
    )


def test_key_is_the_whole_topic_when_it_names_no_device() -> None:
    assert to_record("other/d7", b"", 1, "gw1").key == b"other/d7"


def test_dead_letter_keeps_the_record_and_says_why() -> None:
    record = to_record("sensors/s/d/telemetry", b"x" * 100_000, 5, "gw1")
    letter = to_dead_letter(record, "not valid", too_large=False)
    assert (letter.key, letter.value) == (record.key, record.value)
    assert dict(letter.headers) == {
        "reason": b"not valid",
        "original_size": b"100000",
        **dict(record.headers),
    }


def test_dead_letter_of_a_too_large_record_is_cut() -> None:
    record = to_record("sensors/s/d/telemetry", bytes(range(256)) * 8192, 5, "gw1")
    letter = to_dead_letter(record, "too large", too_large=True)
    assert letter.value == record.value[:KEPT_OF_TOO_LARGE]
    assert dict(letter.headers)["original_size"] == b"2097152"
