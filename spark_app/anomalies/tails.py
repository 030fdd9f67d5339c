"""How rare is a value? Two numbers for a series' tail, kept up to date reading by reading.

A peaks-over-threshold estimate, as in Siffer et al. 2017, "Anomaly Detection in Streams with
Extreme Value Theory" (KDD), but without a stored sample: the threshold is a quantile that follows
the data by Robbins-Monro steps, the tail above it has one parameter. All arrays have one element
per tail.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_TINY = 1e-300
_BOOT_ROWS = 20  # the threshold begins as the mean of so many

POWER_SHARE = 0.1
_POWER_PRIOR_ROWS = 5.0
_POWER_LEAST = 0.05  # tail index: lighter tails are taken to be as heavy as this
_POWER_MOST_EXCESS = 5.0

EXPONENTIAL_SHARE = 0.02
_EXPONENTIAL_PRIOR_ROWS = 100.0
_EXPONENTIAL_MOST_EXCESS = 6.0


def power_surprise(value: Floats, threshold: Floats, index: Floats) -> Floats:
    """Return -ln of the share of the tail that lies beyond a value; 0 below the threshold.

    Above the threshold, which POWER_SHARE of the values exceed, the tail is taken to fall as a
    power of the value (Hill's estimator), so the unit does not matter.
    """
    excess = np.log(np.maximum(value, _TINY) / np.maximum(threshold, _TINY))
    return np.asarray(np.maximum(excess, 0) / np.maximum(index, _POWER_LEAST))


def learn_power(
    value: Floats, threshold: Floats, index: Floats, count: Floats, memory: Floats
) -> None:
    """Take values ≥ 0 into account, in place.

    Args:
        value: of this reading.
        threshold: changed.
        index: changed; the mean of ln(value / threshold) above the threshold.
        count: readings before this one.
        memory: readings after which an old one counts little.
    """
    seen = count + 1
    boot = count < _BOOT_ROWS
    excess = np.log(np.maximum(value, _TINY) / np.maximum(threshold, _TINY))
    above = excess > 0
    weight = 1 / np.minimum(_POWER_PRIOR_ROWS + POWER_SHARE * seen, memory * POWER_SHARE)
    index += np.where(above & ~boot, weight * (np.minimum(excess, _POWER_MOST_EXCESS) - index), 0.0)
    follow_quantile(value, threshold, count, memory)


def follow_quantile(value: Floats, threshold: Floats, count: Floats, memory: Floats) -> None:
    """Move the threshold that POWER_SHARE of the values exceed; arguments as in `learn_power`."""
    seen = count + 1
    step = 3 / np.minimum(seen, memory) * ((value > threshold) - POWER_SHARE)
    threshold[...] = np.where(
        count < _BOOT_ROWS,
        threshold + (value - threshold) / seen,
        np.maximum(threshold, 1e-12) * np.exp(step),
    )


def exponential_surprise(value: Floats, threshold: Floats, mean: Floats) -> Floats:
    """Return the same for a tail that falls exponentially: value in means above the threshold."""
    return np.asarray(np.maximum(value - threshold, 0) / mean)


def learn_exponential(
    value: Floats, threshold: Floats, mean: Floats, count: Floats, memory: Floats
) -> None:
    """Take values into account, in place; arguments as in `learn_power`.

    Outliers are cut, else one would make the next ones look common.
    """
    seen = count + 1
    excess = value - threshold
    above = excess > 0
    share = EXPONENTIAL_SHARE
    weight = 1 / np.minimum(_EXPONENTIAL_PRIOR_ROWS + share * seen, memory * share)
    step = 2 * mean / np.minimum(seen, memory) ** 0.7 * (above - share)
    cut = np.minimum(excess, _EXPONENTIAL_MOST_EXCESS * mean)
    mean += np.where(above, weight * (cut - mean), 0.0)
    threshold[...] = np.maximum(threshold + step, 0)
