"""Writes the dashboards' JSON into role grafana: `python -m dashboards`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import fleet, latency, pipeline, platform, sensors

FOLDER = Path(__file__).resolve().parent.parent / "roles" / "grafana" / "files" / "dashboards"
BOARDS = (sensors, pipeline, latency, fleet, platform)


def _tidy(board: dict[str, Any]) -> dict[str, Any]:
    """Take out what the SDK writes of its own accord and Grafana 13's types do not have."""
    for variable in board["templating"].get("list", []):
        for name in ("auto", "auto_min", "auto_count"):
            del variable[name]
    for number, panel in enumerate(board["panels"], start=1):
        # Fixed, so that a link to a panel holds.
        panel["id"] = number
        if panel["type"] == "table":
            del panel["options"]["footer"]
    return board


def documents() -> dict[str, str]:
    """The text of each file by its name, which is the dashboard's uid."""
    found = {}
    for board in BOARDS:
        plain = _tidy(json.loads(json.dumps(board.build().build(), cls=JSONEncoder)))
        text = json.dumps(plain, indent=2, ensure_ascii=False)
        found[f"{plain['uid']}.json"] = f"{text}\n"
    return found


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for stale in set(FOLDER.glob("*.json")) - {FOLDER / name for name in documents()}:
        stale.unlink()
    for name, text in documents().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
