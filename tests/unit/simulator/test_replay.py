"""Recorded files."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from simulator.replay import ReplayError, parse_line, read_files, slug

GOOD = "3, 1458031648795, 1, 3, 20.48, 38.687, 197.14, 542.8, 1, 2, 0, 1"


def test_a_line_is_a_reading() -> None:
    reading = parse_line(GOOD, "location-a")
    assert reading.device_id == "location-a-node3"
    assert reading.ts == datetime(2016, 3, 15, 8, 47, 28, 795_000, tzinfo=UTC)
    assert (reading.seq, reading.temperature, reading.humidity) == (3, 20.48, 38.687)
    assert reading.measurements == {
        "light1": 197.14,
        "light2": 542.8,
        "occupants": 1,
        "activity": 2,
        "door": 0,
        "window": 1,
    }


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("1, 2, 3", "3 columns: expected 12"),
        (GOOD + ", 5", "13 columns: expected 12"),
        (GOOD.replace("20.48", "warm"), "temperature 'warm': expected a number"),
        (GOOD.replace("38.687", "nan"), "humidity 'nan': expected a number"),
        (GOOD.replace("3,", "x,", 1), "entry id 'x': expected a whole number"),
        (GOOD.replace("3,", "-3,", 1), "seq -3"),
        (GOOD.replace("1458031648795", "9" * 30), "expected milliseconds since 1970"),
        (GOOD.replace("1458031648795", "-1"), "expected milliseconds since 1970"),
        (GOOD.replace("542.8", ""), "light2 '': expected a number"),
    ],
)
def test_a_bad_line_says_which_column_and_how(line: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        parse_line(line, "x")


def test_a_file_keeps_its_order_and_names_its_bad_lines(tmp_path: Path) -> None:
    path = tmp_path / "Location_A-measurement01.csv"
    path.write_text(f"{GOOD}\n\nbroken\n{GOOD.replace('3,', '2,', 1)}\n", encoding="utf-8")
    (recording,) = read_files([path])
    assert [reading.seq for reading in recording.readings] == [3, 2]
    assert recording.readings[0].device_id == "location-a-measurement01-node3"
    (fault,) = recording.faults
    assert fault.startswith(f"{path}:3: 1 columns")


def test_files_that_cannot_be_replayed_are_named(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match=r"none\.csv: No such file"):
        read_files([tmp_path / "none.csv"])
    (tmp_path / "empty.csv").write_text("\n", encoding="utf-8")
    with pytest.raises(ReplayError, match=r"empty\.csv: holds no lines"):
        read_files([tmp_path / "empty.csv"])
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(ReplayError, match=r"binary\.csv: not UTF-8"):
        read_files([tmp_path / "binary.csv"])


def test_files_that_would_share_device_names_are_refused() -> None:
    with pytest.raises(ReplayError, match="rename one"):
        read_files([Path("a/room.csv"), Path("b/Room.csv")])


def test_a_file_that_no_device_can_be_named_after_is_refused() -> None:
    with pytest.raises(ReplayError, match="rename it"):
        slug(Path("___.csv"))
