"""Dropping what is too old on the Apache edition, and the settings that say when."""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from readings import ask, store

import sql
from sql.maintain import maintain
from sql.retention import RetentionError, drop_old

ROOT = Path(sql.__file__).parent.parent


@pytest.fixture
def connection(dsn: str) -> Iterator[Any]:
    with closing(psycopg2.connect(dsn, options="-c timezone=UTC")) as opened:
        yield opened


@pytest.fixture
def old(connection: Any) -> datetime:
    """A noon, 100 days back."""
    days: datetime = ask(connection, "SELECT date_trunc('day', now()) - interval '99.5 days'")[0][0]
    return days


def again(connection: Any) -> None:
    """As if a day had passed since old chunks were last looked for."""
    ask(connection, "UPDATE retention SET applied_at = NULL RETURNING 1")


def count(connection: Any, relation: str) -> int:
    return int(ask(connection, f"SELECT count(*) FROM {relation}")[0][0])  # noqa: S608


def test_raw_readings_go_and_their_rollups_stay(dsn: str, connection: Any, old: datetime) -> None:
    store(connection, old)
    store(connection, old + timedelta(days=80))
    assert maintain(dsn) == "rolled up readings of 2 days; dropped 1 chunks"
    assert count(connection, "sensor_data") == 100
    assert ask(connection, "SELECT sum(samples) FROM sensor_data_1m") == [(200,)]
    assert ask(connection, "SELECT sum(samples) FROM sensor_data_1h") == [(200,)]


def test_a_chunk_that_is_not_rolled_up_stays(connection: Any, old: datetime) -> None:
    store(connection, old)
    assert drop_old(connection, policies=False) == 0
    assert count(connection, "sensor_data") == 100
    assert ask(connection, "SELECT applied_at FROM retention WHERE relation = 'sensor_data'") == [
        (None,)
    ], "the next run tries again"


def test_a_chunk_that_is_being_written_stays(dsn: str, connection: Any, old: datetime) -> None:
    store(connection, old)
    maintain(dsn, {"raw": "", "1m": ""})
    with closing(psycopg2.connect(dsn)) as writer, writer.cursor() as cursor:
        cursor.execute("SELECT 1 FROM sensor_data LIMIT 1")
        assert maintain(dsn, {"raw": "90 days"}).endswith("dropped 0 chunks")
    assert maintain(dsn).endswith("dropped 1 chunks")


def test_chunks_are_looked_for_once_a_day(dsn: str, connection: Any, old: datetime) -> None:
    maintain(dsn)
    store(connection, old)
    assert maintain(dsn) == "rolled up readings of 1 days; dropped 0 chunks"
    again(connection)
    assert maintain(dsn) == "rolled up nothing; dropped 1 chunks"


def test_readings_later_than_their_retention(dsn: str, connection: Any, old: datetime) -> None:
    store(connection, old)
    maintain(dsn)
    before = ask(connection, "SELECT * FROM sensor_data_1m ORDER BY time")
    assert count(connection, "sensor_data") == 0
    # Part of the same once more, as from a replayed archive; and a device that was never seen.
    store(connection, old, first=2, last=50)
    store(connection, old, devices="b", last=60)
    again(connection)
    maintain(dsn)
    assert count(connection, "sensor_data") == 0
    own = "SELECT * FROM sensor_data_1m WHERE device_id = 'a' ORDER BY time"
    assert ask(connection, own) == before
    assert ask(
        connection, "SELECT device_id, sum(samples) FROM sensor_data_1h GROUP BY 1 ORDER BY 1"
    ) == [("a", 100), ("b", 60)]


def test_no_reading_is_lost_between_writers_and_drops(
    dsn: str, connection: Any, old: datetime
) -> None:
    """One reading per minute, so that each must be counted before its chunk goes."""
    writing = threading.Event()
    writing.set()

    def write(device: str) -> None:
        with closing(psycopg2.connect(dsn)) as own:
            # On a busy machine it takes more until a run has dropped a chunk in between.
            while written[device] < 100 or (drops() < 2 and written[device] < 1000):
                n = written[device]
                # Long enough that runs find chunks without notes.
                time.sleep(random.uniform(0, 0.06))  # noqa: S311
                store(own, old, devices=device, first=n, last=n + 1, step="1 minute")
                written[device] += 1

    def drops() -> int:
        return sum("dropped 1" in line for line in dropped)

    def run() -> None:
        while writing.is_set():
            again(connection)
            dropped.append(maintain(dsn))

    dropped: list[str] = []
    written = dict.fromkeys("abc", 0)
    writers = [threading.Thread(target=write, args=(device,)) for device in "abc"]
    runner = threading.Thread(target=run)
    for thread in (*writers, runner):
        thread.start()
    for thread in writers:
        thread.join()
    writing.clear()
    runner.join()
    again(connection)
    dropped.append(maintain(dsn))
    total = sum(written.values())
    assert ask(connection, "SELECT count(*), sum(samples) FROM sensor_data_1m") == [(total, total)]
    assert count(connection, "sensor_data") == 0
    assert drops() > 1, dropped


def test_every_relation_is_dropped_by_its_own_setting(dsn: str, connection: Any) -> None:
    ask(
        connection,
        "INSERT INTO processing_metrics (time, query, run_id, batch_id, rows_in, rows_stored, "
        "rows_duplicate, rows_late, rows_rejected, bytes) SELECT now() - d * interval '1 day', "
        "'store', gen_random_uuid(), 0, 0, 0, 0, 0, 0, 0 FROM generate_series(0, 9) d RETURNING 1",
    )
    ask(
        connection,
        "INSERT INTO pipeline_kpi SELECT now() - d * interval '1 day', 'kafka_to_spark', 1, 1, 1, "
        "1, 1, 0, '{1}', '{1}', 'store', gen_random_uuid(), 0 FROM generate_series(0, 9) d "
        "RETURNING 1",
    )
    # A chunk goes when the last of it is too old: up to a day later.
    done = maintain(dsn, {"metrics": "3 days", "kpi": "5 days"})
    assert done == "rolled up KPIs of 9 days; dropped 10 chunks"
    assert count(connection, "processing_metrics") == 4
    assert count(connection, "pipeline_kpi") == 6
    assert ask(connection, "SELECT sum(samples) FROM pipeline_kpi_1m") == [(9,)]


def test_settings_are_kept_and_for_ever_is_empty(dsn: str, connection: Any) -> None:
    maintain(dsn, {"raw": "30 days", "1m": " ", "1h": ""})
    maintain(dsn)
    kept = "SELECT relation, keep::text FROM retention ORDER BY 1"
    assert dict(ask(connection, kept)) == {
        "sensor_data": "30 days",
        "sensor_data_1m": None,
        "sensor_data_1h": None,
        "pipeline_kpi": "7 days",
        "pipeline_kpi_1m": "1 year",
        "processing_metrics": "90 days",
    }


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"raw": "ninety"}, "--keep-raw: 'ninety' is no interval such as '90 days'"),
        ({"metrics": "-90 days"}, "--keep-metrics: -90 days is too short"),
        ({"kpi": "3 hours"}, "--keep-kpi: 03:00:00 is too short"),
        ({"1m": "30 days"}, r"--keep-1m \(30 days\) is shorter than --keep-raw \(90 days\)"),
        ({"kpi": ""}, r"--keep-kpi-1m \(1 year\) is shorter than --keep-kpi \(for ever\)"),
    ],
)
def test_a_wrong_setting_is_refused_and_changes_nothing(
    dsn: str, connection: Any, settings: dict[str, str], error: str
) -> None:
    before = ask(connection, "SELECT * FROM retention ORDER BY 1")
    with pytest.raises(RetentionError, match=error):
        maintain(dsn, {"1h": "20 years"} | settings)
    assert ask(connection, "SELECT * FROM retention ORDER BY 1") == before


def test_the_program_says_what_it_did_or_what_is_wrong(dsn: str) -> None:
    command = [sys.executable, "-m", "sql.maintain", "--dsn", dsn]
    good = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    assert good.stdout == "rolled up nothing; dropped 0 chunks\n"
    bad = subprocess.run(
        [*command, "--keep-raw", "soon"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"NO_COLOR": "1"},
    )
    assert bad.returncode == 1
    assert bad.stderr == "sql.maintain: --keep-raw: 'soon' is no interval such as '90 days'\n"


def test_one_run_at_a_time(dsn: str, connection: Any) -> None:
    ask(connection, "SELECT pg_advisory_lock(7305081420119)")
    assert maintain(dsn) == "another run is at it"
