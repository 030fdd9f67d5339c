"""Frames of two stores, compared."""

from datetime import UTC, datetime, timedelta

import pandas as pd

from spark_app.audit import COLUMNS, of_hours, only_in, typed
from spark_app.audit_kafka import _runs

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def frame(seqs: list[int], *, offset: int = 0) -> pd.DataFrame:
    rows = [
        {
            "device_id": "a",
            "time": NOON + timedelta(seconds=seq),
            "seq": seq,
            "kafka_partition": 0,
            "kafka_offset": offset + seq,
            "appended_at": NOON + timedelta(minutes=seq),
        }
        for seq in seqs
    ]
    return typed(pd.DataFrame(rows, columns=COLUMNS))


def test_hours_have_counts_and_checksums_of_the_readings() -> None:
    one, same = of_hours(frame([0, 1, 70])), of_hours(frame([70, 1, 0], offset=5))
    assert {hour.hour: count for hour, (count, _) in one.items()} == {12: 2, 13: 1}
    assert one == same, "neither order nor offsets matter"
    other = of_hours(frame([0, 2, 70]))
    assert {hour.hour for hour in one if one[hour] != other[hour]} == {12}
    assert of_hours(frame([])) == {}


def test_what_only_one_side_has_is_found() -> None:
    left, right = frame([1, 2, 3]), frame([2, 3, 4], offset=9)
    assert only_in(left, right).seq.to_list() == [1]
    assert only_in(right, left).seq.to_list() == [4]
    assert only_in(frame([]), left).empty
    assert only_in(left, frame([])).seq.to_list() == [1, 2, 3]


def test_offsets_that_lie_close_are_read_in_one_go() -> None:
    assert _runs([1, 2, 90, 300, 301]) == [[1, 2, 90], [300, 301]]
    assert _runs([]) == []
