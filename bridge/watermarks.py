"""Which of a device's readings are on disk: told to devices that want to be sure."""

import json
from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from telemetry.topics import parse_topic

# Of a device whose numbers have so many gaps the highest ranges are forgotten; it sends them again.
_MOST_RANGES = 64
_MOST_DEVICES = 100_000
_MOST_SEQ = 2**63 - 1

Range = tuple[int, int]


class Number(NamedTuple):
    """A reading as its device counts it."""

    device: str
    seq: int


class Ranges:
    """A set of whole numbers as ranges with both ends included, in ascending order."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        """Begin with ranges that neither touch nor overlap, in ascending order."""
        self._low: list[int] = []
        self._high: list[int] = []
        for low, high in ranges:
            self._low.append(low)
            self._high.append(high)

    def __contains__(self, number: int) -> bool:
        """Tell whether a number is in there."""
        place = bisect_right(self._low, number)
        return bool(place) and number <= self._high[place - 1]

    def add(self, number: int) -> None:
        """Add a number."""
        if number in self:
            return
        place = bisect_right(self._low, number)
        joins_lower = bool(place) and self._high[place - 1] == number - 1
        joins_upper = place < len(self._low) and self._low[place] == number + 1
        if joins_lower and joins_upper:
            self._high[place - 1] = self._high.pop(place)
            del self._low[place]
        elif joins_lower:
            self._high[place - 1] = number
        elif joins_upper:
            self._low[place] = number
        else:
            self._low.insert(place, number)
            self._high.insert(place, number)
            del self._low[_MOST_RANGES:], self._high[_MOST_RANGES:]

    def to_list(self) -> list[Range]:
        """Return the ranges."""
        return list(zip(self._low, self._high, strict=True))


class Watermarks:
    """The numbers (`seq`) that are on disk, by device.

    What is forgotten beyond the limits only makes devices send again what is here.
    """

    def __init__(self) -> None:
        """Begin with no device."""
        self._devices: dict[str, Ranges] = {}
        self._changed: set[str] = set()

    def has(self, number: Number) -> bool:
        """Tell whether a reading's number was added before."""
        ranges = self._devices.get(number.device)
        return ranges is not None and number.seq in ranges

    def add(self, number: Number) -> None:
        """Take in the number of a reading that is on disk."""
        ranges = self._devices.get(number.device)
        if ranges is None:
            if len(self._devices) >= _MOST_DEVICES:
                return
            ranges = self._devices[number.device] = Ranges()
        ranges.add(number.seq)
        self._changed.add(number.device)

    def take_changed(self) -> list[tuple[str, bytes]]:
        """Return device and `{"covered": [[low, high], ...]}` of each that changed since."""
        changed, self._changed = self._changed, set()
        return [(device, self._encode(device)) for device in sorted(changed)]

    def restore(self, device: str, payload: bytes) -> None:
        """Begin with what `take_changed` returned in an earlier run."""
        self._devices[device] = Ranges((low, high) for low, high in json.loads(payload)["covered"])

    def _encode(self, device: str) -> bytes:
        return json.dumps({"covered": self._devices[device].to_list()}).encode()


def read_number(topic: str, payload: bytes) -> Number | None:
    """Return the number that a message's device gave it; None if it gave none."""
    parts = parse_topic(topic)
    if parts is None:
        return None
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    seq = document.get("seq") if isinstance(document, dict) else None
    # As the streaming job has it, 5.0 is a number to count with too.
    if isinstance(seq, float) and seq.is_integer():
        seq = int(seq)
    if isinstance(seq, bool) or not isinstance(seq, int) or not 0 <= seq <= _MOST_SEQ:
        return None
    return Number(parts.device, seq)
