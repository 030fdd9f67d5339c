"""Made-up devices."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from simulator.devices import make_devices
from telemetry.reading import encode

START = datetime(2026, 3, 1, tzinfo=UTC)


def run(site: str, devices: int, seed: int, device: int, count: int = 5) -> list[bytes]:
    chosen = make_devices(site, devices, seed)[device]
    return [encode(chosen.read(START + timedelta(minutes=minute))) for minute in range(count)]


@given(st.integers(), st.integers(0, 3))
def test_same_seed_and_device_same_readings(seed: int, device: int) -> None:
    # whatever the number of devices
    assert run("s", 4, seed, device) == run("s", 9, seed, device)


def test_seeds_and_devices_differ() -> None:
    runs = {tuple(run("s", 3, seed, device)) for seed in (1, 2) for device in (0, 1, 2)}
    assert len(runs) == 6


def test_seq_counts_up_from_where_it_is_told() -> None:
    (device,) = make_devices("s", 1, 1, first_seq=40)
    assert [device.read(START).seq for _ in range(3)] == [40, 41, 42]


def test_afternoon_is_warmer_and_drier_than_night() -> None:
    for device in make_devices("s", 20, 1):
        night = device.read(START + timedelta(hours=2))
        afternoon = device.read(START + timedelta(hours=14, minutes=30))
        assert afternoon.temperature > night.temperature
        assert afternoon.humidity < night.humidity


@given(st.integers(), st.integers(0, 86_399))
def test_readings_are_those_of_a_room(seed: int, second: int) -> None:
    reading = make_devices("s", 1, seed)[0].read(START + timedelta(seconds=second))
    assert 10 < reading.temperature < 32
    assert 0 <= reading.humidity <= 100
