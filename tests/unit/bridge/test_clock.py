"""The gateway's clock: what chrony says of it, and one that begins in the past."""

import logging
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from bridge_bench import NOON, SECOND, Gateway, wait_for
from hypothesis import given
from hypothesis import strategies as st

from bridge.clock import Chrony, Clock, Tracking, parse_tracking

# As chrony 4.9 printed them; its other form said "0.000016385 seconds slow of NTP time".
SLOW = (
    "0A5C000C,10.92.0.12,11,1795513074.536837808,0.000016385,-0.000002760,0.000002760,"
    "-0.304,-0.000,2.424,0.000049234,0.000023356,2.0,Normal\n"
)
NOT_SYNCHRONISED = (
    "00000000,,0,0.000000000,0.000000000,0.000000000,0.000000000,"
    "0.000,0.000,0.000,1.000000000,1.000000000,0.0,Not synchronised\n"
)
AWAY = Tracking(synchronised=False)
SYNCHRONISED = Tracking(synchronised=True, offset_ns=-16_385, error_ns=64_358)
LONG_AGO = 86_400 * SECOND  # 2 January 1970


def clock(
    gateway: Gateway,
    floor_ns: int = 0,
    wait_seconds: float = 600,
    look: Callable[[], Tracking] = lambda: AWAY,
) -> Clock:
    return Clock(
        floor_ns, wait_seconds, look, wall=lambda: gateway.wall, uptime=lambda: gateway.uptime
    )


def test_a_slow_clock_is_behind_the_true_time() -> None:
    # 16385 of correction, 23356 of dispersion, half of 49234 of delay
    assert parse_tracking(SLOW) == Tracking(synchronised=True, offset_ns=-16_385, error_ns=64_358)


def test_a_fast_clock_is_ahead_of_it() -> None:
    fast = parse_tracking(SLOW.replace(",0.000016385,", ",-0.000016385,"))
    assert fast == Tracking(synchronised=True, offset_ns=16_385, error_ns=64_358)


def test_without_a_source_nothing_is_known() -> None:
    assert parse_tracking(NOT_SYNCHRONISED) == AWAY


@pytest.mark.parametrize("line", ["", "506 Cannot talk to daemon\n", SLOW.replace("0.000049", "x")])
def test_another_form_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"14 fields|could not convert"):
        parse_tracking(line)


def chronyc(folder: Path, script: str) -> None:
    program = folder / "chronyc"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)


def test_chronyc_is_asked_and_its_silence_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("PATH", str(tmp_path))
    chrony = Chrony()
    assert [chrony(), chrony()] == [AWAY, AWAY]  # not installed
    chronyc(tmp_path, "echo 506 Cannot talk to daemon; exit 1")
    assert chrony() == AWAY
    chronyc(tmp_path, f"echo '{SLOW.strip()}'")
    assert chrony() == SYNCHRONISED
    chronyc(tmp_path, f"echo '{NOT_SYNCHRONISED.strip()}'")
    assert chrony() == AWAY
    assert [record.getMessage().split()[1] for record in caplog.records] == [
        "event=clock_unknown",
        "event=clock_synchronised",
        "event=clock_unsynchronised",
    ]


@given(st.lists(st.tuples(st.integers(0, 10_000_000), st.integers(0, 900_000)), max_size=50))
def test_stamps_ascend_by_a_microsecond_at_least(steps: list[tuple[int, int]]) -> None:
    gateway = Gateway()
    subject = clock(gateway)
    stamps, even = [], NOON
    for step, back in [(0, 0), (0, 0), (0, 0), *steps]:
        even += step
        gateway.wall = even - back  # by less than a millisecond: slewed, not set
        stamps.append(subject.stamp().wall_ns)
    assert all(later - earlier >= 1000 for earlier, later in pairwise(stamps))


def test_a_clock_that_is_set_back_is_followed() -> None:
    gateway = Gateway()
    subject = clock(gateway)
    before = subject.stamp()
    gateway.wall -= 3600 * SECOND
    assert subject.stamp().wall_ns == before.wall_ns - 3600 * SECOND


def test_stamps_of_messages_that_came_together_ascend_too() -> None:
    gateway = Gateway()
    subject = clock(gateway)
    stamps = subject.stamps(5000)  # 5 ms ahead of the clock at the end
    assert stamps[0] == (gateway.wall, gateway.uptime, "unsynchronised", None, None)
    gateway.go_on(0.001)
    stamps += [*subject.stamps(2), subject.stamp()]
    assert all(later.wall_ns - earlier.wall_ns == 1000 for earlier, later in pairwise(stamps))
    gateway.go_on(1)
    assert subject.stamp().wall_ns == gateway.wall


def test_a_stamp_says_what_it_is_worth() -> None:
    gateway = Gateway()
    subject = clock(gateway)
    assert subject.stamp() == (gateway.wall, gateway.uptime, "unsynchronised", None, None)
    subject.tracking = SYNCHRONISED
    gateway.go_on(1)
    assert subject.stamp() == (gateway.wall, gateway.uptime, "synchronised", -16_385, 64_358)


@pytest.mark.parametrize(
    ("wall", "floor", "past"),
    [
        (LONG_AGO, 0, True),  # the first start ever, without a battery clock
        (NOON, 0, False),
        (NOON, NOON, False),
        (NOON, NOON + 9 * SECOND, False),  # chrony may set a clock back by so much
        (NOON, NOON + 11 * SECOND, True),  # the time that was saved before a power cut
    ],
)
def test_before_the_last_message_it_is_in_the_past(wall: int, floor: int, *, past: bool) -> None:
    subject = clock(Gateway(wall), floor)
    assert (subject.past, subject.holds) == (past, past)
    assert subject.stamp().quality == ("past" if past else "unsynchronised")


def test_chrony_knows_better_than_the_last_message() -> None:
    assert not clock(Gateway(NOON), NOON + 3600 * SECOND, look=lambda: SYNCHRONISED).past


@pytest.mark.parametrize("by_chrony", [True, False])
def test_it_comes_out_of_the_past_when_it_is_set(*, by_chrony: bool) -> None:
    gateway = Gateway(LONG_AGO)
    subject = clock(gateway)
    gateway.go_on(5)
    assert not subject.is_right()
    if by_chrony:
        subject.tracking = SYNCHRONISED
    else:
        gateway.wall = NOON
    assert subject.is_right()
    assert subject.past, "before the times of what was held are put right"
    gateway.wall = NOON
    assert subject.start_ns() == NOON - gateway.uptime


def test_it_is_not_waited_for_longer_than_agreed() -> None:
    gateway = Gateway(LONG_AGO)
    subject = clock(gateway, wait_seconds=60)
    gateway.go_on(59)
    assert subject.holds
    gateway.go_on(1)
    assert not subject.holds
    assert subject.stamp().quality == "past", "that it is wrong remains true"


def test_chrony_is_asked_again_until_told_to_stop() -> None:
    answers = iter([AWAY, SYNCHRONISED])
    subject = clock(Gateway(LONG_AGO), look=lambda: next(answers, SYNCHRONISED))
    stop = threading.Event()
    watch = threading.Thread(target=subject.watch, args=[stop])
    watch.start()
    try:
        wait_for(lambda: subject.tracking == SYNCHRONISED, 5)
    finally:
        stop.set()
        watch.join(5)
    assert not watch.is_alive()
