"""What the page shows of readings: rooms, their means, and the gaps of each device."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from statistics import median
from typing import Any

# An interval: its number, mean temperature in °C and mean relative humidity in %.
Point = tuple[int, float | None, float | None]
# A silence that is this many times as long as a device's usual distance is a gap.
LONG = 3


def gaps(numbers: list[int], count: int, *, sent_before: bool) -> list[tuple[int, int]]:
    """The intervals in which a device should have sent and did not.

    Args:
        numbers: intervals with readings, ascending.
        count: of all intervals, from 0 on.
        sent_before: whether silence at the begin counts.

    Returns:
        First and last number of each gap, both included.
    """
    usual = median([after - before for before, after in pairwise(numbers)] or [1])
    ends = [*([-1] if sent_before else []), *numbers, count]
    return [
        (before + 1, after - 1) for before, after in pairwise(ends) if after - before > LONG * usual
    ]


def held(points: list[Point], silent: list[tuple[int, int]], count: int) -> list[Point]:
    """A device's newest values in each interval, but not in its gaps."""
    there = {point[0]: point for point in points}
    away = {number for first, last in silent for number in range(first, last + 1)}
    line: list[Point] = []
    for number in range(min(there, default=count), count):
        if number not in away:
            line.append(there.get(number) or (number, *line[-1][1:]))
    return line


def means(lines: list[list[Point]]) -> list[Point]:
    """The mean of several devices in each interval; each device counts the same."""
    by_number: dict[int, list[Point]] = defaultdict(list)
    for line in lines:
        for point in line:
            by_number[point[0]].append(point)
    return [
        (number, mean([point[1] for point in points]), mean([point[2] for point in points]))
        for number, points in sorted(by_number.items())
    ]


def mean(values: list[float | None]) -> float | None:
    """The mean of those that are there."""
    there = [value for value in values if value is not None]
    return round(sum(there) / len(there), 2) if there else None


def rooms(document: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Each room with its devices' lines; those with the most to look at come first."""
    marks = defaultdict(list)
    for anomaly in document["anomalies"]:
        marks[anomaly["device"]].append(anomaly)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for device in document["devices"]:
        place = (device["site"] or "—", device["room"] or "—")
        room = found.setdefault(place, {"title": " / ".join(place), "devices": [], "marks": []})
        numbers = [point[0] for point in device["points"]]
        silent = gaps(numbers, count, sent_before=device["sent_before"])
        room["devices"].append({"name": device["device"], "points": device["points"]})
        room["devices"][-1]["gaps"] = silent
        device["gaps"] = len(silent)
        room["marks"] += marks[device["device"]]
    for room in found.values():
        lines = [held(d["points"], d["gaps"], count) for d in room["devices"]]
        room["mean"] = means(lines) if len(lines) > 1 else []
        room["gaps"] = sum(len(device["gaps"]) for device in room["devices"])
    return sorted(found.values(), key=lambda r: (-len(r["marks"]), -r["gaps"], r["title"]))
