"""NAB's score of a detector on a corpus.

Written from the description in Lavin and Ahmad 2015, "Evaluating Real-time Anomaly Detection
Algorithms - the Numenta Anomaly Benchmark" (arXiv:1510.03336), section III, with the scaling and
the cut beyond three window lengths that NAB's issues 366 and 404 state for version 1.1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spark_app.anomalies.corpus import Series

Floats = npt.NDArray[np.float64]

# The standard profile. A true negative earns nothing.
_TRUE_POSITIVE, _FALSE_POSITIVE, _FALSE_NEGATIVE = 1.0, 0.11, 1.0

_FAR_PAST_WINDOW = 3.0  # in lengths of the window


@dataclass(frozen=True)
class Result:
    """What a detector reaches on a corpus with the threshold that is best for all of it.

    Attributes:
        score: 0 for a detector that finds nothing, 100 for a perfect one.
        threshold: rows that score at least this count as detections.
        files: by series: rows, windows, found, false_positives, score (not normalised).
    """

    score: float
    threshold: float
    files: dict[str, dict[str, float]]


def evaluate(
    corpus: Sequence[Series], scores: Sequence[Floats], threshold: float | None = None
) -> Result:
    """Score a detector by the standard profile.

    Args:
        corpus: at least one series with a window; else the score is NaN.
        scores: for each series an array of one anomaly score a row; higher is stranger.
        threshold: without one, the best is taken.
    """
    weights = [_weights(series) for series in corpus]
    if threshold is None:
        threshold = _best_threshold(corpus, scores, weights)
    files = {
        series.name: _detail(series, score, weight, threshold)
        for series, score, weight in zip(corpus, scores, weights, strict=True)
    }
    windows = sum(len(series.windows) for series in corpus)
    total = sum(detail["score"] for detail in files.values())
    null, perfect = -_FALSE_NEGATIVE * windows, _TRUE_POSITIVE * windows
    normalised = 100 * (total - null) / (perfect - null) if windows else math.nan
    return Result(normalised, threshold, files)


def _sigmoid(position: Floats) -> Floats:
    """Return 1 at a window's far left, 0 at its right end (position 0), -1 well behind it."""
    return np.asarray(2 / (1 + np.exp(5 * np.minimum(position, 20))) - 1)


def _weights(series: Series) -> Floats:
    """Return what a detection in each row is worth; in a window only the best of them counts."""
    rows = np.arange(len(series.values))
    weights = np.full(len(rows), -_FALSE_POSITIVE)
    for first, last in series.windows:
        length = last - first + 1
        past = (rows - last) / max(length - 1, 1)
        behind = rows > last
        worth = np.where(past > _FAR_PAST_WINDOW, -1.0, _sigmoid(past))
        weights[behind] = _FALSE_POSITIVE * worth[behind]
    for first, last in series.windows:
        inside = rows[first : last + 1]
        earned = _sigmoid((inside - last - 1) / (last - first + 1)) / _sigmoid(np.array(-1.0))
        weights[first : last + 1] = _TRUE_POSITIVE * earned
    return weights


def _inside(series: Series) -> npt.NDArray[np.int64]:
    """Return the number of each row's window; -1 outside, -2 in the probation."""
    window = np.full(len(series.values), -1)
    for number, (first, last) in enumerate(series.windows):
        window[first : last + 1] = number
    window[: series.probation] = -2
    return window


def _best_threshold(
    corpus: Sequence[Series], scores: Sequence[Floats], weights: Sequence[Floats]
) -> float:
    """Return the threshold with the highest total; one above all scores is among the candidates."""
    values, gains = [], []
    for series, score, weight in zip(corpus, scores, weights, strict=True):
        window = _inside(series)
        outside = window == -1
        values.append(score[outside])
        gains.append(weight[outside])
        for number in range(len(series.windows)):
            rows = np.flatnonzero(window == number)
            # As the threshold sinks, a window earns what the best row at or above it is worth.
            order = rows[np.lexsort((-weight[rows], -score[rows]))]
            best = np.maximum.accumulate(weight[order])
            values.append(score[order])
            gains.append(np.diff(best, prepend=-_FALSE_NEGATIVE))
    value, gain = np.concatenate(values), np.concatenate(gains)
    order = np.argsort(-value, kind="stable")
    total = np.cumsum(gain[order])
    value = value[order]
    last_of_equals = np.flatnonzero(np.append(value[1:] != value[:-1], True))
    best_end = last_of_equals[np.argmax(total[last_of_equals])]
    return float(value[best_end]) if total[best_end] > 0 else float(np.nextafter(value[0], np.inf))


def _detail(series: Series, score: Floats, weight: Floats, threshold: float) -> dict[str, float]:
    window = _inside(series)
    detected = score >= threshold
    earned = [
        float(weight[hits].max()) if (hits := detected & (window == number)).any() else None
        for number in range(len(series.windows))
    ]
    false = detected & (window == -1)
    return {
        "rows": len(score),
        "windows": len(series.windows),
        "found": sum(gain is not None for gain in earned),
        "false_positives": int(false.sum()),
        "score": sum(-_FALSE_NEGATIVE if gain is None else gain for gain in earned)
        + float(weight[false].sum()),
    }
