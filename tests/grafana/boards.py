"""The dashboards' JSON as role grafana ships it, and their queries as the database gets them.

Macros and variables are expanded as Grafana's documentation of the PostgreSQL data source and of
variables describes it, with the switch TimescaleDB of the data source on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dashboards.__main__ import FOLDER

BOARDS: dict[str, Any] = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted(FOLDER.glob("*.json"))
}
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Query:
    """A query of a panel or an annotation, and the panel that it is of."""

    board: str
    panel: Any
    target: Any

    def __str__(self) -> str:
        """Name it in test reports."""
        return f"{self.board}: {self.panel['title']} {self.target['refId']}"


@dataclass(frozen=True)
class Window:
    """The dashboard's time range and the interval that Grafana found for it."""

    start: datetime
    end: datetime
    interval: timedelta


def panels(board: Any) -> list[Any]:
    """All panels of a dashboard but its rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(source: str) -> Iterator[Query]:
    """All queries of panels to a data source, given by its uid."""
    for uid, board in BOARDS.items():
        for panel in panels(board):
            for target in panel["targets"]:
                if target["datasource"]["uid"] == source:
                    yield Query(uid, panel, target)


def annotations(board: Any) -> list[Any]:
    """A dashboard's annotation queries."""
    return list(board["annotations"].get("list", []))


def variables(board: Any) -> list[Any]:
    """A dashboard's variables, in order."""
    return list(board["templating"].get("list", []))


def seconds(duration: str) -> float:
    """Seconds of a duration such as 10s or 1d."""
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h|d)", duration).groups()  # type: ignore[union-attr]
    return int(number) * _UNITS[unit]


def _quoted(values: Sequence[str]) -> str:
    return ",".join("'" + value.replace("'", "''") + "'" for value in values)


def fill(text: str, values: Mapping[str, Sequence[str]]) -> str:
    """SQL with the values of variables, as the browser sends it."""
    for name, chosen in values.items():
        text = text.replace(f"${{{name}:sqlstring}}", _quoted(chosen))
    return text


def chosen_in_tests(text: str) -> str:
    """SQL with some value for each variable, where there is no data to choose from."""
    fixed = {"level": ["room"], "silent": ["1 hour"], "stage": ["mqtt_to_kafka"]}
    return fill(
        text, fixed | {name: ["one", "two"] for name in ("site", "room", "device", "gateway")}
    )


def expand(text: str, window: Window, values: Mapping[str, Sequence[str]]) -> str:
    """SQL as the database gets it.

    Raises:
        ValueError: a macro or a variable is left that Grafana would not know either.
    """
    text = fill(text, values)
    width = window.interval.total_seconds()
    text = re.sub(r"\$__interval_ms\b", str(round(width * 1000)), text)
    text = re.sub(r"\$__interval\b", f"{round(width)}s", text)
    start, end = (f"'{moment:%Y-%m-%dT%H:%M:%S.%fZ}'" for moment in (window.start, window.end))
    text = re.sub(r"\$__timeFilter\(([\w.]+)\)", rf"\1 BETWEEN {start} AND {end}", text)
    text = text.replace("$__timeFrom()", start).replace("$__timeTo()", end)

    def bucket(found: re.Match[str]) -> str:
        return f"time_bucket('{seconds(found[2]):.3f}s', {found[1]})"

    text = re.sub(r"\$__timeGroup\(([\w.]+), ?'?(\w+)'?\)", bucket, text)
    if left := re.findall(r"\$\w+|\$\{[^}]*\}", text):
        message = f"Grafana knows no {', '.join(left)}"
        raise ValueError(message)
    return text
