"""`make bench-anomalies`: the detector and others on NAB, faults of known truth, recorded rooms.

Writes results/anomalies.json and docs/benchmarks/anomalies.md with its pictures. Times are
processor time of this process, so other work on the machine changes them little.
"""

import argparse
import importlib.util
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.anomalies import faults, page
from benchmarks.anomalies.candidates import CANDIDATES
from benchmarks.anomalies.rooms import TRUTHS, Room, precision_and_recall, read_rooms
from spark_app.anomalies.__main__ import score
from spark_app.anomalies.corpus import Series, read_corpus
from spark_app.anomalies.detector import KINDS, STATE, VERSION, new_states
from spark_app.anomalies.fleet import QUANTITIES, Fleet
from spark_app.anomalies.lockstep import judge, judge_whole
from spark_app.anomalies.nab import evaluate
from spark_app.anomalies.rules import silence_limit

RESULTS = Path("results/anomalies.json")
_WEEK_SECONDS = 7 * 86_400
_SEED = 20_260_101
# A fault is found if an alarm comes before its end, or this long after it began if it is shorter.
_LEAST_SECONDS = 3600.0


def main() -> int:
    """Run all parts whose data are there; say which are left out."""
    options = _parser().parse_args()
    result: dict[str, Any] = {"detector_version": VERSION, "state_bytes": STATE.itemsize}
    rooms: list[Room] = []
    for name, run in {
        "nab": lambda: _nab(options.data / "nab"),
        "clean": lambda: _clean(options.devices, options.days),
        "faults": lambda: _faults(options.per_kind),
        "speed": _speed,
    }.items():
        if name == "nab" and not (options.data / "nab").is_dir():
            _say(f"nab: left out, no {options.data / 'nab'}")
            continue
        result[name] = run()
        _say(f"{name}: {json.dumps(result[name])}")
    if (options.data / "room-climate").is_dir():
        rooms = read_rooms(options.data / "room-climate")
        result["rooms"] = {truth: precision_and_recall(rooms, truth) for truth in TRUTHS}
        _say(f"rooms: {json.dumps(result['rooms'])}")
    else:
        _say(f"rooms: left out, no {options.data / 'room-climate'}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    page.write(result, rooms)
    return 0


def _nab(folder: Path) -> dict[str, Any]:
    """Return by detector the score with the best threshold, and with the other series' best."""
    windows = folder / "combined_windows.json"
    corpus = read_corpus(folder, windows).series
    points = sum(len(series.values) for series in corpus)
    mine = score(folder, windows)
    verdicts = judge_whole([(series.seconds, series.values) for series in corpus])
    own = [verdict.score for verdict in verdicts]
    table = {
        "this detector": {
            "score": mine["score"],
            "left_out": _leave_one_out(corpus, own),
            "cpu_us_per_point": mine["cpu_us_per_point"],
        }
    }
    chance = np.random.default_rng(_SEED)
    draws = [[chance.random(len(series.values)) for series in corpus] for _ in range(20)]
    table["chance, mean of 20"] = {
        "score": float(np.mean([evaluate(corpus, draw).score for draw in draws])),
        "left_out": float(np.mean([_leave_one_out(corpus, draw) for draw in draws])),
        "cpu_us_per_point": 0.0,
    }
    for name, (run, module) in CANDIDATES.items():
        if importlib.util.find_spec(module) is None:
            _say(f"nab: {name} left out, no {module}: requirements/bench-anomalies.txt has it")
            continue
        begin = time.process_time()
        scores = [run(series) for series in corpus]
        spent = time.process_time() - begin
        table[name] = {
            "score": evaluate(corpus, scores).score,
            "left_out": _leave_one_out(corpus, scores),
            "cpu_us_per_point": spent / points * 1e6,
        }
        _say(f"nab: {name}: {table[name]}")
    return {"series": len(corpus), "points": points, "windows": mine["windows"], "detectors": table}


def _leave_one_out(corpus: list[Series], scores: list[Any]) -> float:
    """Return the score if each series is judged by the threshold that is best for the others."""
    total = windows = 0.0
    for number, series in enumerate(corpus):
        others = [n for n in range(len(corpus)) if n != number]
        best = evaluate([corpus[n] for n in others], [scores[n] for n in others]).threshold
        total += evaluate([series], [scores[number]], best).files[series.name]["score"]
        windows += len(series.windows)
    return 100 * (total + windows) / (2 * windows)


def _clean(devices: int, days: int) -> dict[str, Any]:
    """Judge as the job does, a day at a time; return alarms by kind."""
    seconds, quantities = faults.clean(devices, days, _SEED)
    fleet, alarms, spent = Fleet(), Counter[str](), 0.0
    for begin in range(0, len(seconds), faults.DAY_READINGS):
        day = slice(begin, begin + faults.DAY_READINGS)
        readings = faults.readings(
            seconds[day], {name: values[:, day] for name, values in quantities.items()}
        )
        started = time.process_time()
        found = fleet.observe(readings)
        spent += time.process_time() - started
        alarms.update(found["kind"][found["score"] >= 1])
    weeks = devices * (seconds[-1] - seconds[0]) / _WEEK_SECONDS
    return {
        "devices": devices,
        "days": days,
        "alarms": dict(alarms),
        "per_device_and_week": alarms.total() / weeks,
        "cpu_us_per_point": spent / (2 * devices * len(seconds)) * 1e6,
    }


def _faults(per_kind: int) -> dict[str, Any]:
    devices = faults.faulty(per_kind, 28, _SEED)
    verdicts = judge_whole([(device.seconds, device.temperatures) for device in devices])
    found: dict[str, list[float]] = {kind: [] for kind in faults.FAULTS}
    named = dict.fromkeys(faults.FAULTS, 0)
    early = 0
    for device, verdict in zip(devices, verdicts, strict=True):
        if device.kind == "silence":
            limit = _silence_after(device)
            if device.end - device.begin > limit:
                found["silence"].append(limit)
                named["silence"] += 1
            continue
        alarmed = verdict.alarms >= 1
        end = max(device.end, device.begin + _LEAST_SECONDS)
        during = (device.seconds >= device.begin) & (device.seconds < end)
        early += int(alarmed[device.seconds < device.begin].sum())
        if alarmed[during].any():
            first = device.seconds[during][alarmed[during].any(1)][0]
            found[device.kind].append(float(first - device.begin))
        kind = "outlier" if device.kind == "spike" else device.kind
        named[device.kind] += bool(alarmed[during][:, KINDS.index(kind)].any())
    return {
        "alarms_before_the_fault": early,
        "kinds": {
            kind: {
                "devices": per_kind,
                "found": len(delays),
                "named_rightly": named[kind],
                "median_delay_s": float(np.median(delays)) if delays else None,
            }
            for kind, delays in found.items()
        },
    }


def _silence_after(device: faults.Faulty) -> float:
    """Return after how many seconds without a reading a device counts as silent, by its rhythm."""
    before = device.seconds < device.begin
    numbers = np.zeros(int(before.sum()), np.int64)
    states = judge(
        new_states(1), numbers, device.seconds[before], device.temperatures[before]
    ).states
    return float(silence_limit(states)[0])


def _speed() -> dict[str, dict[str, float]]:
    """Return points per second of processor time, by how many devices send.

    `detector`: it alone; `fleet`: all that the job's Python does with a batch.
    """
    chance = np.random.default_rng(_SEED)
    table = {}
    for devices in (10, 100, 1000, 5000):
        rows = max(20, 20_000 // devices)
        seconds = np.arange(rows, dtype=np.float64) * 10 + faults.START.timestamp()
        quantities = {name: chance.normal(20, 1, (devices, rows)) for name in QUANTITIES}
        series = [(seconds, values) for rows in quantities.values() for values in rows]
        readings = faults.readings(seconds, quantities)
        fleet = Fleet()
        fleet.observe(readings[:devices])
        begin = time.process_time()
        judge_whole(series)
        middle = time.process_time()
        fleet.observe(readings[devices:].reset_index(drop=True))
        end = time.process_time()
        points = 2 * len(readings)
        table[str(devices)] = {
            "detector": points / (middle - begin),
            "fleet": (points - 2 * devices) / (end - middle),
        }
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.anomalies", description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, default=Path("../shared/data"), help="holds nab/ and room-climate/")
    add("--devices", type=int, default=10, help="of the clean year (%(default)s)")
    add("--days", type=int, default=365, help="of it (%(default)s)")
    add("--per-kind", type=int, default=20, help="devices with each fault (%(default)s)")
    return parser


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
