"""Readings when they are due: generators that wait."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

from simulator.devices import Device
from telemetry.reading import Reading


class Pacer:
    """A clock that begins to run when it is first asked, and can be stopped by another thread."""

    def __init__(self, stop: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
        """End all waiting when `stop` is set; `clock` tells seconds."""
        self._stop = stop
        self._clock = clock
        self._began: float | None = None

    def restart(self) -> None:
        """Let the clock begin anew."""
        self._began = None

    def wait_until(self, seconds: float) -> bool:
        """Wait for the clock to show `seconds`; False if it was stopped."""
        if self._began is None:
            self._began = self._clock()
        remaining = self._began + seconds - self._clock()
        if remaining > 0:
            return not self._stop.wait(remaining)
        return not self._stop.is_set()


def simulated(
    devices: Sequence[Device], per_second: float, pacer: Pacer, start: datetime | None = None
) -> Iterator[Reading]:
    """Yield readings of devices that take turns, without end.

    Args:
        devices: at least one.
        per_second: of all devices together; 0 for as many as are taken.
        pacer: clock of the waiting.
        start: capture time of the first, from which the others follow in steps of the rate;
            None for the real time.
    """
    for number in count():
        seconds = number / per_second if per_second else 0.0
        if not pacer.wait_until(seconds):
            return
        moment = datetime.now(UTC) if start is None else start + timedelta(seconds=seconds)
        yield devices[number % len(devices)].read(moment)


def replayed(
    recordings: Iterable[Sequence[Reading]], speed: float, pacer: Pacer
) -> Iterator[Reading]:
    """Yield recorded readings in their order, one recording after the other without a gap.

    Args:
        recordings: readings with `ts`.
        speed: seconds of the recording per second; 0 for as fast as they are taken.
        pacer: clock of the waiting.
    """
    for readings in recordings:
        pacer.restart()
        first: datetime | None = None
        for reading in readings:
            first = first or reading.ts
            seconds = 0.0
            if speed and reading.ts and first:
                seconds = (reading.ts - first).total_seconds() / speed
            if not pacer.wait_until(seconds):
                return
            yield reading
