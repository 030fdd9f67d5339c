"""What needs no learning: values that cannot be, and devices that no longer send."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# What common air sensors can measure at all; as in spark_app.transforms.
LIMITS = {"temperature": (-40.0, 125.0), "humidity": (0.0, 100.0)}

# No air on earth was measured to hold more water: 35 °C, Dhahran 2003 (Burt 2004, "The Highest
# Dewpoint Temperatures", Weatherwise). Temperature and humidity that give more do not fit together.
_MOST_DEW_POINT = 35.0

# Pauses of a device, in the longest that it usually makes, and in seconds at least.
_SILENT_PAUSES = 4.0
_SILENT_SECONDS = 10.0
_SILENT_READINGS = 20  # a device's rhythm is known after so many


def outside_limits(quantity: npt.NDArray[np.object_], values: Floats) -> Bools:
    """Say which values their quantity cannot have; quantities without limits can have any."""
    bad = ~np.isfinite(values)
    for name, (least, most) in LIMITS.items():
        bad |= (quantity == name) & ((values < least) | (values > most))
    return bad


def too_damp(dew_point: Floats) -> Bools:
    """Say where temperature and humidity do not fit together; NaN, no dew point, does not count."""
    return dew_point > _MOST_DEW_POINT


def silence_limit(states: npt.NDArray[np.void]) -> Floats:
    """Return after how many seconds without a reading each series counts as silent."""
    usual = np.maximum(states["interval"], states["pause"])
    limit = np.maximum(_SILENT_PAUSES * usual, _SILENT_SECONDS)
    return np.where(states["count"] < _SILENT_READINGS, np.inf, limit)
