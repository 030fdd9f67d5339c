"""`python -m tools.rollout COMMAND`: what playbooks/gateways.yml asks, in JSON.

All but `report` write to the rollout's book. `python -m tools.rollout.picture` draws one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tools.rollout import plan
from tools.rollout.book import Book, lines
from tools.rollout.gate import Failing, Limits, conclude, figures, judge

Answer = dict[str, Any]


def make_plan(folder: Path, asked: Answer) -> Answer:
    """Which gateways are still to come, in which waves; dark ones are written down.

    Asked: `rollout`, its name, or empty; `gateways` with the release of each, null where it is dark
    and empty where it has none; `canaries`, `waves`, `inventories`; `dry`: write nothing.
    """
    rollout = asked["rollout"] or plan.name(asked["inventories"])
    book = Book.open(folder / f"rollout-{rollout}.json", rollout)
    found: dict[str, str | None] = asked["gateways"]
    dark = [name for name, release in found.items() if release is None]
    bare = [name for name, release in found.items() if release == ""]
    passed = [name for name, release in found.items() if book.passed(name, release)]
    left = plan.order((n for n in found if n not in {*dark, *bare, *passed}), asked["canaries"])
    for name in left:
        book.gateway(name).update(state="waiting", why="")
    # One that passed and is dark now has what it is to have.
    book.note("dark", [name for name in dark if book.gateway(name)["state"] != "passed"])
    book.note("unready", bare, why="nothing is installed yet: site.yml does that")
    if not asked["dry"]:
        book.save()
    sizes = plan.waves(asked["waves"], len(left), len(passed))
    told = [f"rollout {rollout}; its book is {book.path}"]
    for number, size in enumerate(sizes, 1):
        first = sum(sizes[: number - 1])
        told.append(f"wave {number}: {', '.join(left[first : first + size])}")
    for what, names in (
        ("passed already", passed),
        ("dark, to come in a later run", dark),
        ("nothing installed, to be done by site.yml", bare),
    ):
        told += [f"{what}: {', '.join(names)}"] if names else []
    return {
        "rollout": rollout,
        "book": str(book.path),
        "gateways": left,
        "tried": [name for name in left if book.gateway(name).get("on_trial")],
        # Ansible refuses an empty list.
        "sizes": sizes or [1],
        "lines": told,
    }


def begin(path: Path, asked: Answer) -> Answer:
    """A wave of `gateways` begins."""
    book = Book.open(path)
    book.begin_wave(asked["gateways"])
    book.save()
    return {}


def ready(path: Path, asked: Answer) -> Answer:
    """The release goes to those of `gateways` that have no reason against it."""
    book = Book.open(path)
    for name, why in asked["gateways"].items():
        if why:
            book.note("unready", [name], why=why)
        else:
            book.note("trying", [name], on_trial=True)
    if all(asked["gateways"].values()):
        book.end_wave()
    book.save()
    return {}


def soak(path: Path, asked: Answer) -> Answer:
    """The release has come to `gateways`, and is on trial there."""
    book = Book.open(path)
    book.note("soak", asked["gateways"])
    book.save()
    return {}


def give_verdict(path: Path, asked: Answer) -> Answer:
    """What is to become of a wave.

    Asked: `limits`, `most_failing_percent`, `most_dark_percent`, and `gateways`: of each that can
    be reached `failure` (what went wrong when the release came), and of both spans `before` and
    `after`, which may be null, what `figures` takes.
    """
    book = Book.open(path)
    limits = Limits(**asked["limits"])
    failing: dict[str, list[Failing]] = {}
    for name, told in asked["gateways"].items():
        before = figures(**told["before"])
        after = figures(**told["after"]) if told["after"] else None
        book.measured(name, before, after)
        failing[name] = judge(before, after, limits) if after else []
        if told["failure"]:
            failing[name].insert(0, Failing("tasks", None, None, None, told["failure"]))
    verdict = conclude(
        failing,
        book.gone_dark(failing),
        most_failing_percent=asked["most_failing_percent"],
        most_dark_percent=asked["most_dark_percent"],
    )
    book.conclude(verdict)
    book.save()
    return asdict(verdict)


def end_wave(path: Path, asked: Answer) -> Answer:
    """A wave is over: `gateways` says how it ended on each of them."""
    book = Book.open(path)
    for name, facts in asked["gateways"].items():
        book.note(facts["state"], [name], **{"on_trial": False, **facts})
    book.end_wave()
    book.save()
    return {}


def report(path: Path, _: Answer) -> Answer:
    """The report in lines."""
    return {"lines": list(lines(Book.open(path)))}


COMMANDS: dict[str, Callable[[Path, Answer], Answer]] = {
    "plan": make_plan,
    "begin": begin,
    "ready": ready,
    "soak": soak,
    "judge": give_verdict,
    "end": end_wave,
    "report": report,
}


def main() -> int:
    """The command line; what is asked comes as JSON on standard input."""
    parser = argparse.ArgumentParser(prog="python -m tools.rollout", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("place", type=Path, help="the rollout's book; for plan the folder of books")
    options = parser.parse_args()
    print(json.dumps(COMMANDS[options.command](options.place, json.load(sys.stdin))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
