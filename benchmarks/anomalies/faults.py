"""The simulator's devices, clean and with faults whose truth is known."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from simulator.devices import make_devices

Floats = npt.NDArray[np.float64]

START = datetime(2026, 1, 1, tzinfo=UTC)
INTERVAL_SECONDS = 300
DAY_READINGS = 86_400 // INTERVAL_SECONDS


@dataclass(frozen=True)
class Faulty:
    """Temperatures of a device with one fault.

    Attributes:
        kind: as in FAULTS.
        seconds, temperatures: shape (readings,); a silent device has fewer of them.
        begin, end: seconds since 1970 between which the fault is there.
    """

    kind: str
    seconds: Floats
    temperatures: Floats
    begin: float
    end: float


def clean(devices: int, days: float, seed: int) -> tuple[Floats, dict[str, Floats]]:
    """Return capture times, shape (readings,), and per quantity values, (devices, readings)."""
    readings = int(days * DAY_READINGS)
    moments = [START + timedelta(seconds=INTERVAL_SECONDS * number) for number in range(readings)]
    quantities: dict[str, Floats] = {
        name: np.empty((devices, readings)) for name in ("temperature", "humidity")
    }
    for row, device in enumerate(make_devices("bench", devices, seed)):
        for column, moment in enumerate(moments):
            reading = device.read(moment)
            quantities["temperature"][row, column] = reading.temperature
            quantities["humidity"][row, column] = reading.humidity
    return np.array([moment.timestamp() for moment in moments]), quantities


def readings(seconds: Floats, quantities: dict[str, Floats]) -> pd.DataFrame:
    """Return what `clean` made as decoded readings of one gateway, as Kafka would have them."""
    devices = len(next(iter(quantities.values())))
    moments = pd.to_datetime(np.repeat(seconds, devices), unit="s", utc=True)
    numbers = np.tile(np.arange(devices), len(seconds))
    return pd.DataFrame(
        {
            "device_id": [f"bench-{number:04d}" for number in numbers],
            "gateway": "gw1",
            "time": moments,
            "received_at": moments,
            "appended_at": moments,
            "kafka_partition": numbers % 4,
            **{name: values.T.ravel() for name, values in quantities.items()},
            "dew_point": np.nan,
        }
    )


def spike(values: Floats, rows: slice, chance: np.random.Generator) -> None:
    """One reading that is off by 2 to 10 °C."""
    values[rows.start] += chance.choice((-1, 1)) * chance.uniform(2, 10)


def level_shift(values: Floats, rows: slice, chance: np.random.Generator) -> None:
    """From now on 1 to 4 °C off."""
    values[rows] += chance.choice((-1, 1)) * chance.uniform(1, 4)


def drift(values: Floats, rows: slice, chance: np.random.Generator) -> None:
    """Off by 0.3 to 1 °C more each day."""
    slope = chance.choice((-1, 1)) * chance.uniform(0.3, 1) / DAY_READINGS
    values[rows] += slope * np.arange(rows.stop - rows.start)


def stuck(values: Floats, rows: slice, _chance: np.random.Generator) -> None:
    """The value before, again and again."""
    values[rows] = values[rows.start - 1]


def noise(values: Floats, rows: slice, chance: np.random.Generator) -> None:
    """Noise of four to eight times the strength (the simulator's is 0.05 °C)."""
    strength = 0.05 * chance.uniform(4, 8)
    values[rows] += chance.normal(0, strength, rows.stop - rows.start)


def silence(values: Floats, rows: slice, _chance: np.random.Generator) -> None:
    """No readings; NaN here, left out afterwards."""
    values[rows] = np.nan


# With how many days each lasts.
FAULTS = {
    "spike": (spike, 1 / DAY_READINGS),
    "level_shift": (level_shift, 3.0),
    "drift": (drift, 7.0),
    "stuck": (stuck, 0.5),
    "noise_change": (noise, 1.0),
    "silence": (silence, 0.25),
}


def faulty(per_kind: int, days: int, seed: int) -> list[Faulty]:
    """Return so many devices with each fault, at a random time in the second half of the days."""
    chance = np.random.default_rng(seed)
    seconds, quantities = clean(per_kind * len(FAULTS), days, seed)
    devices = []
    for row, values in enumerate(quantities["temperature"]):
        kind = list(FAULTS)[row % len(FAULTS)]
        inject, lasts = FAULTS[kind]
        length = max(1, round(lasts * DAY_READINGS))
        begin = int(chance.integers(days * DAY_READINGS // 2, days * DAY_READINGS - length))
        inject(values, slice(begin, begin + length), chance)
        values = values.round(2)  # noqa: PLW2901 - as the simulator sends it
        there = np.isfinite(values)
        ends = float(seconds[begin] + length * INTERVAL_SECONDS)
        devices.append(Faulty(kind, seconds[there], values[there], float(seconds[begin]), ends))
    return devices
