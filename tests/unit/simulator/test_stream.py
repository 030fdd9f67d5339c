"""Readings when they are due, with a clock that the test moves."""

import threading
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from simulator.devices import make_devices
from simulator.stream import Pacer, replayed, simulated
from telemetry.reading import Reading, encode

START = datetime(2026, 3, 1, tzinfo=UTC)


class Clock(threading.Event):
    """A stop event that takes no real time to wait for, and notes how long it would have been."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.pacer = Pacer(self, lambda: self.now)

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0
        return self.is_set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def recorded(*seconds: float) -> list[Reading]:
    return [
        Reading("d", START + timedelta(seconds=second), number, 20.0, 40.0)
        for number, second in enumerate(seconds)
    ]


def test_the_rate_is_of_all_devices_together_and_they_take_turns(clock: Clock) -> None:
    readings = islice(simulated(make_devices("s", 3, 1), 10, clock.pacer), 31)
    seen = [(reading.device_id, reading.seq) for reading in readings]
    assert seen[:4] == [("s-0001", 0), ("s-0002", 0), ("s-0003", 0), ("s-0001", 1)]
    assert clock.now == pytest.approx(103.0)


def test_ts_is_the_real_time_of_sending(clock: Clock) -> None:
    before = datetime.now(UTC)
    reading = next(simulated(make_devices("s", 1, 1), 10, clock.pacer))
    assert reading.ts is not None
    assert before <= reading.ts <= datetime.now(UTC)


def test_a_given_start_makes_the_whole_run_repeatable(clock: Clock) -> None:
    def run() -> list[bytes]:
        clock.pacer.restart()
        readings = simulated(make_devices("s", 2, 7), 4, clock.pacer, START)
        return [encode(reading) for reading in islice(readings, 20)]

    assert run() == run()
    assert b'"ts":"2026-03-01T00:00:04.750000+00:00"' in run()[-1]


def test_a_stopped_stream_ends(clock: Clock) -> None:
    readings = simulated(make_devices("s", 1, 1), 10, clock.pacer)
    next(readings)
    clock.set()
    assert list(readings) == []


def test_a_replay_keeps_the_distances_of_the_recording(clock: Clock) -> None:
    times = []
    for reading in replayed([recorded(0, 5, 20)], 2, clock.pacer):
        assert reading.device_id == "d"
        times.append(clock.now - 100)
    assert times == [0, 2.5, 10]


def test_files_follow_each_other_without_a_gap(clock: Clock) -> None:
    second = recorded(86_400, 86_410)
    assert len(list(replayed([recorded(0, 10), second], 1, clock.pacer))) == 4
    assert clock.now == 120


def test_speed_0_waits_for_nothing_and_keeps_the_order(clock: Clock) -> None:
    readings = recorded(0, 100, 50)
    assert list(replayed([readings], 0, clock.pacer)) == readings
    assert clock.now == 100
