"""SECURITY.md says how to report, covers the standard's chapters, and names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
ROWS = re.findall(r"(?m)^\| (\d(?:\.\d+)?) .*\| (.+) \|$", TEXT.split("## ETSI")[1])


def test_it_says_how_to_report() -> None:
    assert "in private" in TEXT.split("## Threat model")[0]


def test_each_chapter_of_the_standard_is_there_once() -> None:
    assert [number for number, _ in ROWS] == [*(f"5.{n}" for n in range(1, 14)), "6"]


def test_what_is_said_to_hold_a_provision_exists() -> None:
    for number, held_by in ROWS:
        paths = re.findall(r"`([^`]+)`", held_by)
        assert paths or held_by == "—", number
        assert all((ROOT / path).is_file() for path in paths), (number, held_by)
