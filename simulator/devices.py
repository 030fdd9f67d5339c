"""Made-up devices: daily cycles of temperature and humidity with noise, the same for one seed."""

import math
import random
from dataclasses import dataclass, field
from datetime import datetime

from telemetry.reading import Reading

_DAY_SECONDS = 86_400


@dataclass(slots=True)
class Device:
    """A room's climate: warmest in the afternoon, and driest then.

    Attributes:
        device_id: its name.
        seq: number of its next reading.
        temperature: mean in °C, and half the daily swing.
        humidity: mean in % RH, and half the daily swing.
        peak: time of the warmest moment, seconds after midnight UTC.
    """

    device_id: str
    seq: int
    temperature: tuple[float, float]
    humidity: tuple[float, float]
    peak: float
    _noise: random.Random = field(repr=False)

    def read(self, moment: datetime) -> Reading:
        """Return the reading captured at a moment (with zone), and count on."""
        warmth = math.cos((moment.timestamp() - self.peak) * math.tau / _DAY_SECONDS)
        temperature = self.temperature[0] + self.temperature[1] * warmth
        humidity = self.humidity[0] - self.humidity[1] * warmth
        reading = Reading(
            device_id=self.device_id,
            ts=moment,
            seq=self.seq,
            temperature=round(temperature + self._noise.gauss(0, 0.05), 2),
            humidity=round(min(100.0, max(0.0, humidity + self._noise.gauss(0, 0.2))), 2),
        )
        self.seq += 1
        return reading


def make_devices(site: str, count: int, seed: int, first_seq: int = 0) -> list[Device]:
    """Return `<site>-0001` and so on; each depends on seed and name, not on how many there are."""
    return [_make_device(f"{site}-{number:04d}", seed, first_seq) for number in range(1, count + 1)]


def _make_device(name: str, seed: int, first_seq: int) -> Device:
    chance = random.Random(f"{seed}/{name}")  # noqa: S311
    return Device(
        device_id=name,
        seq=first_seq,
        temperature=(chance.uniform(18, 24), chance.uniform(1, 4)),
        humidity=(chance.uniform(35, 60), chance.uniform(3, 10)),
        peak=chance.uniform(13, 16) * 3600,
        _noise=chance,
    )
