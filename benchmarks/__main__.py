"""Measure, beside the peers: `python -m benchmarks [PART ...]`.

Starts its own Mosquitto, Kafka and PostgreSQL on loopback, ends only those, and writes
results/bench.json and docs/benchmarks/bench.md; a part that is not run keeps its figures, which
docs/benchmarks/bench.json has too. Part `chain` installs and loads the demo's hosts, which stay
(`make demo-down`). An hour and a half with all parts; `--scale 0.1 --repeats 1` for a look.
"""

import argparse
import importlib
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import report
from benchmarks.options import Options
from benchmarks.scratch import say

# Each is a module of benchmarks.parts with `run(options) -> list[Figure]`; bars are in report.py.
PARTS = ("relays", "backlog", "floor", "ingest", "wear", "decode", "chain")


def main() -> int:
    """Run, show and write; return 1 if a part failed."""
    options = parser().parse_args()
    # So that an end by `kill` or `timeout` ends what was started too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    runs: list[report.Run] = []
    for name in options.parts:
        machine = report.machine()
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(dir=options.folder, prefix=f"bench-{name}-") as folder:
            Path(folder).chmod(0o755)  # PostgreSQL's user has to pass
            try:
                found = importlib.import_module(f"benchmarks.parts.{name}").run(
                    Options(Path(folder), options.repeats, options.scale)
                )
            except Exception as error:  # noqa: BLE001 - the other parts' figures are kept
                say(f"{name}: failed: {type(error).__name__}: {error}")
                continue
        say(f"{name}: {time.monotonic() - begin:.0f} s")
        for figure in found:
            values = [round(value, 2) for value in figure.values]
            say(f"  {figure.name:48} {figure.median:12,.2f} {figure.unit:4} {values} {figure.note}")
        machine |= {"repeats": options.repeats, "scale": options.scale}
        runs.append(report.Run(name, machine, found))
        # After each, so that a part is not lost with a later one.
        results = report.written(runs, PARTS)
    if not runs:
        return 1
    for name, verdict in results["bars"].items():
        say(f"{name}: {verdict['ratio']:.2f}; {'holds' if verdict['holds'] else 'DOES NOT HOLD'}")
    if not options.no_page:
        images = report.plot(report.figures_of(results), report.PAGE.parent)
        report.PAGE.write_text(report.page(results, images), encoding="utf-8")
        shutil.copyfile(report.RESULTS, report.KEPT)
    return int(len(runs) < len(options.parts))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    made.add_argument("parts", nargs="*", default=list(PARTS), metavar="PART", help=f"of {PARTS}")
    made.add_argument("--repeats", type=int, default=5, help="of each figure (%(default)s)")
    made.add_argument("--scale", type=float, default=1.0, help="of readings; less for a look")
    made.add_argument("--folder", help="for what is made and removed, on a real disk")
    made.add_argument("--no-page", action="store_true", help="write results/bench.json only")
    return made


if __name__ == "__main__":
    sys.exit(main())
