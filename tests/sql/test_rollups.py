"""Roll-ups of the readings on the Apache edition, against what their definitions give."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2 import errors
from readings import MIGRATION, ask, definition, differences, store, utc

from sql.maintain import maintain
from sql.migrate import migrate
from sql.retention import REFRESH_POLICIES, RETENTION_POLICIES
from sql.rollups import refresh_readings

START = utc("2026-03-01T22:50:03")
ROLLUPS = ("sensor_data_1m", "sensor_data_1h")


@pytest.fixture
def connection(dsn: str) -> Iterator[Any]:
    with closing(psycopg2.connect(dsn, options="-c timezone=UTC")) as opened:
        yield opened


def check(connection: Any) -> None:
    for relation in ROLLUPS:
        assert differences(connection, relation) == []


def test_rollups_are_what_their_definitions_give(connection: Any) -> None:
    store(connection, START, devices="abc", last=1500)
    assert refresh_readings(connection) == 2
    check(connection)
    ((samples, minutes),) = ask(connection, "SELECT sum(samples), count(*) FROM sensor_data_1m")
    assert (samples, minutes) == (4500, 3 * 175)
    assert ask(connection, "SELECT sum(samples), sum(flagged) FROM sensor_data_1h") == [(4500, 750)]
    assert refresh_readings(connection) == 0


def test_both_editions_have_the_same_columns(connection: Any) -> None:
    columns = (
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum"
    )
    for relation in ROLLUPS:
        with connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE VIEW community AS {definition(relation)}")
        assert ask(connection, columns, "community") == ask(connection, columns, relation)
        with connection, connection.cursor() as cursor:
            cursor.execute("DROP VIEW community")


@pytest.mark.parametrize(
    "statement",
    [
        *(
            f"CREATE MATERIALIZED VIEW c WITH (timescaledb.continuous) AS {definition(relation)} "
            "WITH NO DATA"
            for relation in ROLLUPS
        ),
        *REFRESH_POLICIES,
        *RETENTION_POLICIES,
    ],
)
def test_nothing_but_the_licence_refuses_the_community_editions_statements(
    connection: Any, statement: str
) -> None:
    with pytest.raises(errors.FeatureNotSupported, match='under the current "apache" license'):
        ask(connection, statement)


def test_what_was_stored_before_the_rollups_existed_is_in_them(
    empty_dsn: str, tmp_path: Path
) -> None:
    for name in ("0001_sensor_data", "0002_pipeline_kpi", "0003_processing_metrics"):
        shutil.copy(MIGRATION.parent / f"{name}.sql", tmp_path)
    migrate(empty_dsn, tmp_path)
    with closing(psycopg2.connect(empty_dsn)) as connection:
        store(connection, START, last=700)
        ask(
            connection,
            "INSERT INTO pipeline_kpi SELECT now() - n * interval '1 minute', 'kafka_to_spark', 1, "
            "1, 1, 1, 1, 0, '{1}', '{1}', 'store', gen_random_uuid(), 0 "
            "FROM generate_series(0, 9) AS n RETURNING 1",
        )
        migrate(empty_dsn)
        stages = "SELECT samples FROM get_pipeline_latency_stats('1 hour')"
        assert ask(connection, stages) == [(0,), (10,), (0,), (0,)]
        maintain(empty_dsn, {"raw": "10 years", "1m": "10 years"})
        check(connection)
        assert ask(connection, "SELECT sum(samples) FROM sensor_data_1h") == [(700,)]
        assert ask(connection, "SELECT sum(samples) FROM pipeline_kpi_1m") == [(9,)]
        assert ask(connection, stages) == [(0,), (10,), (0,), (0,)]


def test_late_readings_get_in_whatever_their_age(connection: Any) -> None:
    now = ask(connection, "SELECT now()")[0][0]
    week_ago = now - timedelta(days=7)
    for moment in (week_ago, now - timedelta(minutes=30)):
        store(connection, moment, devices="abc")
    refresh_readings(connection)
    # The same minutes again: a device that was there, one that was not, and readings twice.
    store(connection, week_ago, devices="ad", last=300)
    store(connection, week_ago, devices="a", last=300)
    noted = ask(connection, "SELECT DISTINCT device_id FROM sensor_data_changed ORDER BY 1")
    assert noted == [("a",), ("d",)], "only these devices' minutes are read again"
    refresh_readings(connection)
    check(connection)


def test_the_running_minute_waits_and_a_clock_ahead_too(connection: Any) -> None:
    now = ask(connection, "SELECT now()")[0][0]
    store(connection, now, last=1)
    store(connection, now + timedelta(minutes=3), last=1)
    minute = ask(connection, "SELECT date_trunc('minute', now())")[0][0]
    refresh_readings(connection)
    assert ask(connection, "SELECT 1 FROM sensor_data_1m WHERE time >= %s", minute) == []
    left = ask(connection, "SELECT 1 FROM sensor_data_changed WHERE minute >= %s", minute)
    assert len(left) >= 1


def test_a_reading_that_is_stored_during_the_run_is_in_the_next(dsn: str, connection: Any) -> None:
    store(connection, START, last=3)
    with closing(psycopg2.connect(dsn)) as writer, writer.cursor() as cursor:
        cursor.execute(
            "INSERT INTO sensor_data (time, device_id, seq, appended_at, read_at, batch_id, "
            "kafka_partition, kafka_offset) VALUES (%s, 'a', 77, now(), now(), 0, 0, 0)",
            (START,),
        )
        refresh_readings(connection)
        writer.commit()
    assert differences(connection, "sensor_data_1m") != []
    refresh_readings(connection)
    check(connection)


def test_writers_and_runs_at_the_same_time_lose_nothing(dsn: str, connection: Any) -> None:
    stop = threading.Event()

    def write(device: str) -> None:
        with closing(psycopg2.connect(dsn)) as own:
            for first in range(0, 400, 4):
                store(own, START, devices=device, first=first, last=first + 4)

    def run() -> None:
        while not stop.is_set():
            maintain(dsn)

    writers = [threading.Thread(target=write, args=(device,)) for device in "abc"]
    runner = threading.Thread(target=run)
    # Far older than it would be kept.
    ask(connection, "UPDATE retention SET keep = NULL RETURNING 1")
    for thread in (*writers, runner):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    runner.join()
    maintain(dsn)
    assert ask(connection, "SELECT sum(samples) FROM sensor_data_1h") == [(1200,)]
    check(connection)
