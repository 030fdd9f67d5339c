"""Sets of whole numbers that mostly follow one another."""

from bisect import bisect_right
from collections.abc import Iterable

Range = tuple[int, int]


class Ranges:
    """A set of whole numbers as ranges with both ends included, in ascending order."""

    def __init__(self, ranges: Iterable[Range] = (), most: int | None = None) -> None:
        """Begin with ranges that neither touch nor overlap, in ascending order.

        Beyond `most` ranges the highest are forgotten.
        """
        self._most = most
        self._low: list[int] = []
        self._high: list[int] = []
        for low, high in ranges:
            self._low.append(low)
            self._high.append(high)

    def __contains__(self, number: int) -> bool:
        """Tell whether a number is in there."""
        if not self._high or number > self._high[-1]:  # as with nearly all
            return False
        place = bisect_right(self._low, number)
        return bool(place) and number <= self._high[place - 1]

    def add(self, number: int) -> None:
        """Add a number."""
        if self._high and number == self._high[-1] + 1:  # as with nearly all
            self._high[-1] = number
            return
        if number in self:
            return
        place = bisect_right(self._low, number)
        joins_lower = bool(place) and self._high[place - 1] == number - 1
        joins_upper = place < len(self._low) and self._low[place] == number + 1
        if joins_lower and joins_upper:
            self._high[place - 1] = self._high.pop(place)
            del self._low[place]
        elif joins_lower:
            self._high[place - 1] = number
        elif joins_upper:
            self._low[place] = number
        else:
            self._low.insert(place, number)
            self._high.insert(place, number)
            if self._most is not None:
                del self._low[self._most :], self._high[self._most :]

    def to_list(self) -> list[Range]:
        """Return the ranges."""
        return list(zip(self._low, self._high, strict=True))

    @property
    def lowest(self) -> int | None:
        """The lowest number; None if there is none."""
        return self._low[0] if self._low else None

    def gaps(self) -> list[Range]:
        """Return what is not in there between the lowest and the highest number."""
        return [(high + 1, low - 1) for high, low in zip(self._high, self._low[1:], strict=False)]


def common(one: Range, others: Iterable[Range]) -> list[Range]:
    """Return the parts of a range that are in others, which are in ascending order."""
    parts = [(max(one[0], low), min(one[1], high)) for low, high in others]
    return [(low, high) for low, high in parts if low <= high]


def without(one: Range, others: Iterable[Range]) -> list[Range]:
    """Return the parts of a range that are in none of the others, in ascending order."""
    parts = []
    low = one[0]
    for taken_low, taken_high in common(one, others):
        if low < taken_low:
            parts.append((low, taken_low - 1))
        low = taken_high + 1
    return [*parts, (low, one[1])] if low <= one[1] else parts
