"""Waves, their order, and the name of a rollout."""

from pathlib import Path

import pytest

from tools.rollout import plan

SIZES = [1, "10%", "100%"]


@pytest.mark.parametrize(
    ("left", "passed", "expected"),
    [
        (100, 0, [1, 10, 89]),
        (6, 0, [1, 1, 4]),
        (1, 0, [1]),
        (0, 0, []),
        # The canary passed in an earlier run.
        (99, 1, [10, 89]),
        # The second wave was left in the middle.
        (95, 5, [6, 89]),
        (3, 3, [3]),
    ],
)
def test_waves(left: int, passed: int, expected: list[int]) -> None:
    assert plan.waves(SIZES, left, passed) == expected


def test_the_last_size_stands_for_all_further_waves() -> None:
    assert plan.waves([1, 2], 6, 0) == [1, 2, 2, 1]


def test_canaries_come_first() -> None:
    assert plan.order(["a", "b", "c", "d"], ["d", "b"]) == ["d", "b", "a", "c"]


def test_the_name_changes_with_the_inventory_and_with_nothing_else(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.yml"
    hosts.write_text("all: {}\n", encoding="utf-8")
    first = plan.name([str(tmp_path)])
    (tmp_path / "notes.md").write_text("nothing that is read\n", encoding="utf-8")
    assert plan.name([str(tmp_path)]) == first
    hosts.write_text("all: {hosts: {a: {}}}\n", encoding="utf-8")
    assert plan.name([str(tmp_path)]) != first
