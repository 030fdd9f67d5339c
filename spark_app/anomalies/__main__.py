"""`python -m spark_app.anomalies score`: the detector's standard NAB score on some series."""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spark_app.anomalies.corpus import CorpusError, read_corpus
from spark_app.anomalies.detector import STATE, VERSION
from spark_app.anomalies.lockstep import judge_whole
from spark_app.anomalies.nab import evaluate


def main(arguments: list[str] | None = None) -> int:
    """Run; return 2 if something cannot be read or written."""
    options = _parser().parse_args(arguments)
    try:
        report = score(options.data, options.windows)
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    except (CorpusError, OSError) as error:
        sys.stderr.write(f"anomalies: {error}\n")
        return 2
    for name, fault in report["files_that_cannot_be_read"].items():
        sys.stderr.write(f"anomalies: {name} is left out: {fault}\n")
    sys.stdout.write(
        f"score {report['score']} at threshold {report['threshold']:.3f}; "
        f"{report['points']} points, "
        f"{report['cpu_us_per_point']:.1f} µs of CPU each\n"
    )
    return 0


def score(data: Path, windows: Path) -> dict[str, Any]:
    """Return the score of the detector on a corpus, with its details, for JSON.

    Raises:
        CorpusError: it cannot be read.
    """
    whole = read_corpus(data, windows)
    corpus = whole.series
    begin = time.process_time()
    verdicts = judge_whole([(series.seconds, series.values) for series in corpus])
    seconds = time.process_time() - begin
    result = evaluate(corpus, [verdict.score for verdict in verdicts])
    points = sum(len(series.values) for series in corpus)
    labelled = any(series.windows for series in corpus)
    return {
        "detector_version": VERSION,
        "profile": "standard",
        "score": round(result.score, 2) if labelled else None,
        "threshold": result.threshold,
        "series": len(corpus),
        "series_not_in_windows_file": [s.name for s in corpus if not s.labelled],
        "files_that_cannot_be_read": whole.faults,
        "rows_left_out": {s.name: s.left_out for s in corpus if s.left_out},
        "windows": sum(len(series.windows) for series in corpus),
        "points": points,
        "cpu_us_per_point": seconds / points * 1e6,
        "points_per_cpu_second": points / seconds,
        "state_bytes": STATE.itemsize,
        "files": asdict(result)["files"],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m spark_app.anomalies", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "score", help="score the detector on a corpus laid out like NAB's"
    )
    add = command.add_argument
    add(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="holds <category>/<file>.csv, any depth",
    )
    add("--windows", type=Path, required=True, metavar="FILE", help="like combined_windows.json")
    add("--out", type=Path, required=True, metavar="FILE", help="for the result, as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
