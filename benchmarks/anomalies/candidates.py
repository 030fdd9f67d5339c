"""Other detectors, each from a series to one anomaly score a row, with one setting for all series.

What each row is judged by is known by then: no row of the future is looked at.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from spark_app.anomalies.corpus import Series

Floats = npt.NDArray[np.float64]

_WINDOW = 32  # readings in a subsequence


def windowed_gaussian(series: Series) -> Floats:
    """NAB's simple baseline: the Gaussian tail of a value, by up to 6400 values before it."""
    values = series.values
    sums = np.concatenate([[0.0], np.cumsum(values)])
    squares = np.concatenate([[0.0], np.cumsum(values**2)])
    ends = np.arange(1, len(values))
    begins = np.maximum(ends - 6400, 0)
    count = ends - begins
    mean = (sums[ends] - sums[begins]) / count
    spread = np.sqrt(np.maximum((squares[ends] - squares[begins]) / count - mean**2, 1e-12))
    tail = [math.erfc(abs(z) / math.sqrt(2)) / 2 for z in (values[1:] - mean) / spread]
    return np.concatenate([[0.0], 1 - np.array(tail)])


def spectral_residual(series: Series) -> Floats:
    """Saliency of the newest value in the 64 before: Ren et al. 2019, "Time-Series Anomaly
    Detection Service at Microsoft" (KDD), section 3.1, with the value repeated where the future
    would be.
    """  # noqa: D205
    length, repeated, average = 64, 5, 3
    values = np.concatenate([np.full(length - 1, series.values[0]), series.values])
    windows = np.lib.stride_tricks.sliding_window_view(values, length)
    windows = np.concatenate([windows, np.repeat(windows[:, -1:], repeated, 1)], 1)
    spectrum = np.fft.fft(windows, axis=1)
    log = np.log(np.abs(spectrum) + 1e-8)
    kernel = np.ones(average) / average
    smooth = np.apply_along_axis(np.convolve, 1, log, kernel, "same")
    saliency = np.abs(np.fft.ifft(np.exp(log - smooth + 1j * np.angle(spectrum)), axis=1))
    newest = saliency[:, length - 1]
    usual = saliency[:, : length - 1].mean(1)
    return np.asarray((newest - usual) / np.maximum(usual, 1e-12))


def sub_pca(series: Series) -> Floats:
    """Distance of the newest subsequence from the plane of the principal ones of the probation."""
    windows = np.lib.stride_tricks.sliding_window_view(series.values, _WINDOW)
    train = windows[: max(series.probation - _WINDOW + 1, 2)]
    mean, spread = train.mean(0), train.std() + 1e-9
    scaled = (windows - mean) / spread
    _, weights, axes = np.linalg.svd(scaled[: len(train)], full_matrices=False)
    share = np.cumsum(weights**2) / max((weights**2).sum(), 1e-12)
    plane = axes[: int(np.searchsorted(share, 0.9)) + 1]
    distance = np.linalg.norm(scaled - scaled @ plane.T @ plane, axis=1)
    return np.concatenate([np.zeros(_WINDOW - 1), distance])


def half_space_trees(series: Series) -> Floats:
    """River's, over the value and its change; scaled by what was seen."""
    from river import anomaly, compose, preprocessing  # noqa: PLC0415 - not everyone's

    model = compose.Pipeline(
        preprocessing.MinMaxScaler(),
        anomaly.HalfSpaceTrees(n_trees=10, height=8, window_size=250, seed=1),
    )
    scores, before = [], float(series.values[0])
    for value in series.values.tolist():
        row = {"value": value, "change": value - before}
        scores.append(model.score_one(row))
        model.learn_one(row)
        before = value
    return np.array(scores)


def matrix_profile(series: Series) -> Floats:
    """Distance of the newest subsequence from its nearest in the past: stumpy's left profile."""
    import stumpy  # noqa: PLC0415 - not everyone's

    begin = max(series.probation, 2 * _WINDOW)
    # A little noise: constant subsequences have no z-norm.
    chance = np.random.default_rng(0)
    values = series.values + chance.normal(
        0, 1e-6 * (series.values.std() + 1e-9), len(series.values)
    )
    profile = stumpy.stumpi(values[:begin], m=_WINDOW, egress=False)
    for value in values[begin:]:
        profile.update(value)
    left = np.nan_to_num(np.asarray(profile.left_P_, dtype=np.float64), posinf=0.0)
    return np.concatenate([np.zeros(len(values) - len(left)), left])


# With the module that is needed.
CANDIDATES: dict[str, tuple[Callable[[Series], Floats], str]] = {
    "windowed Gaussian": (windowed_gaussian, "numpy"),
    "spectral residual": (spectral_residual, "numpy"),
    "sub-PCA": (sub_pca, "numpy"),
    "half-space trees (river)": (half_space_trees, "river"),
    "matrix profile (stumpy)": (matrix_profile, "stumpy"),
}
