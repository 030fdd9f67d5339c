"""Sets of whole numbers that mostly follow one another."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from telemetry.ranges import Ranges


@given(st.lists(st.integers(0, 60), max_size=80))
def test_ranges_are_a_set(numbers: list[int]) -> None:
    ranges, wanted = Ranges(), set[int]()
    for number in numbers:
        assert (number in ranges) is (number in wanted)
        ranges.add(number)
        wanted.add(number)
    found = ranges.to_list()
    assert {n for low, high in found for n in range(low, high + 1)} == wanted
    assert all(low <= high for low, high in found)
    assert all(high + 1 < low for (_, high), (low, _) in pairwise(found))
    assert Ranges(found).to_list() == found
    between = set(range(min(wanted), max(wanted))) - wanted if wanted else set()
    assert {n for low, high in ranges.gaps() for n in range(low, high + 1)} == between


def test_too_many_gaps_forget_the_highest() -> None:
    ranges = Ranges(most=64)
    for number in range(0, 1000, 2):
        ranges.add(number)
    found = ranges.to_list()
    assert len(found) == 64
    assert found[0] == (0, 0)
    assert 999 not in ranges
