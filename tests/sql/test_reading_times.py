"""The view reading_times: five times per reading, and how it is read."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import psycopg2
import pytest
from readings import ask, utc

READ = utc("2026-03-01T12:00:00")


@pytest.fixture
def connection(dsn: str) -> Iterator[Any]:
    with closing(psycopg2.connect(dsn, options="-c timezone=UTC")) as opened:
        yield opened


def reading(connection: Any, device: str = "a", batch: int = 5, read_at: datetime = READ) -> None:
    ask(
        connection,
        "INSERT INTO sensor_data (time, device_id, seq, received_at, appended_at, read_at, "
        "batch_id, kafka_partition, kafka_offset) VALUES (%s, %s, 1, %s, %s, %s, %s, 0, 0) "
        "RETURNING 1",
        *(read_at - timedelta(seconds=3), device, read_at - timedelta(seconds=2)),
        *(read_at - timedelta(seconds=1), read_at, batch),
    )


def batch(connection: Any, committed_s: float, number: int = 5, query: str = "store") -> datetime:
    committed = READ + timedelta(seconds=committed_s)
    ask(
        connection,
        "INSERT INTO processing_metrics (time, query, run_id, batch_id, rows_in, rows_stored, "
        "rows_duplicate, rows_late, rows_rejected, bytes, committed_at) "
        "VALUES (%s, %s, gen_random_uuid(), %s, 1, 1, 0, 0, 0, 1, %s) RETURNING 1",
        *(committed - timedelta(seconds=1), query, number, committed),
    )
    return committed


def committed(connection: Any) -> datetime | None:
    ((moment,),) = ask(connection, "SELECT committed_at FROM reading_times")
    return moment


def test_five_times_in_order(connection: Any) -> None:
    reading(connection)
    batch(connection, 0.5)
    ((*times, device, seq, flags),) = ask(
        connection,
        "SELECT captured_at, received_at, appended_at, read_at, committed_at, device_id, seq, "
        "quality_flags FROM reading_times",
    )
    assert times == [READ + timedelta(seconds=s) for s in (-3, -2, -1, 0, 0.5)]
    assert (device, seq, flags) == ("a", 1, [])


def test_the_earliest_commit_that_is_not_before_the_read(connection: Any) -> None:
    reading(connection)
    # Of an earlier checkpoint, of other batches, and of a later run of this one.
    batch(connection, -600)
    batch(connection, 0.1, number=6)
    batch(connection, 0.2, query="archive")
    batch(connection, 90)
    own = batch(connection, 0.5)
    assert committed(connection) == own


def test_it_is_null_where_the_figures_are_missing(connection: Any) -> None:
    reading(connection)
    assert committed(connection) is None
    # Another checkpoint's batch of that number, weeks later.
    batch(connection, 20 * 86_400)
    assert committed(connection) is None


def test_one_devices_readings_are_found_without_reading_all(connection: Any) -> None:
    for day in range(40):
        for device in "abcdefgh":
            reading(connection, device, batch=day, read_at=READ + timedelta(days=day))
        batch(connection, day * 86_400 + 0.5, number=day)
    plan = "\n".join(
        line
        for (line,) in ask(
            connection,
            "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM reading_times "
            "WHERE device_id = 'a' AND captured_at BETWEEN '2026-03-10' AND '2026-03-12'",
        )
    )
    assert "Seq Scan" not in plan.replace("(never executed)", "")
    scanned = [line for line in plan.splitlines() if "_chunk" in line and "never" not in line]
    readings, metrics = (
        [line for line in scanned if f"on _hyper_{number}_" in line] for number in (1, 3)
    )
    assert len(readings) <= 3
    # Those of each reading's day and its neighbours.
    assert len(metrics) <= 6
