"""What was measured: figures with their spread, and the ratios that the bars name."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Figure:
    """One thing measured several times.

    Attributes:
        name: as in `bridge.messages_per_core_second`; the text before the first dot is its part.
        unit: of the values.
        values: one for each repeat, in order; none if it could not be measured.
        note: what a reader should know, or why there are no values.
    """

    name: str
    unit: str
    values: Sequence[float] = field(default_factory=list)
    note: str = ""

    @property
    def median(self) -> float:
        """Return the median; NaN without values."""
        return statistics.median(self.values) if self.values else math.nan

    def to_json(self) -> dict[str, object]:
        """Return what results/bench.json says of it."""
        if not self.values:
            return asdict(self)
        known = {"median": self.median, "low": min(self.values), "high": max(self.values)}
        return {**known, **asdict(self)}


@dataclass(frozen=True)
class Bar:
    """A ratio of two figures of one run, and where it must lie.

    Attributes:
        name: of the ratio.
        above, below: names of the two figures; `below` may be empty, then `above` itself counts.
        least, most: bounds of the ratio, whichever is given.
    """

    name: str
    above: str
    below: str = ""
    least: float | None = None
    most: float | None = None

    def judge(self, figures: dict[str, Figure]) -> dict[str, object] | None:
        """Return median and spread of the ratio and whether it holds; None without its figures."""
        above = figures.get(self.above, Figure("", ""))
        below = Figure("", "", [1.0] * len(above.values))
        if self.below:
            below = figures.get(self.below, Figure("", ""))
        ratios = ratio(above.values, below.values)
        if not ratios:
            return None
        value = statistics.median(ratios)
        holds = (self.least is None or value >= self.least) and (
            self.most is None or value <= self.most
        )
        spread = {"low": min(ratios), "high": max(ratios)}
        return {"ratio": value, **spread, "least": self.least, "most": self.most, "holds": holds}


def ratio(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the ratio of each repeat: both of a pair were measured close together."""
    return [a / b for a, b in zip(above, below, strict=False)]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent of all do not exceed (nearest rank).

    Raises:
        ValueError: there are no values.
    """
    if not values:
        message = "no values to take a percentile of"
        raise ValueError(message)
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]
