"""Recorded rooms: are the moments at which something happened found?"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from simulator.replay import read_files
from spark_app.anomalies.detector import KINDS, Tuning
from spark_app.anomalies.lockstep import judge_whole

Floats = npt.NDArray[np.float64]

# A recording lasts some hours: the detector has to alarm after minutes instead of days.
TUNING = Tuning(learning_seconds=1200.0, learning_readings=200, outlier_score=math.inf)

# What may tell of an event: an alarm so long after it.
_WITHIN_SECONDS = 900.0

TRUTHS = ("window", "door", "occupants")


@dataclass(frozen=True)
class Room:
    """One recording.

    Attributes:
        name: of its file.
        series: seconds and values by node and quantity, as in `node1 temperature`.
        alarms: seconds of the alarms of a level shift or drift, likewise.
        events: by truth, the seconds at which it changed between none and some.
    """

    name: str
    series: dict[str, tuple[Floats, Floats]]
    alarms: dict[str, Floats]
    events: dict[str, Floats]


def read_rooms(folder: Path) -> list[Room]:
    """Judge each recording of a folder by itself."""
    return [_room(path) for path in sorted(folder.glob("*.csv"))]


def precision_and_recall(rooms: list[Room], truth: str) -> dict[str, float | int | None]:
    """Return how many alarms tell of an event, and how many events are told; all series of a room
    count as one, since what happens in a room happens to all its nodes. Null: nothing to divide by.
    """  # noqa: D205
    alarms = right = events = told = 0
    for room in rooms:
        moments = np.sort(np.concatenate([np.empty(0), *room.alarms.values()]))
        # Those of several nodes and quantities within the time that is allowed are one.
        groups = moments[np.diff(moments, prepend=-np.inf) > _WITHIN_SECONDS / 3]
        happened = room.events[truth]
        waits = groups[:, None] - happened[None, :]
        hits = (waits >= 0) & (waits <= _WITHIN_SECONDS)
        alarms += len(groups)
        right += int(hits.any(1).sum())
        events += len(happened)
        told += int(hits.any(0).sum())
    return {
        "events": events,
        "found": told,
        "alarms": alarms,
        "precision": right / alarms if alarms and events else None,
        "recall": told / events if events else None,
    }


def _room(path: Path) -> Room:
    (recording,) = read_files([path])
    series: dict[str, tuple[Floats, Floats]] = {}
    nodes = sorted({reading.device_id for reading in recording.readings})
    for node in nodes:
        rows = [reading for reading in recording.readings if reading.device_id == node]
        seconds = np.array([row.ts.timestamp() if row.ts else 0.0 for row in rows])
        for quantity in ("temperature", "humidity"):
            values = np.array([getattr(row, quantity) for row in rows], np.float64)
            series[f"{node.rsplit('-', 1)[-1]} {quantity}"] = seconds, values
    shifts = [KINDS.index("level_shift"), KINDS.index("drift")]
    verdicts = judge_whole(list(series.values()), TUNING)
    alarms = {
        name: seconds[verdict.alarms[:, shifts].any(1)]
        for (name, (seconds, _)), verdict in zip(series.items(), verdicts, strict=True)
    }
    times = np.array([row.ts.timestamp() if row.ts else 0.0 for row in recording.readings])
    events = {}
    for truth in TRUTHS:
        present = np.array([(row.measurements or {})[truth] > 0 for row in recording.readings])
        events[truth] = times[np.flatnonzero(np.diff(present.astype(int), prepend=present[0]))]
    return Room(path.stem, series, alarms, events)
