"""The table for people, and the exit status."""

import json
from pathlib import Path

import pytest

from tools import status
from tools.health import Gateway, Machine, Problem, Service, Status


def test_columns_stand_below_each_other() -> None:
    rows = list(status.table(("host", "x"), [("a", "1"), ("longer", "22")]))
    assert rows == ["host    x", "a       1", "longer  22", ""]


def test_a_table_without_rows_is_left_out() -> None:
    assert list(status.table(("host", "x"), [])) == []


def test_what_is_not_known_is_a_dash() -> None:
    unknown = Gateway("gw", "gw", None, None, None, None, None, None)
    shown = list(status.lines(Status(gateways=[unknown])))
    assert shown[1].split() == ["gw", *"------"]
    assert shown[-1] == "all well"


def test_errors_stand_before_warnings_and_each_has_its_advice() -> None:
    found = Status(
        services=[Service("h", "kafka", "kafka", "failed (failed)", "no: x: y")],
        machines=[Machine("away", reached=False)],
        problems=[
            Problem("h", "clock", "is off", "wind it", "warning"),
            Problem("h", "kafka", "is failed", "start it"),
        ],
    )
    text = "\n".join(status.lines(found))
    assert "NOT REACHED" in text
    assert "h     kafka    failed (failed)  no\n" in text
    assert text.endswith(
        "WRONG  h kafka: is failed\n       -> start it\n"
        "warning  h clock: is off\n         -> wind it\n1 wrong"
    )


def host(error: str) -> dict[str, object]:
    return {"error": error, "limits": {}, "gateway": "", "database": ""}


def test_ends_with_1_and_json_where_something_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status, "look", lambda *_: {"h": host("no route")})
    assert status.main(["--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["well"] is False
    assert document["problems"][0]["host"] == "h"


def test_ends_with_2_and_ansibles_words_where_ansible_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: [no inventory", encoding="utf-8")
    assert status.main(["--inventory", str(inventory)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "status: health.yml failed" in captured.err
