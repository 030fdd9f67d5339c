"""One reading, and the JSON that a sensor sends for it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

_FIXED = frozenset({"device_id", "ts", "seq", "temperature", "humidity", "replay"})


@dataclass(frozen=True, slots=True)
class Reading:
    """What a device measured at one moment.

    Attributes:
        device_id: name of the device, unique among all sites.
        ts: when it was captured, with a zone; None for a device without a clock.
        seq: running number given by the device, from 0; None if it does not count.
        temperature: °C.
        humidity: relative, in %.
        measurements: further quantities by name, in the unit that the name says.
        replay: it is sent again from a recording; `ts` is old and says nothing of the latency.
    """

    device_id: str
    ts: datetime | None
    seq: int | None
    temperature: float
    humidity: float
    measurements: Mapping[str, float] = field(default_factory=dict)
    replay: bool = False

    def __post_init__(self) -> None:
        """Refuse what the contract has no place for."""
        if self.ts is not None and self.ts.tzinfo is None:
            message = f"ts {self.ts} of device {self.device_id} has no time zone"
            raise ValueError(message)
        if self.seq is not None and self.seq < 0:
            message = f"seq {self.seq} of device {self.device_id} is below 0"
            raise ValueError(message)
        if taken := _FIXED & self.measurements.keys():
            message = f"measurements may not be named {', '.join(sorted(taken))}"
            raise ValueError(message)


def encode(reading: Reading) -> bytes:
    """Return the JSON payload of a reading: UTF-8, `ts` in ISO 8601 with microseconds.

    Raises:
        ValueError: a quantity is not finite, which JSON cannot hold.
    """
    document: dict[str, object] = {"device_id": reading.device_id}
    if reading.ts is not None:
        document["ts"] = reading.ts.isoformat(timespec="microseconds")
    if reading.seq is not None:
        document["seq"] = reading.seq
    document["temperature"] = reading.temperature
    document["humidity"] = reading.humidity
    if reading.replay:
        document["replay"] = True
    document.update(reading.measurements)
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
