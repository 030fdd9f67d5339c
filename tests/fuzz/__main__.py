"""Fuzz the decoder: `python -m tests.fuzz --cases 1000000`; exit status 1 when it found a fault.

Cases come from atheris, or with `--plain` from this project's own mutator. With `--dsn` the job's
own writer stores what is accepted in that database, which must be a scratch one.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import chain, islice
from random import SystemRandom

from benchmarks.local_spark import local_spark
from tests.fuzz.corpus import SEEDS
from tests.fuzz.database import database_sink
from tests.fuzz.judge import Judge
from tests.fuzz.mutate import cases

_BATCH = 50_000
_SHOWN = 20


def from_atheris(wanted: int, seed: int) -> Iterator[bytes]:
    """Yield what atheris tries, while it is trying it."""
    command = [sys.executable, "-m", "tests.fuzz.generate", str(wanted), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            while length := process.stdout.read(4):
                yield process.stdout.read(int.from_bytes(length, "little"))
        finally:
            process.terminate()
    if process.returncode > 0:
        message = f"atheris ended with {process.returncode}: our Python code raised, see above"
        raise RuntimeError(message)


def main() -> int:
    """Judge batch after batch until the cases or the time is used up."""
    options = _options()
    made = cases(options.seed) if options.plain else from_atheris(options.cases, options.seed)
    source = islice(chain(SEEDS, made), options.cases)
    sink = database_sink(options.dsn) if options.dsn else None
    judge = Judge(local_spark(), sink)
    distinct: set[int] = set()
    started = time.monotonic()
    while batch := list(islice(source, _BATCH)):
        judge.judge(batch)
        distinct.update(map(hash, batch))
        seconds = time.monotonic() - started
        _print(f"{judge.judged} cases, {judge.judged / seconds:.0f}/s, {len(judge.faults)} faults")
        if len(judge.faults) > _SHOWN or seconds > options.minutes * 60:
            break
    _report(judge, len(distinct), options.seed)
    return 1 if judge.faults or judge.judged < options.cases else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument(
        "--minutes", type=float, default=30, help="stop then, and call it a failure"
    )
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1, 2**31))
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--dsn", help="libpq connection string of a scratch database")
    return parser.parse_args()


def _report(judge: Judge, distinct: int, seed: int) -> None:
    accepted = judge.reasons[None]
    _print(f"seed {seed}: {judge.judged} cases, {distinct} distinct, {accepted} accepted")
    _print(f"{judge.unknown} on which the parsers may differ were not compared")
    for reason, count in judge.reasons.most_common():
        if reason is not None:
            _print(f"{count:10} {reason}")
    for fault in judge.faults[:_SHOWN]:
        _print(f"FAULT {fault}")


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
