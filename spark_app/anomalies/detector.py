"""The detector: one small state per series, many series in step.

A *series* is one quantity of one device. For each reading the detector asks in several ways
(CHANNELS) how rare it is for this series: each answer is a surprise, -ln of a tail probability that
the series itself has taught. The sum is judged by its own tail in turn, so that a series that is
often strange is believed less; that makes one threshold serve all series. After an alarm a series
has to be stranger still, for a while, to alarm again.

What a reading's kind of anomaly is, plainer rules say (KINDS): a run of readings on one side of
what was expected, a value that no longer changes, noise that grew or went.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spark_app.anomalies.tails import (
    exponential_surprise,
    follow_quantile,
    learn_exponential,
    learn_power,
    power_surprise,
)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# Raised when the state's layout or meaning changes; states of another version are learnt anew.
VERSION = 2

CHANNELS = ("step", "value", "season", "season_fast", "season_slow", "noise_fast", "noise_slow")
_SIDES = 2 * len(CHANNELS)  # first all upper tails, then all lower ones

KINDS = ("outlier", "level_shift", "drift", "stuck", "noise_change")

# Power of a surprise in the sum: above 1, one channel's great surprise counts more than several
# small ones that add up to it.
_ONE_COUNTS = 1.5
# A shift of which this share was there before the run has crept in: a drift.
_CREPT = 0.3
# Alarms from this strength on are told, for series with a lower threshold than 1, which is usual.
# Only outliers are weaker than 1.
_LEAST_STRENGTH = 0.5
# A run ends when a reading is nearer than this, in margins.
_STAYS = 0.5
# A change beyond so many times the usual one is a jump, not noise.
_NOISE_CUT = 6.0

_HOURS = 24
_DAY_SECONDS = 86_400.0

STATE = np.dtype(
    [
        ("count", "f8"),  # readings seen
        ("first_seconds", "f8"),
        ("seconds", "f8"),  # of the newest reading, since 1970
        ("interval", "f8"),  # mean time between readings, s
        ("pause", "f8"),  # longest time between readings, slowly forgotten, s
        ("value", "f8"),
        ("mean", "f8"),
        ("noise", "f8"),  # mean of |value - value before|
        ("noise_fast", "f8"),
        ("noise_slow", "f8"),
        ("noise_cut", "f8"),  # the same without jumps
        ("season_fast", "f8"),
        ("season_slow", "f8"),
        ("profile", "f8", (_HOURS,)),  # mean of each hour of the day, UTC
        ("profile_count", "f4", (_HOURS,)),
        ("season_since", "f8"),  # readings seen when the profile first knew all hours; 0: not yet
        ("usual", "f8"),  # distance from what is expected that one reading in ten exceeds
        ("threshold", "f8", (_SIDES,)),
        ("index", "f8", (_SIDES,)),
        ("score_threshold", "f8"),
        ("score_mean", "f8"),
        ("peak", "f8"),  # of the score, forgotten within PEAK_READINGS
        ("run", "f4"),  # readings in a row far from what was expected; negative: below it
        ("before_run", "f8"),  # season_slow when the run began, in margins
        ("noise_run", "f4"),
        ("same_run", "f4"),  # readings in a row with one value
        ("same_told", "f4"),  # strength at which the run was told last; 0: not yet
        ("same_longest", "f4"),
        ("same_share", "f4"),
    ]
)


@dataclass(frozen=True)
class Tuning:
    """What the detector is set to; the same for every series.

    Attributes:
        fast, slow: weights of a reading in the moving means of a few and of some dozen readings.
        mean_readings, mean_seconds: memory of the mean and the noise, whichever is longer.
        tail_readings, tail_seconds: the same for the tails.
        profile_share: how far an hour's mean moves in an hour to what is measured.
        quiet_readings: at the beginning a score is 0 for so many.
        peak_readings: after an alarm the bar sinks to 1/e of it in so many.
        learning_seconds, learning_readings: no alarms before a series is that old.
        outlier_score, outlier_distance: an outlier has that score, or is so many margins off.
        far: the margin, in distances from the expected value that one reading in ten exceeds; a
            run begins with a reading beyond it.
        run_readings: length of a run that is a level shift or a drift.
        noise_factor, noise_readings: noise that is stronger or weaker by that factor, so long.
        stuck_surprise, stuck_readings: least surprise and least length of a run of one value.
    """

    fast: float = 0.1
    slow: float = 0.03
    mean_readings: float = 500.0
    mean_seconds: float = _DAY_SECONDS
    tail_readings: float = 4000.0
    tail_seconds: float = 3 * _DAY_SECONDS
    profile_share: float = 0.25
    quiet_readings: int = 60
    peak_readings: float = 150.0
    learning_seconds: float = 3 * _DAY_SECONDS
    learning_readings: int = 300
    outlier_score: float = 8.0
    outlier_distance: float = 5.0
    far: float = 3.2
    run_readings: int = 12
    noise_factor: float = 2.0
    noise_readings: int = 40
    stuck_surprise: float = 16.0
    stuck_readings: int = 12


class Verdict(NamedTuple):
    """What is said of one reading of each series; arrays of shape (series,).

    Attributes:
        score: how strange; 0 for most, comparable between series.
        expected: what the value was expected to be.
        margin: how far from it a value may lie without being far.
        alarms: shape (series, kinds), in the order of KINDS: strength in thresholds where an alarm
            begins (below 1: none, unless the series has a lower threshold), else 0. A value that
            stays stuck is told again, stronger, each time that it has been so for twice as long.
    """

    score: Floats
    expected: Floats
    margin: Floats
    alarms: Floats


def new_states(series: int) -> npt.NDArray[np.void]:
    """Return states that have seen nothing."""
    states = np.zeros(series, STATE)
    states["index"] = 0.3
    states["score_mean"] = 4.0
    return states


class Detector:
    """Observes series in step: a reading of each, then the next of each."""

    def __init__(self, states: npt.NDArray[np.void], tuning: Tuning | None = None) -> None:
        """Take over states, shape (series,); `states` returns them with what was learnt since."""
        self._tuning = tuning or Tuning()
        # Columns: a field of a structured array has its elements a whole state apart.
        self._columns = {name: np.ascontiguousarray(states[name]) for name in STATE.names or ()}

    @property
    def states(self) -> npt.NDArray[np.void]:
        """A copy of the states now."""
        states = np.empty(len(self._columns["count"]), STATE)
        for name, column in self._columns.items():
            states[name] = column
        return states

    def observe(self, seconds: Floats, values: Floats) -> Verdict:
        """Judge and learn a reading of each of the first `len(values)` series.

        Args:
            seconds: since 1970, not before the same series' reading before.
            values: finite.
        """
        s = {name: column[: len(values)] for name, column in self._columns.items()}
        new = s["count"] == 0
        for name, column in (("first_seconds", seconds), ("seconds", seconds)):
            s[name][new] = column[new]
        for name in ("value", "mean"):
            s[name][new] = values[new]
        tuning = self._tuning
        elapsed = np.clip(seconds - s["seconds"], 0, _DAY_SECONDS)
        _learn_rhythm(s, elapsed)
        memory = _memory(s, tuning.mean_readings, tuning.mean_seconds)
        tail_memory = _memory(s, tuning.tail_readings, tuning.tail_seconds)

        change = values - s["value"]
        expected = _expected(s, seconds)
        residual = values - expected
        before = s["season_slow"].copy()
        s["season_fast"] += tuning.fast * (residual - s["season_fast"])
        s["season_slow"] += tuning.slow * (residual - s["season_slow"])
        s["noise_fast"] += tuning.fast * (abs(change) - s["noise_fast"])
        s["noise_slow"] += tuning.slow * (abs(change) - s["noise_slow"])
        noise = np.log(np.maximum(s["noise"], 1e-9))
        # In the order of CHANNELS.
        deviations = (
            change,
            values - s["mean"],
            residual,
            s["season_fast"],
            s["season_slow"],
            np.log(np.maximum(s["noise_fast"], 1e-9)) - noise,
            np.log(np.maximum(s["noise_slow"], 1e-9)) - noise,
        )
        surprise = self._surprise(s, np.stack(deviations, 1), tail_memory)
        score = self._score(s, (surprise**_ONE_COUNTS).sum(1), tail_memory)
        margin = tuning.far * np.maximum(s["usual"], 1e-9)
        # What is expected changes when the profile is whole: what is usual is then learnt anew.
        since = s["count"] - s["season_since"]
        distance = np.where(since < tuning.quiet_readings, 0.0, residual / margin)
        follow_quantile(abs(residual), s["usual"], since, tail_memory)
        alarms = self._alarms(s, seconds, distance, before / margin, score, change)
        self._learn(s, seconds, values, change, memory, elapsed)
        return Verdict(score, expected, margin, alarms)

    def _surprise(self, s: dict[str, Floats], deviations: Floats, memory: Floats) -> Floats:
        """Return each channel's surprise, shape (series, channels), and learn its tails."""
        sides = np.concatenate([np.maximum(deviations, 0), np.maximum(-deviations, 0)], 1)
        surprise = power_surprise(sides, s["threshold"], s["index"])
        count = s["count"][:, None]
        learn_power(sides, s["threshold"], s["index"], count, memory[:, None])
        channels = len(CHANNELS)
        surprise = np.minimum(np.maximum(surprise[:, :channels], surprise[:, channels:]), 20)
        return np.where(count < self._tuning.quiet_readings, 0.0, surprise)

    def _score(self, s: dict[str, Floats], total: Floats, memory: Floats) -> Floats:
        quiet = self._tuning.quiet_readings
        count = np.maximum(s["count"] - quiet, 0)
        score = exponential_surprise(total, s["score_threshold"], s["score_mean"])
        score = np.where(s["count"] < quiet, 0.0, score)
        # Nothing is learnt in the quiet beginning: all surprises were 0.
        heard = s["count"] >= quiet
        threshold, mean = s["score_threshold"].copy(), s["score_mean"].copy()
        learn_exponential(total, threshold, mean, count, memory)
        s["score_threshold"][heard], s["score_mean"][heard] = threshold[heard], mean[heard]
        told = np.where(score > s["peak"], score, 0.0)
        s["peak"][...] = np.maximum(s["peak"], score) * np.exp(-1 / self._tuning.peak_readings)
        return told

    def _alarms(  # noqa: PLR0913, PLR0917 - what the rules look at
        self,
        s: dict[str, Floats],
        seconds: Floats,
        distance: Floats,
        before: Floats,
        score: Floats,
        change: Floats,
    ) -> Floats:
        """Return the strengths of alarms.

        Args:
            s: states.
            seconds: since 1970.
            distance: from what was expected, in margins.
            before: the same of the mean of some dozen readings before.
            score: of this reading.
            change: from the value before.
        """
        tuning = self._tuning
        stuck = self._stuck(s, change == 0)
        side = np.where(distance < 0, -1, 1)
        far = abs(distance) >= 1
        goes_on = (abs(distance) >= _STAYS) & (s["run"] * side > 0)
        begins = far & ~goes_on
        s["before_run"][begins] = before[begins]
        s["run"][...] = np.where(goes_on, s["run"] + side, np.where(far, side, 0))
        # A value that does not change is left behind by what is expected; stuck says it better.
        moving = s["same_run"] < tuning.stuck_readings / 2
        long_enough = (abs(s["run"]) == tuning.run_readings) & moving
        strength = np.where(long_enough, np.maximum(abs(distance), 1), 0)
        crept = s["before_run"] * side > _CREPT * abs(distance)
        # So far off is too far, however often this series is strange.
        sudden = np.where(begins, abs(distance), 0)
        noise = self._noise_change(s, moving)
        alarms = np.stack(
            [
                np.maximum(score / tuning.outlier_score, sudden / tuning.outlier_distance),
                np.where(crept, 0, strength),
                np.where(crept, strength, 0),
                stuck,
                noise,
            ],
            1,
        )
        age = seconds - s["first_seconds"]
        young = (age < tuning.learning_seconds) | (s["count"] < tuning.learning_readings)
        return np.where(young[:, None] | (alarms < _LEAST_STRENGTH), 0.0, alarms)

    def _stuck(self, s: dict[str, Floats], same: Bools) -> Floats:
        """Return the strength where a run of one value is too long, and twice as long as told."""
        # The length of a run has a geometric distribution if readings are independent; the longest
        # run so far speaks for series in which they are not.
        rarity = -np.log(np.clip(s["same_share"], 0.2, 0.999))
        least = np.maximum(self._tuning.stuck_surprise / rarity, 2 * s["same_longest"])
        least = np.ceil(np.maximum(least, self._tuning.stuck_readings))
        ended = np.where(same, 0, np.minimum(s["same_run"], least))
        s["same_longest"][...] = np.maximum(s["same_longest"] * (1 - 1e-4), ended)
        s["same_run"][...] = np.where(same, s["same_run"] + 1, 0)
        times = s["same_run"] / least
        told = np.where(same, s["same_told"], 0)
        tell = times >= np.maximum(1, 2 * told)
        s["same_told"][...] = np.where(tell, times, told)
        return np.where(tell, times, 0.0)

    def _noise_change(self, s: dict[str, Floats], moving: Bools) -> Floats:
        """Return the strength where the noise has just been strange for long enough."""
        factor = self._tuning.noise_factor
        ratio = np.maximum(s["noise_cut"], 1e-9) / np.maximum(s["noise"], 1e-9)
        times = np.maximum(ratio, 1 / ratio) / factor
        s["noise_run"][...] = np.where((times > 1) & moving, s["noise_run"] + 1, 0)
        return np.where(s["noise_run"] == self._tuning.noise_readings, times, 0.0)

    def _learn(  # noqa: PLR0913, PLR0917 - what is learnt from
        self,
        s: dict[str, Floats],
        seconds: Floats,
        values: Floats,
        change: Floats,
        memory: Floats,
        elapsed: Floats,
    ) -> None:
        weight = 1 / np.minimum(s["count"] + 1, memory)
        s["mean"] += weight * (values - s["mean"])
        jump = abs(change)
        cut = np.minimum(jump, _NOISE_CUT * np.where(s["count"] > 1, s["noise"], jump))
        s["noise_cut"] += 0.05 * (cut - s["noise_cut"])
        s["noise"] += weight * (jump - s["noise"])
        s["same_share"] += weight * ((change == 0) - s["same_share"])
        hour = (seconds // 3600 % _HOURS).astype(np.int64)
        rows = np.arange(len(values))
        seen = s["profile_count"][rows, hour]
        share = 1 - (1 - self._tuning.profile_share) ** (np.maximum(elapsed, 1) / 3600)
        mean = s["profile"][rows, hour]
        s["profile"][rows, hour] = mean + np.maximum(1 / (seen + 1), share) * (values - mean)
        s["profile_count"][rows, hour] = np.minimum(seen + 1, 1e6)
        s["count"] += 1
        whole = (s["season_since"] == 0) & (s["profile_count"].min(1) > 0)
        s["season_since"][whole] = s["count"][whole]
        s["seconds"][...] = seconds
        s["value"][...] = values


def _memory(s: dict[str, Floats], readings: float, seconds: float) -> Floats:
    """Return a memory in readings that is no shorter than so many and than so long a time."""
    return np.asarray(np.maximum(readings, seconds / np.maximum(s["interval"], 1e-3)))


def _learn_rhythm(s: dict[str, Floats], elapsed: Floats) -> None:
    heard = s["count"] > 0
    weight = 1 / np.clip(s["count"], 1, 200)
    s["interval"] += np.where(heard, weight * (elapsed - s["interval"]), 0.0)
    s["pause"][...] = np.maximum(s["pause"] * (1 - 1e-3), elapsed)


def _expected(s: dict[str, Floats], seconds: Floats) -> Floats:
    """Return what the time of day makes us expect, between the means of two hours."""
    position = seconds / 3600 % _HOURS - 0.5
    hour = np.floor(position).astype(np.int64)
    rows = np.arange(len(seconds))
    before, after = hour % _HOURS, (hour + 1) % _HOURS
    known = (s["profile_count"][rows, before] > 0) & (s["profile_count"][rows, after] > 0)
    share = position - hour
    season = (1 - share) * s["profile"][rows, before] + share * s["profile"][rows, after]
    return np.where(known, season, s["mean"])
