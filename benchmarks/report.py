"""The results on paper: results/bench.json, and a page with tables and plots."""

import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.figures import Bar, Figure
from benchmarks.services import ROOT

RESULTS = ROOT / "results" / "bench.json"
PAGE = ROOT / "docs" / "benchmarks" / "bench.md"
# The figures behind the page, in git with it: what a new clone does not measure stays there.
KEPT = PAGE.with_suffix(".json")
# Load before a part; the one that came before it, and its own installing, leave some.
_BUSY = 3
# What a reader of the tables has to know.
METHOD = Path(__file__).with_name("method.md")
BARS = (
    Bar(
        "bridge with its spool / Telegraf, readings per core and second",
        "relays.bridge.readings_per_core_second",
        "relays.telegraf.readings_per_core_second",
        least=1.5,
    ),
    Bar(
        "idempotent ingest / plain COPY, rows per second in batches of 1,000",
        "ingest.idempotent_1000.rows_per_second",
        "ingest.copy_1000.rows_per_second",
        least=0.75,
    ),
    Bar("published → committed at 1,000/s, p50, ms", "chain.real-time_at_1000.p50_ms", most=15),
    Bar("published → committed at 1,000/s, p99, ms", "chain.real-time_at_1000.p99_ms", most=40),
    Bar(
        "published → committed at 1,000/s, p99, real time / micro-batches",
        "chain.real-time_at_1000.p99_ms",
        "chain.micro-batch_at_1000.p99_ms",
        most=0.05,
    ),
    Bar(
        "published → committed at 1,000/s, p50, beside detection / without it",
        "chain.real-time_at_1000.p50_ms",
        "chain.no-detect_at_1000.p50_ms",
        most=1.1,
    ),
    Bar("published → committed at 10,000/s, p99, ms", "chain.real-time_at_10000.p99_ms", most=150),
    Bar(
        "from Kafka to the row, readings per second",
        "chain.real-time_from_kafka.readings_per_second",
        least=20_000,
    ),
    Bar("all services, resident, MB", "chain.real-time_at_1000.resident_mb", most=2684),
    Bar("gateway, resident, MB", "chain.real-time_at_1000.gateway_resident_mb", most=105),
)


def machine() -> dict[str, object]:
    """Return what the figures depend on: processor, memory, system, load before the run."""
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("model name\t: ")[2]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    release = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": cpu.partition("\n")[0],
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{release}, Linux {platform.release()}, Python {platform.python_version()}",
        "commit": _output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"),
        "load_average": os.getloadavg()[0],
    }


@dataclass(frozen=True)
class Run:
    """A part that was measured, on which machine and how, and its figures."""

    part: str
    machine: Mapping[str, object]
    figures: Sequence[Figure]


def written(
    runs: Sequence[Run], parts: Sequence[str], path: Path = RESULTS, kept: Path = KEPT
) -> dict[str, Any]:
    """Put the figures of these parts in place of their older ones; return all that is there now.

    Args:
        runs: the parts that were measured.
        parts: all there are, in order.
        path: where all figures are written.
        kept: where older ones are if they are not there.
    """
    source = path if path.exists() else kept
    before = json.loads(source.read_text(encoding="utf-8")) if source.exists() else {}
    by_part = {run.part: run for run in runs}
    for part, facts in before.get("parts", {}).items():
        if part in parts and isinstance(facts, dict):
            old = [figure for figure in figures_of(before) if figure.name.startswith(f"{part}.")]
            by_part.setdefault(part, Run(part, facts, old))
    in_order = [by_part[part] for part in parts if part in by_part]
    figures = {figure.name: figure for run in in_order for figure in run.figures}
    judged = {bar.name: bar.judge(figures) for bar in BARS}
    results = {
        "parts": {run.part: run.machine for run in in_order},
        "figures": {name: figure.to_json() for name, figure in figures.items()},
        "bars": {name: verdict for name, verdict in judged.items() if verdict is not None},
    }
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(results, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return results


def figures_of(results: Mapping[str, Any]) -> list[Figure]:
    """Return the figures that results/bench.json holds."""
    return [
        Figure(name, figure["unit"], figure["values"], figure["note"])
        for name, figure in results["figures"].items()
    ]


def page(results: Mapping[str, Any], images: Sequence[str]) -> str:
    """Return the page for people."""
    source = "Written by `python -m benchmarks`; every figure is in [bench.json](bench.json)."
    lines = ["# Benchmarks", "", source, ""]
    for part, facts in results["parts"].items():
        told = "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())
        busy = "; **the machine had other work**" if facts.get("load_average", 0) > _BUSY else ""
        lines.append(f"- *{part}*: {told}{busy}")
    lines += ["", "Median, and in brackets the lowest and the highest repeat.", ""]
    lines += ["| ratio | measured | bar | holds |", "|---|---|---|---|"]
    for name, verdict in results["bars"].items():
        bounds = " ".join(
            f"{word} {verdict[key]}"
            for key, word in (("least", "≥"), ("most", "≤"))
            if verdict[key] is not None
        )
        spread = number(verdict["ratio"], verdict["low"], verdict["high"])
        lines.append(f"| {name} | {spread} | {bounds} | {'yes' if verdict['holds'] else 'no'} |")
    lines += ["", "| figure | value | unit | note |", "|---|---|---|---|"]
    for name, figure in results["figures"].items():
        value = "not measured"
        if figure["values"]:
            value = number(figure["median"], figure["low"], figure["high"])
        lines.append(f"| {name} | {value} | {figure['unit']} | {figure['note']} |")
    lines += ["", *(f"![{name}]({name}.svg)" for name in images), ""]
    lines.append(METHOD.read_text(encoding="utf-8"))
    return "\n".join(lines)


def number(median: float, low: float, high: float) -> str:
    """Return a median and its spread with three digits that count."""
    return f"{_digits(median)} ({_digits(low)} … {_digits(high)})"


def plot(figures: Sequence[Figure], folder: Path) -> list[str]:
    """Draw a bar chart of each kind of figure, PNG and SVG; return their names.

    Draws nothing where matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot as plt  # noqa: PLC0415 - one can do without
    except ImportError:
        return []
    plt.rcParams["svg.hashsalt"] = "bench"  # the same figures give the same bytes
    drawn = []
    kinds: dict[str, list[Figure]] = {}
    for figure in figures:
        if figure.values:
            part, _, rest = figure.name.partition(".")
            kinds.setdefault(f"{part}_{rest.rpartition('.')[2]}", []).append(figure)
    for kind, group in kinds.items():
        chart, axes = plt.subplots(figsize=(7, 0.5 * len(group) + 1.2), layout="constrained")
        names = [figure.name.partition(".")[2].rpartition(".")[0] for figure in group]
        medians = [figure.median for figure in group]
        below = [figure.median - min(figure.values) for figure in group]
        above = [max(figure.values) - figure.median for figure in group]
        axes.barh(names, medians, xerr=[below, above], color="#4477aa", ecolor="#222222", capsize=3)
        axes.invert_yaxis()
        axes.set_xlabel(f"{kind.partition('_')[2].replace('_', ' ')}, {group[0].unit}")
        axes.spines[["top", "right"]].set_visible(False)
        for ending in ("svg", "png"):
            extra = {"metadata": {"Date": None}} if ending == "svg" else {"dpi": 120}
            chart.savefig(folder / f"bench-{kind}.{ending}", **extra)
        plt.close(chart)
        drawn.append(f"bench-{kind}")
    return drawn


def _digits(value: float) -> str:
    if not value or not math.isfinite(value):
        return str(value)
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"


def _output(*command: str) -> str:
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()
