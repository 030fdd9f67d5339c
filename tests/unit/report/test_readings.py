"""Gaps and rooms, by cases that people would agree on."""

import pytest

from report.readings import gaps, held, means


@pytest.mark.parametrize(
    ("numbers", "sent_before", "expected"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], True, []),
        # Up to two intervals left out are none yet.
        ([0, 1, 2, 5, 6, 7, 8, 9], True, []),
        ([0, 1, 2, 6, 7, 8, 9], True, [(3, 5)]),
        ([0, 1, 2, 3], True, [(4, 9)]),
        ([4, 5, 6, 7, 8, 9], True, [(0, 3)]),
        # A device that is new has no gap before its first reading.
        ([4, 5, 6, 7, 8, 9], False, []),
        ([], True, [(0, 9)]),
    ],
)
def test_gaps(numbers: list[int], sent_before: bool, expected: list[tuple[int, int]]) -> None:  # noqa: FBT001
    assert gaps(numbers, 10, sent_before=sent_before) == expected


def test_a_device_that_sends_seldom_has_longer_gaps() -> None:
    seldom = [*range(0, 50, 10), *range(90, 150, 10)]
    assert gaps(seldom, 155, sent_before=False) == [(41, 89)]


def test_a_room_s_mean_is_of_what_its_devices_said_last() -> None:
    one = held([(0, 20.0, 40.0), (1, 20.0, 40.0), (2, 20.0, 40.0)], [], 3)
    seldom = held([(0, 24.0, None), (2, 26.0, None)], [], 3)
    assert means([one, seldom]) == [(0, 22.0, 40.0), (1, 22.0, 40.0), (2, 23.0, 40.0)]


def test_a_device_that_is_away_says_nothing() -> None:
    assert held([(0, 20.0, 40.0), (4, 21.0, 41.0)], [(1, 3)], 6) == [
        (0, 20.0, 40.0),
        (4, 21.0, 41.0),
        (5, 21.0, 41.0),
    ]
