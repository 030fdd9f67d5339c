"""docs/benchmarks/anomalies.md and its pictures, from a run's results."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("svg")
from matplotlib import pyplot as plt

from benchmarks.anomalies.rooms import TRUTHS, Room

PAGE = Path("docs/benchmarks/anomalies.md")
_PICTURE = "anomalies-room.svg"

# Scores of the whole benchmark, standard profile, as its authors publish them.
_PUBLISHED = {"windowed Gaussian": 39.6, "RCF": 51.7, "KNN-CAD": 58.0, "HTM": 70.5, "ARTime": 74.9}


def write(result: dict[str, Any], rooms: list[Room]) -> None:
    """Write the page; with rooms a picture of the one with the most events."""
    parts = [
        "# Anomaly detection\n",
        "Made by `make bench-anomalies`; the figures are in `results/anomalies.json`.\n",
        (
            f"Detector version {result['detector_version']}, {result['state_bytes']} bytes of "
            "state a series. One setting for all, but for the rooms' shorter time to learn.\n"
        ),
    ]
    if "nab" in result:
        parts.append(_nab(result["nab"]))
    parts += [_clean(result["clean"]), _faults(result["faults"]), _speed(result["speed"])]
    if rooms:
        parts.append(_rooms(result["rooms"], rooms))
        _draw(max(rooms, key=lambda room: len(room.events["occupants"])))
    PAGE.write_text("\n".join(parts), encoding="utf-8")


def _table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def _nab(nab: dict[str, Any]) -> str:
    rows = [
        (name, f"{row['score']:.1f}", f"{row['left_out']:.1f}", f"{row['cpu_us_per_point']:.0f}")
        for name, row in nab["detectors"].items()
    ]
    published = ", ".join(f"{name} {score}" for name, score in _PUBLISHED.items())
    return (
        f"## NAB, standard profile\n\n{nab['series']} of the 58 series, {nab['windows']} windows; "
        "*left out*: each series judged by the threshold that is best for the others. So few "
        "windows say little: one of them is worth 6 points. Published, for all 58 series: "
        f"{published}.\n\n" + _table(("detector", "score", "left out", "CPU µs a point"), rows)
    )


def _clean(clean: dict[str, Any]) -> str:
    kinds = ", ".join(f"{name} {count}" for name, count in clean["alarms"].items()) or "none"
    return (
        f"## Clean data\n\n{clean['devices']} simulated devices, temperature and humidity every 5 "
        f"minutes for {clean['days']} days: **{clean['per_device_and_week']:.3f} alarms per device "
        f"and week** ({kinds}).\n"
    )


def _faults(found: dict[str, Any]) -> str:
    rows: list[tuple[object, ...]] = []
    for kind, row in found["kinds"].items():
        delay = "" if row["median_delay_s"] is None else f"{row['median_delay_s'] / 60:.0f}"
        share = f"{row['found']} of {row['devices']}"
        rows.append((kind, share, row["named_rightly"], delay))
    head = ("fault", "found", "named rightly", "median delay, min")
    return (
        "## Injected faults\n\nSizes and lengths are in `benchmarks/anomalies/faults.py`; readings "
        f"come every 5 minutes. False alarms before the faults: {found['alarms_before_the_fault']}."
        "\n\n" + _table(head, rows)
    )


def _speed(speed: dict[str, dict[str, float]]) -> str:
    rows: list[tuple[object, ...]] = [
        (devices, *(f"{points:,.0f}" for points in row.values())) for devices, row in speed.items()
    ]
    return (
        "## Speed\n\nPoints per second of processor time. A batch is worked through in steps, a "
        "reading of each series (two a device) at once; the more devices, the less each costs.\n\n"
        + _table(
            ("devices, two series each", "the detector", "all that is done with a batch"), rows
        )
    )


def _rooms(figures: dict[str, Any], rooms: list[Room]) -> str:
    rows: list[tuple[object, ...]] = []
    for truth in TRUTHS:
        row = figures[truth]
        numbers = ["" if row[n] is None else f"{row[n]:.2f}" for n in ("precision", "recall")]
        rows.append((truth, row["events"], row["found"], row["alarms"], *numbers))
    without = [truth for truth in TRUTHS if not figures[truth]["events"]]
    remark = ""
    if without:
        remark = (
            f"In these recordings the columns {' and '.join(without)} never change, so nothing can "
            "be said of them.\n\n"
        )
    return (
        f"## Recorded rooms\n\n{len(rooms)} recordings of an office, 2 to 3 hours each; a shift or "
        "drift within 15 minutes after the truth changed between none and some tells of it.\n\n"
        f"{remark}"
        + _table(("truth", "events", "found", "alarms", "precision", "recall"), rows)
        + f"\n![Temperatures and humidities of a room]({_PICTURE})\n"
    )


def _draw(room: Room) -> None:
    figure, axes = plt.subplots(2, 1, sharex=True, figsize=(9, 5))
    for axis, quantity, unit in zip(axes, ("temperature", "humidity"), ("°C", "% RH"), strict=True):
        for name, (seconds, values) in room.series.items():
            if not name.endswith(quantity):
                continue
            moments = [datetime.fromtimestamp(second, UTC) for second in seconds[::10]]
            (line,) = axis.plot(moments, values[::10], linewidth=0.8, label=name.split()[0])
            at = room.alarms[name]
            heights = np.interp(at, seconds, values)
            axis.plot(
                [datetime.fromtimestamp(s, UTC) for s in at], heights, "v", color=line.get_color()
            )
        for moment in room.events["occupants"]:
            axis.axvline(datetime.fromtimestamp(moment, UTC), color="0.6", linestyle=":")
        axis.set_ylabel(f"{quantity}, {unit}")
    axes[0].legend(ncols=4, fontsize="small")
    axes[0].set_title(f"{room.name}: alarms (▼) and occupants coming or going (dotted)")
    figure.autofmt_xdate()
    mpl.rcParams["svg.hashsalt"] = "anomalies"
    figure.savefig(PAGE.parent / _PICTURE, metadata={"Date": None})
    plt.close(figure)
