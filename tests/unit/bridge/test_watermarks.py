"""Which of a device's readings are on disk."""

import json

import pytest

from bridge.watermarks import Number, Watermarks, read_number


def number(device: str, seq: int) -> Number:
    found = read_number(f"sensors/s/{device}/telemetry".encode(), b'{"seq":%d}' % seq)
    assert found == (device, seq)
    return found


def test_devices_are_told_what_is_covered() -> None:
    marks = Watermarks()
    for seq in (0, 1, 3, 1):
        marks.add(number("a", seq))
    marks.add(number("b", 7))
    assert [marks.has(number("a", seq)) for seq in range(5)] == [True, True, False, True, False]
    assert not marks.has(number("c", 0))
    told = {device: json.loads(payload) for device, payload in marks.take_changed()}
    assert told == {"a": {"covered": [[0, 1], [3, 3]]}, "b": {"covered": [[7, 7]]}}
    assert marks.take_changed() == []

    later = Watermarks()
    later.restore("a", b'{"covered": [[0, 1], [3, 3]]}')
    assert later.take_changed() == []
    later.add(number("a", 2))
    assert later.take_changed() == [("a", b'{"covered": [[0, 3]]}')]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"{",
        b"[" * 100_000,
        b"7",
        b'{"seq":true}',
        b'{"seq":-1}',
        b'{"seq":"1"}',
        b'{"seq":1.5}',
        b'{"seq":NaN}',
        b'{"seq":9223372036854775808}',
    ],
)
def test_what_has_no_number_is_passed_over(payload: bytes) -> None:
    assert read_number(b"sensors/s/a/telemetry", payload) is None
    assert read_number(b"another/topic", b'{"seq":1}') is None


def test_a_whole_number_may_have_a_point() -> None:
    assert read_number(b"sensors/s/a/telemetry", b'{"seq":5.0}') == ("a", 5)
