"""Latencies as a histogram that can be merged and keeps every percentile to within 1 %."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

# Follows DDSketch (Masson, Rim and Lee, PVLDB 12, 2019). The published packages take one value
# at a time; here whole columns are counted at once. latency_bucket_ms() in SQL is its other half.
GAMMA = 1.02


@dataclass
class Histogram:
    """Counts of latencies in buckets whose width grows with the latency.

    A latency of x >= 1 µs is in bucket 1 + ceil(ln(x) / ln(GAMMA)), one below zero in the bucket
    of the opposite sign, zero in bucket 0. All figures are in microseconds.
    """

    buckets: dict[int, int] = field(default_factory=dict)
    total: int = 0
    least: int | None = None
    greatest: int | None = None
    negative: int = 0

    @classmethod
    def of(cls, micros: npt.NDArray[np.int64]) -> Self:
        """Count a column of latencies in µs."""
        if not len(micros):
            return cls()
        sizes = np.maximum(np.abs(micros), 1)
        steps = 1 + np.ceil(np.log(sizes) / math.log(GAMMA))
        indexes, counts = np.unique((np.sign(micros) * steps).astype(np.int64), return_counts=True)
        return cls(
            buckets=dict(zip(indexes.tolist(), counts.tolist(), strict=True)),
            total=int(micros.sum()),
            least=int(micros.min()),
            greatest=int(micros.max()),
            negative=int((micros < 0).sum()),
        )

    @property
    def samples(self) -> int:
        """How many latencies were counted."""
        return sum(self.buckets.values())

    def add(self, other: "Histogram") -> None:
        """Take in what another histogram counted."""
        for index, count in other.buckets.items():
            self.buckets[index] = self.buckets.get(index, 0) + count
        self.total += other.total
        self.negative += other.negative
        self.least = min((x for x in (self.least, other.least) if x is not None), default=None)
        self.greatest = max(
            (x for x in (self.greatest, other.greatest) if x is not None), default=None
        )

    def percentile(self, share: float) -> float:
        """Return the smallest latency in µs, within 1 %, with that share of samples up to it.

        Raises:
            ValueError: nothing was counted.
        """
        if self.least is None or self.greatest is None:
            message = "an empty histogram has no percentiles"
            raise ValueError(message)
        rank = max(math.ceil(share * self.samples), 1)
        up_to = 0
        value = 0.0
        for index in sorted(self.buckets):
            up_to += self.buckets[index]
            if up_to >= rank:
                value = math.copysign(2 * GAMMA ** (abs(index) - 1) / (GAMMA + 1), index)
                value = value if index else 0.0
                break
        return min(max(value, self.least), self.greatest)

    def to_dict(self) -> dict[str, object]:
        """Return it as plain values for JSON."""
        return {
            "indexes": list(self.buckets),
            "counts": list(self.buckets.values()),
            "total": self.total,
            "least": self.least,
            "greatest": self.greatest,
            "negative": self.negative,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """Rebuild what `to_dict` returned."""
        plain = dict(values)
        buckets = dict(zip(plain.pop("indexes"), plain.pop("counts"), strict=True))  # type: ignore[call-overload]
        return cls(buckets=buckets, **plain)  # type: ignore[arg-type]
