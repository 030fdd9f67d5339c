"""A reading as JSON."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from telemetry.reading import Reading, encode

NOON = datetime(2026, 3, 1, 12, 0, 0, 42, tzinfo=UTC)


def test_payload_holds_what_the_contract_names() -> None:
    reading = Reading("d1", NOON, 7, 21.5, 40.0, {"light1": 185.71})
    assert json.loads(encode(reading)) == {
        "device_id": "d1",
        "ts": "2026-03-01T12:00:00.000042+00:00",
        "seq": 7,
        "temperature": 21.5,
        "humidity": 40.0,
        "light1": 185.71,
    }


def test_a_device_without_clock_or_counter_leaves_them_out() -> None:
    payload = json.loads(encode(Reading("d1", None, None, 1.0, 2.0)))
    assert payload.keys() == {"device_id", "temperature", "humidity"}


def test_microseconds_and_zone_survive() -> None:
    moment = NOON.replace(microsecond=0).astimezone(timezone(timedelta(hours=2)))
    payload = json.loads(encode(Reading("d1", moment, 0, 1.0, 2.0)))
    assert payload["ts"] == "2026-03-01T14:00:00.000000+02:00"


def test_names_outside_ascii_are_utf8() -> None:
    assert '"device_id":"capteur-é"'.encode() in encode(Reading("capteur-é", NOON, 0, 1.0, 2.0))


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        Reading("d1", NOON.replace(tzinfo=None), 0, 1.0, 2.0)


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ValueError, match="below 0"):
        Reading("d1", NOON, -1, 1.0, 2.0)


def test_a_measurement_cannot_take_the_place_of_a_fixed_field() -> None:
    with pytest.raises(ValueError, match="humidity"):
        Reading("d1", NOON, 0, 1.0, 2.0, {"humidity": 3.0})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_hold_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode(Reading("d1", NOON, 0, value, 2.0))
