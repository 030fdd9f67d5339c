"""What holds for every dashboard: made from its source, laid out, described, with known metrics."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.models import units

from dashboards.__main__ import FOLDER, documents
from tests.grafana.boards import BOARDS, Query, panels, queries, variables

METRICS = (Path(__file__).parent / "metrics.txt").read_text(encoding="utf-8").splitlines()
KNOWN = {line for line in METRICS if not line.startswith("#")}
UNITS = {value for value in vars(units).values() if isinstance(value, str)}
# Durations that stand for what Grafana fills in.
GRAFANA = {"$__rate_interval": "1m", "$__interval": "1m", "$__range": "1h"}


def promql(query: Query) -> str:
    """A query as Prometheus gets it, variables at some value."""
    text = str(query.target["expr"])
    for name, value in GRAFANA.items():
        text = text.replace(name, value)
    return text.replace("${gateway:regex}", "gw1|gw2").replace("$endurance", "10e12")


@pytest.mark.parametrize("uid", documents())
def test_json_is_up_to_date(uid: str) -> None:
    text = (FOLDER / uid).read_text(encoding="utf-8")
    assert text == documents()[uid], "run `python -m dashboards`"


def test_there_are_these_five() -> None:
    assert set(BOARDS) == {
        f"edge-{n}" for n in ("sensors", "pipeline", "latency", "fleet", "platform")
    }
    assert {path.name for path in FOLDER.glob("*.json")} == set(documents())


@pytest.mark.parametrize("uid", BOARDS)
def test_panels_lie_side_by_side(uid: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in BOARDS[uid]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    assert len({panel["id"] for panel in BOARDS[uid]["panels"]}) == len(BOARDS[uid]["panels"])


@pytest.mark.parametrize("uid", BOARDS)
def test_panels_say_what_they_show_and_in_which_unit(uid: str) -> None:
    for panel in panels(BOARDS[uid]):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        for override in panel["fieldConfig"]["overrides"]:
            for setting in override["properties"]:
                assert setting["id"] != "unit" or setting["value"] in UNITS
    for variable in variables(BOARDS[uid]):
        assert variable["description"].endswith(".")


def test_promql_parses(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip("promtool (Debian's package prometheus) is not installed: PromQL is not parsed")
    rules = [
        {"record": f"query_{number}", "expr": promql(query)}
        for number, query in enumerate(queries("prometheus"))
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    command = [promtool, "check", "rules", str(file)]
    checked = subprocess.run(command, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout


def names(expression: str) -> set[str]:
    """Metrics of an expression: words that are neither labels, functions nor keywords."""
    bare = re.sub(
        r"\{[^}]*\}|\[[^]]*\]|\b(by|on|group_left)\s*\([^)]*\)|\bbool\b|\bor\b", " ", expression
    )
    return set(re.findall(r"\b[a-zA-Z_]\w*\b(?!\s*\()", bare)) - {"by", "on", "e12"}


@pytest.mark.parametrize("query", list(queries("prometheus")), ids=str)
def test_metrics_are_ones_that_something_exposes(query: Query) -> None:
    found = names(promql(query))
    assert found
    assert found - KNOWN == set()


def test_names_finds_the_metrics() -> None:
    text = 'max by (a) (x_y{b="c"} / on (d) group_left () rate(z_total[5m])) == bool 0 or vector(0)'
    assert names(text) == {"x_y", "z_total"}


def dashboards_of(variable: str) -> list[Any]:
    return [b for b in BOARDS.values() if variable in {v["name"] for v in variables(b)}]


@pytest.mark.parametrize("variable", ["site", "room", "device", "gateway"])
def test_there_is_a_variable_for(variable: str) -> None:
    (board,) = dashboards_of(variable)
    assert f"${{{variable}:" in str(board["panels"])
