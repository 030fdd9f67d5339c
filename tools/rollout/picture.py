"""`python -m tools.rollout.picture BOOK… > FILE.svg`: rollouts over time, from their books."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

WIDTH, LEFT, RIGHT = 960, 110, 20
ROW, HEAD, AXIS = 24, 46, 34
# Steps of a gateway: colour, and what it is.
STEPS = {
    "before": ("#9ecae1", "measured before"),
    "trying": ("#fdae6b", "release installed"),
    "soak": ("#fdd0a2", "on trial"),
    "passed": ("#74c476", "passed"),
    "back": ("#de2d26", "back on the release of before"),
    "dark": ("#636363", "dark"),
    "unready": ("#bcbddc", "left as it is"),
    "stuck": ("#000000", "stuck"),
}
# Beneath it no tick of the axis is worth its room.
TICKS = (10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
MOST_TICKS = 10


def draw(books: list[dict[str, Any]]) -> str:
    """Return the picture, a panel for each book."""
    body: list[str] = []
    top = 0
    for book in books:
        body += panel(book, top)
        top += HEAD + ROW * len(book["gateways"]) + AXIS
    seen = {step for b in books for g in b["gateways"].values() for _, step in g["steps"]}
    body += legend([step for step in STEPS if step in seen], top)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + 34}" '
        'font-family="sans-serif" font-size="12">'
    )
    white = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return "\n".join([head, white, *body, "</svg>", ""])


def panel(book: dict[str, Any], top: int) -> Iterator[str]:
    """Yield one rollout: a row for each gateway, a frame for each wave."""
    gateways = book["gateways"]
    moments = [moment for gateway in gateways.values() for moment, _ in gateway["steps"]]
    moments += [wave["ended"] for wave in book["waves"] if wave["ended"]]
    begin = min(moments, default=book["began"])
    span = max(max(moments, default=begin) - begin, 1.0) * 1.1

    def place(moment: float) -> float:
        return float(LEFT + (WIDTH - LEFT - RIGHT) * (moment - begin) / span)

    stop = book["waves"][-1]["stop"] if book["waves"] else ""
    title = f"rollout {book['rollout']}" + (f" - stopped: {stop}" if stop else "")
    yield text(LEFT, top + 18, title, font_weight="bold")
    first = top + HEAD
    for row, (name, gateway) in enumerate(gateways.items()):
        y = first + row * ROW
        yield text(LEFT - 8, y + 16, name, text_anchor="end")
        steps = [*gateway["steps"], [begin + span, ""]]
        for (moment, step), (end, _) in itertools.pairwise(steps):
            yield bar(place(moment), place(end), y, step)
        if gateway.get("failing"):
            reasons = ", ".join(gate["gate"] for gate in gateway["failing"])
            yield text(place(steps[-2][0]) - 6, y + 16, reasons, text_anchor="end")
    bottom = first + ROW * len(gateways)
    for number, wave in enumerate(book["waves"], 1):
        x, end = place(wave["began"]), place(wave["ended"] or begin + span)
        yield (
            f'<rect x="{x:.1f}" y="{first - 6}" width="{end - x:.1f}" '
            f'height="{bottom - first + 8}" fill="none" stroke="#333333" stroke-dasharray="3 3"/>'
        )
        yield text(x + 3, first - 10, f"wave {number}")
    yield from axis(span, bottom, place(begin), place(begin + span))


def bar(x: float, end: float, y: int, step: str) -> str:
    """Return a step of a gateway."""
    colour, meaning = STEPS[step]
    return (
        f'<rect x="{x:.1f}" y="{y + 2}" width="{max(end - x, 1):.1f}" height="{ROW - 5}" '
        f'fill="{colour}"><title>{escape(meaning)}</title></rect>'
    )


def axis(span: float, y: int, left: float, right: float) -> Iterator[str]:
    """Yield the seconds since the beginning."""
    tick = next((t for t in TICKS if span / t <= MOST_TICKS), TICKS[-1])
    yield f'<line x1="{left}" y1="{y + 6}" x2="{right}" y2="{y + 6}" stroke="#333333"/>'
    for count in range(int(span / tick) + 1):
        x = left + (right - left) * count * tick / span
        yield f'<line x1="{x:.1f}" y1="{y + 6}" x2="{x:.1f}" y2="{y + 10}" stroke="#333333"/>'
        yield text(x, y + 22, f"{count * tick} s", text_anchor="middle")


def legend(steps: list[str], y: int) -> Iterator[str]:
    """Yield what the colours mean."""
    x = LEFT
    for step in steps:
        colour, meaning = STEPS[step]
        yield f'<rect x="{x}" y="{y + 8}" width="12" height="12" fill="{colour}"/>'
        yield text(x + 17, y + 18, meaning)
        x += 34 + 7 * len(meaning)


def text(x: float, y: float, said: str, **style: str) -> str:
    """Return a piece of text, dark and from `x` on unless its attributes say otherwise."""
    attributes = {"fill": "#222222", **{k.replace("_", "-"): v for k, v in style.items()}}
    listed = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f'<text x="{x:.1f}" y="{y}"{listed}>{escape(said)}</text>'


def main() -> None:
    """The command line."""
    books = [json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]
    if not books:
        sys.exit("usage: python -m tools.rollout.picture results/rollout-….json > FILE.svg")
    print(draw(books), end="")


if __name__ == "__main__":
    main()
