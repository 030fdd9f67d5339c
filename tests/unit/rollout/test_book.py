"""A rollout's book over several runs, as the playbook asks for it."""

import json
from pathlib import Path
from typing import Any

from tests.unit.rollout.test_gate import LIMITS, ROWS, metrics
from tools.rollout.__main__ import COMMANDS

COUNTS = {"bridge": metrics(mqtt_connected=1, oldest_waiting_seconds=0), "restarts": 0}
GOOD = {"start": COUNTS, "end": COUNTS, "rows": {**ROWS, "arrived": 20, "missing": 0}}
LOSSY = {**GOOD, "rows": ROWS}


def ask(command: str, place: Path | str, **asked: Any) -> dict[str, Any]:
    """Asks as the playbook does; what is asked and answered has to be JSON."""
    answer = COMMANDS[command](Path(place), json.loads(json.dumps(asked)))
    told: dict[str, Any] = json.loads(json.dumps(answer))
    return told


def make_plan(folder: Path, gateways: dict[str, str | None], **more: Any) -> dict[str, Any]:
    asked = {"rollout": "r1", "canaries": [], "waves": [1, "100%"], "dry": False}
    return ask("plan", folder, **asked, gateways=gateways, inventories=[], **more)


def judge(book: str, gateways: dict[str, dict[str, Any]]) -> dict[str, Any]:
    told = {name: {"failure": "", "before": GOOD, "after": span} for name, span in gateways.items()}
    percents = {"most_failing_percent": 0, "most_dark_percent": 50}
    return ask("judge", book, limits=vars(LIMITS), gateways=told, **percents)


def test_a_rollout_stops_and_goes_on_where_it_was(tmp_path: Path) -> None:
    found = {"a": "/r0", "b": "/r0", "c": None, "d": ""}
    plan = make_plan(tmp_path, found)
    assert (plan["gateways"], plan["sizes"]) == (["a", "b"], [1, 1])
    book = plan["book"]

    ask("begin", book, gateways=["a"])
    ask("ready", book, gateways={"a": ""})
    ask("soak", book, gateways=["a"])
    assert judge(book, {"a": GOOD})["back"] == []
    ask("end", book, gateways={"a": {"state": "passed", "release": "/r1"}})

    ask("begin", book, gateways=["b"])
    ask("ready", book, gateways={"b": ""})
    verdict = judge(book, {"b": LOSSY})
    assert verdict["back"] == ["b"]
    assert verdict["stop"]
    again = {"held": 9, "sent": 8, "kept": 1, "file": "/kept", "whole": True}
    ask("end", book, gateways={"b": {"state": "back", "release": "/r0", "again": again}})

    text = "\n".join(ask("report", book)["lines"])
    assert "rollout r1: STOPPED: 1 of 1 gateways of the wave failed" in text
    assert "gate probes: 2 of 20 probes did not arrive in the database (before 0, limit 0)" in text
    assert "of 9 readings that the broker held 8 were sent again; 1 without" in text
    for name, state in (("a", "passed"), ("b", "back"), ("c", "dark"), ("d", "unready")):
        assert f"\n{name}: {state} - " in text

    # The next run: `a` has passed, `c` is there again.
    plan = make_plan(tmp_path, {**found, "a": "/r1", "c": "/r0"})
    assert plan["gateways"] == ["b", "c"]
    assert plan["sizes"] == [2]
    assert plan["tried"] == []
    assert "passed already: a" in plan["lines"]


def test_one_that_passed_and_was_taken_back_by_hand_comes_again(tmp_path: Path) -> None:
    book = make_plan(tmp_path, {"a": "/r0"})["book"]
    ask("begin", book, gateways=["a"])
    ask("end", book, gateways={"a": {"state": "passed", "release": "/r1"}})
    assert make_plan(tmp_path, {"a": "/r1"})["gateways"] == []
    assert make_plan(tmp_path, {"a": "/r0"})["gateways"] == ["a"]


def test_a_run_that_was_cut_off_is_known_to_the_next(tmp_path: Path) -> None:
    book = make_plan(tmp_path, {"a": "/r0", "b": "/r0"})["book"]
    ask("begin", book, gateways=["a"])
    ask("ready", book, gateways={"a": ""})
    plan = make_plan(tmp_path, {"a": "/r1", "b": "/r0"})
    assert (plan["gateways"], plan["tried"]) == (["a", "b"], ["a"])


def test_gone_dark_with_the_release_is_not_gone_dark_before_it(tmp_path: Path) -> None:
    book = make_plan(tmp_path, dict.fromkeys("abc", "/r0"))["book"]
    ask("begin", book, gateways=["a", "b", "c"])
    ask("ready", book, gateways={"a": "", "b": ""})
    assert judge(book, {"a": GOOD})["dark"] == ["b"]
    plan = make_plan(tmp_path, dict.fromkeys("abc", "/r0"))
    assert plan["tried"] == ["a", "b"]


def test_a_plan_that_is_only_looked_at_leaves_no_book(tmp_path: Path) -> None:
    asked = {"rollout": "", "canaries": ["b"], "waves": [1], "dry": True, "inventories": []}
    plan = ask("plan", tmp_path, gateways={"a": "/r0", "b": "/r0"}, **asked)
    assert plan["lines"][1:] == ["wave 1: b", "wave 2: a"]
    assert list(tmp_path.iterdir()) == []


def test_figures_are_kept_for_every_gateway(tmp_path: Path) -> None:
    book = make_plan(tmp_path, {"a": "/r0"})["book"]
    ask("begin", book, gateways=["a"])
    judge(book, {"a": LOSSY})
    gateway = json.loads(Path(book).read_text(encoding="utf-8"))["gateways"]["a"]
    assert (gateway["before"]["probes_lost"], gateway["after"]["probes_lost"]) == (0, 2)
    assert set(gateway["failing"][0]) == {"gate", "before", "after", "limit", "text"}
