"""Which of a device's readings are on disk: told to devices that want to be sure."""

import json
from typing import NamedTuple

import msgspec

from telemetry.ranges import Ranges
from telemetry.topics import device_of

# Of a device whose numbers have so many gaps the highest ranges are forgotten; it sends them again.
_MOST_RANGES = 64
_MOST_DEVICES = 100_000
_MOST_SEQ = 2**63 - 1


class Number(NamedTuple):
    """A reading as its device counts it."""

    device: str
    seq: int


class _Numbered(msgspec.Struct):
    """What is read of a payload; the rest is skipped."""

    seq: int | float | None = None


_decode = msgspec.json.Decoder(_Numbered).decode


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
            ranges = self._devices[number.device] = Ranges(most=_MOST_RANGES)
        ranges.add(number.seq)
        self._changed.add(number.device)

    def take_changed(self) -> list[tuple[str, bytes]]:
        """Return device and `{"covered": [[low, high], ...]}` of each that changed since."""
        changed, self._changed = self._changed, set()
        return [(device, self._encode(device)) for device in sorted(changed)]

    def restore(self, device: str, payload: bytes) -> None:
        """Begin with what `take_changed` returned in an earlier run."""
        covered = json.loads(payload)["covered"]
        self._devices[device] = Ranges(((low, high) for low, high in covered), most=_MOST_RANGES)

    def _encode(self, device: str) -> bytes:
        return json.dumps({"covered": self._devices[device].to_list()}).encode()


def read_number(topic: bytes, payload: bytes) -> Number | None:
    """Return the number that a message's device gave it; None if it gave none."""
    device = device_of(topic)
    if device is None:
        return None
    try:
        seq = _decode(payload).seq
    except (ValueError, RecursionError):  # of msgspec too
        return None
    # As the streaming job has it, 5.0 is a number to count with too.
    if isinstance(seq, float):
        seq = int(seq) if seq.is_integer() else None
    if seq is None or not 0 <= seq <= _MOST_SEQ:
        return None
    return Number(device, seq)
