"""The book of a rollout: a JSON file on the controller that says how far it is, and the report.

It is written after each step, so that a rollout that was cut off goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.rollout.gate import Figures, Verdict, plain

# What a gateway is to a rollout.
STATES = {
    "passed": "has the release and passed the gate",
    "back": "went back to the release of before",
    "trying": "has the release and was not judged yet",
    "dark": "was not reached; it comes in the next run",
    "unready": "it could not be measured before, and was left as it is",
    "stuck": "could not go back: look at it",
    "waiting": "not begun",
}


@dataclass
class Book:
    """A rollout's file."""

    path: Path
    content: dict[str, Any]

    @classmethod
    def open(cls, path: Path, rollout: str = "") -> Book:
        """Read the file, or begin one."""
        if path.exists():
            return cls(path, json.loads(path.read_text(encoding="utf-8")))
        content = {"rollout": rollout, "began": time.time(), "waves": [], "gateways": {}}
        return cls(path, content)

    def save(self) -> None:
        """Write it, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.content, indent=1, ensure_ascii=False) + "\n", "utf-8")
        part.replace(self.path)

    def gateway(self, name: str) -> dict[str, Any]:
        """Return what is known of a gateway, to be changed."""
        fresh = {"state": "waiting", "steps": []}
        found: dict[str, Any] = self.content["gateways"].setdefault(name, fresh)
        return found

    def passed(self, name: str, release: str | None) -> bool:
        """Tell whether a gateway passed and still has that release."""
        known = self.gateway(name)
        return known["state"] == "passed" and known.get("release") == release

    def note(self, step: str, names: Iterable[str], **facts: Any) -> None:  # noqa: ANN401
        """Write down what begins now on some gateways; most steps are states, too."""
        for name in names:
            gateway = self.gateway(name)
            gateway["steps"].append([round(time.time(), 3), step])
            gateway |= facts
            if step in STATES:
                gateway["state"] = step

    def begin_wave(self, names: list[str]) -> None:
        """Write down that a wave begins."""
        wave = {"began": time.time(), "gateways": names, "ended": None, "stop": ""}
        self.content["waves"].append(wave)
        self.note("before", names)
        for name in names:
            # What is known is of an earlier try.
            for fact in ("failing", "again", "after", "packages"):
                self.gateway(name).pop(fact, None)

    def end_wave(self) -> None:
        """Write down that the newest wave is over."""
        self.content["waves"][-1]["ended"] = time.time()

    def gone_dark(self, reached: Collection[str]) -> list[str]:
        """Return who went dark with the release; one that did so before it came is written down."""
        names = [n for n in self.content["waves"][-1]["gateways"] if n not in reached]
        names = [n for n in names if self.gateway(n)["state"] != "unready"]
        on_trial = [n for n in names if self.gateway(n).get("on_trial")]
        self.note("dark", [n for n in names if n not in on_trial])
        return on_trial

    def conclude(self, verdict: Verdict) -> None:
        """Write down a wave's verdict. Who goes back is noted when it is back."""
        self.content["waves"][-1] |= {"stop": verdict.stop, "judged": time.time()}
        self.note("dark", verdict.dark)
        for name, gates in verdict.failing.items():
            self.gateway(name)["failing"] = [plain(gate) for gate in gates]

    def measured(self, name: str, before: Figures, after: Figures | None) -> None:
        """Write down a gateway's figures."""
        gateway = self.gateway(name)
        gateway["before"] = plain(before)
        gateway["after"] = plain(after) if after else None


def lines(book: Book) -> Iterator[str]:
    """Yield the report."""
    waves, gateways = book.content["waves"], book.content["gateways"]
    stop = waves[-1]["stop"] if waves else ""
    passed = sum(gateway["state"] == "passed" for gateway in gateways.values())
    outcome = f"STOPPED: {stop}" if stop else f"{passed} of {len(gateways)} gateways passed"
    yield f"rollout {book.content['rollout']}: {outcome}"
    for number, wave in enumerate(waves, 1):
        lasted = f"{wave['ended'] - wave['began']:.0f} s" if wave["ended"] else "cut off"
        yield f"wave {number}, {lasted}: {', '.join(wave['gateways'])}"
    for name, gateway in gateways.items():
        yield f"{name}: {gateway['state']} - {gateway.get('why') or STATES[gateway['state']]}"
        yield from gateway_lines(gateway)
    yield f"all figures: {book.path}"


def gateway_lines(gateway: dict[str, Any]) -> Iterator[str]:
    """Yield what failed at a gateway, and what its way back brought."""
    for gate in gateway.get("failing", []):
        yield (
            f"  gate {gate['gate']}: {gate['text']} "
            f"(before {amount(gate['before'])}, limit {amount(gate['limit'])})"
        )
    if again := gateway.get("again"):
        kept = f"; {again['kept']} without time or number are in {again['file']}"
        yield (
            f"  of {again['held']} readings that the broker held {again['sent']} were sent again"
            + (kept if again["kept"] else "")
            + ("" if again["whole"] else "; NOT ALL: it took too long")
        )
    if packages := gateway.get("packages"):
        yield f"  packages that could not go back: {packages}"


def amount(value: float | None) -> str:
    """Return a figure as people read it."""
    return "not known" if value is None else f"{value:,.1f}".removesuffix(".0")
