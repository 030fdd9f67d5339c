"""The gateway's clock: the time, and how far it can be believed."""

import logging
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from bridge import log
from telemetry.headers import ClockQuality

# No clock was right before that.
EARLIEST_NS = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp()) * 10**9
# chrony may set a clock back by so much without it having been wrong all along.
_TOLERANCE_NS = 10 * 10**9
_MICROSECOND = 1000
_SET_BACK_NS = 10**6  # by less it is the clock's own resolution, or chrony's slewing
_LOOK_SECONDS = 16  # chrony itself asks its servers every 64 s at most times


class Stamp(NamedTuple):
    """When something was received.

    Attributes:
        wall_ns: by the clock, ns since the epoch.
        uptime_ns: since the machine's start, ns; goes on evenly whatever the clock does.
        quality: what `wall_ns` is worth.
        offset_ns: clock minus true time; None where nothing is known of it.
        error_ns: bound of that figure's error.
    """

    wall_ns: int
    uptime_ns: int
    quality: ClockQuality
    offset_ns: int | None = None
    error_ns: int | None = None


@dataclass(frozen=True)
class Tracking:
    """What chrony says of the clock; `synchronised` means that it has a source it trusts."""

    synchronised: bool
    offset_ns: int | None = None
    error_ns: int | None = None


class Clock:
    """Stamps what is received, and notices a clock that began in the past.

    A Raspberry Pi has no battery clock: after a power cut it goes on at a time that was saved some
    time before, or in 1970, until a time server answers. Two things end that: chrony says that it
    is synchronised, or the clock has passed `floor_ns`, because somebody set it.

    Attributes:
        past: the clock is in the past; whoever puts the times of messages right sets it back.
        tracking: what chrony said last.
    """

    def __init__(
        self,
        floor_ns: int,
        wait_seconds: float,
        look: Callable[[], Tracking],
        wall: Callable[[], int] = time.time_ns,
        uptime: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    ) -> None:
        """Read the clock for the first time.

        Args:
            floor_ns: time before which it cannot be: when the last message was received.
            wait_seconds: how long to hold messages back for a clock that is in the past.
            look: asks chrony.
            wall: reads the clock, ns since the epoch.
            uptime: reads the time since the machine's start, ns.
        """
        self._floor_ns = max(floor_ns, EARLIEST_NS) - _TOLERANCE_NS
        self._look = look
        self._wall = wall
        self._uptime = uptime
        self._last_ns = 0
        self._ahead_ns = 0  # of the last stamp, before the clock
        self._give_up_ns = uptime() + int(wait_seconds * 1e9)
        self.tracking = look()
        self.past = not self.is_right()

    def stamp(self) -> Stamp:
        """Return the time; no two stamps of a run are in the same microsecond."""
        return self.stamps(1)[0]

    def stamps(self, count: int) -> list[Stamp]:
        """Return the time as `stamp` does, for each of so many messages that came together."""
        now = self._wall()
        wall_ns = now
        # Unless the clock was set back in between.
        if self._last_ns - now < _SET_BACK_NS + self._ahead_ns:
            now = max(now, self._last_ns + _MICROSECOND)
        self._last_ns = now + (count - 1) * _MICROSECOND
        self._ahead_ns = self._last_ns - wall_ns
        tracking = self.tracking
        quality: ClockQuality = "synchronised" if tracking.synchronised else "unsynchronised"
        if self.past:
            quality = "past"
        uptime, offset, error = self._uptime(), tracking.offset_ns, tracking.error_ns
        return [
            Stamp(now + later, uptime + later, quality, offset, error)
            for later in range(0, count * _MICROSECOND, _MICROSECOND)
        ]

    def start_ns(self) -> int:
        """Return when the machine started, by the clock as it is now, ns since the epoch."""
        return self._wall() - self._uptime()

    @property
    def holds(self) -> bool:
        """Whether messages are to wait for a clock that is in the past."""
        return self.past and self._uptime() < self._give_up_ns

    def is_right(self) -> bool:
        """Tell whether the clock has come out of the past, or never was there."""
        return self._wall() >= self._floor_ns or self.tracking.synchronised

    def watch(self, stop: threading.Event) -> None:
        """Ask chrony again and again until told to stop; for a thread of its own."""
        while not stop.wait(1 if self.past else _LOOK_SECONDS):
            self.tracking = self._look()


class Chrony:
    """Asks chronyd by `chronyc`, which any user of the machine may."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        self._said = log.State()

    def __call__(self) -> Tracking:
        """Return what it says; where it does not answer, the clock is not synchronised."""
        try:
            answer = subprocess.run(
                ["chronyc", "-n", "-c", "tracking"],
                check=True,
                capture_output=True,
                text=True,
                timeout=5,
            )
            tracking = parse_tracking(answer.stdout)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            self._said.enter(logging.WARNING, "clock_unknown", detail=str(error))
            return Tracking(synchronised=False)
        event = "clock_synchronised" if tracking.synchronised else "clock_unsynchronised"
        self._said.enter(logging.INFO, event)
        return tracking


def parse_tracking(line: str) -> Tracking:
    """Read the answer of `chronyc -c tracking`, in chrony 4: fields separated by commas.

    The bound of the offset's error is the one of chronyc's manual: the root's dispersion and half
    of its delay, on top of what is still to be corrected.

    Raises:
        ValueError: it has another form.
    """
    fields = line.strip().split(",")
    try:
        correction, delay, dispersion = (float(fields[index]) for index in (4, 10, 11))
        leap = fields[13]
    except IndexError:
        message = f"chronyc answers {line.strip()!r}: expected 14 fields"
        raise ValueError(message) from None
    if leap == "Not synchronised":
        return Tracking(synchronised=False)
    error = abs(correction) + dispersion + delay / 2
    # chrony counts what is to be added to the clock.
    return Tracking(
        synchronised=True, offset_ns=round(-correction * 1e9), error_ns=round(error * 1e9)
    )
