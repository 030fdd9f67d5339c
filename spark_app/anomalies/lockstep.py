"""Readings of many series in one batch, put in step for the detector."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spark_app.anomalies.detector import KINDS, Detector, Tuning, Verdict, new_states

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """What the detector said of a batch; arrays in the order in which the readings were given.

    Attributes:
        states: of the series, after the batch.
        verdict: arrays of shape (readings,), alarms of shape (readings, kinds).
    """

    states: npt.NDArray[np.void]
    verdict: Verdict


def judge(
    states: npt.NDArray[np.void],
    series: npt.NDArray[np.int64],
    seconds: Floats,
    values: Floats,
    tuning: Tuning | None = None,
) -> Judged:
    """Judge a batch; the work is done in as many steps as the busiest series has readings.

    Args:
        states: one for each series.
        series: number of each reading's series in `states`.
        seconds: since 1970; of one series never falling.
        values: finite.
        tuning: of the detector.
    """
    counts = np.bincount(series, minlength=len(states))
    # The busiest first: those that still have a reading in a step are then always the first ones.
    places = np.argsort(-counts, kind="stable")
    rank = np.empty(len(states), np.int64)
    rank[places] = np.arange(len(states))
    # Step of a reading: how many of its series came before it.
    grouped = np.argsort(series, kind="stable")
    begins = np.cumsum(counts) - counts
    step = np.empty(len(series), np.int64)
    step[grouped] = np.arange(len(series)) - np.repeat(begins, counts)
    order = np.lexsort((rank[series], step))
    ends: list[int] = np.cumsum(np.bincount(step)).tolist() if len(series) else []

    detector = Detector(states[places], tuning)
    score, expected, margin = (np.zeros(len(series)) for _ in range(3))
    verdict = Verdict(score, expected, margin, np.zeros((len(series), len(KINDS))))
    begin = 0
    for end in ends:
        rows = order[begin:end]
        for whole, part in zip(verdict, detector.observe(seconds[rows], values[rows]), strict=True):
            whole[rows] = part
        begin = end
    after = np.empty_like(states)
    after[places] = detector.states
    return Judged(after, verdict)


def judge_whole(
    series: Sequence[tuple[Floats, Floats]], tuning: Tuning | None = None
) -> list[Verdict]:
    """Judge whole recorded series, each (seconds, values), that the detector has never seen."""
    lengths = [len(values) for _, values in series]
    numbers = np.repeat(np.arange(len(series)), lengths)
    seconds = np.concatenate([seconds for seconds, _ in series])
    values = np.concatenate([values for _, values in series])
    verdict = judge(new_states(len(series)), numbers, seconds, values, tuning).verdict
    ends = np.cumsum(lengths)[:-1]
    return [
        Verdict(*parts) for parts in zip(*(np.split(part, ends) for part in verdict), strict=True)
    ]
