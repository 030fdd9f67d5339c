"""get_pipeline_latency_stats() against exact figures, and the queries that users know."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg2
import pytest

from spark_app.histogram import Histogram
from spark_app.schema import STAGES

NAMES = ["MQTT → Kafka", "Kafka → Spark", "Spark → TimescaleDB", "Total (bout en bout)"]
INSERT = """
INSERT INTO pipeline_kpi VALUES (now() - %s * interval '1 second', %s, %s, %s, %s, %s, %s, %s, %s,
    %s, 'store', '00000000-0000-0000-0000-000000000000', %s)
"""


@pytest.fixture
def cursor(dsn: str) -> Iterator[Any]:
    connection = psycopg2.connect(dsn)
    with connection, connection.cursor() as opened:
        yield opened
    connection.close()


def insert(cursor: Any, metric: str, micros: np.ndarray[Any, Any], age: float, batch: int) -> None:
    h = Histogram.of(micros)
    buckets = dict(sorted(h.buckets.items()))
    figures = (h.total / h.samples / 1e3, h.samples, (h.least or 0) / 1e3, (h.greatest or 0) / 1e3)
    rest = (h.total / 1e3, h.negative, list(buckets), list(buckets.values()))
    cursor.execute(INSERT, (age, metric, *figures, *rest, batch))


def stats(cursor: Any, window: str = "1 hour") -> list[tuple[Any, ...]]:
    cursor.execute("SELECT * FROM get_pipeline_latency_stats(%s::interval)", (window,))
    return list(cursor.fetchall())


def test_empty_window_is_four_rows(cursor: Any) -> None:
    cursor.execute("SELECT * FROM get_pipeline_latency_stats()")
    assert [column.name for column in cursor.description] == [
        "stage", "avg_ms", "min_ms", "max_ms", "p50_ms", "p95_ms", "p99_ms", "samples",
    ]  # fmt: skip
    assert cursor.fetchall() == [(name, *[None] * 6, 0) for name in NAMES]


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_are_within_one_percent(cursor: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    everything = []
    for stage in STAGES:
        size = int(random.integers(1, 20_000))
        micros = (random.lognormal(random.uniform(5, 14), random.uniform(0.1, 2), size)).astype(
            "i8"
        )
        micros[random.random(size) < 0.1 * seed] *= -1
        everything.append(micros)
        cuts = np.sort(random.integers(0, size + 1, 30))
        for batch, part in enumerate(np.split(micros, cuts)):
            if len(part):
                insert(cursor, stage.metric_name, part, age=batch, batch=batch)
    rows = stats(cursor)
    assert [row[0] for row in rows] == NAMES
    for micros, (_, average, least, greatest, *percentiles, samples) in zip(
        everything, rows, strict=True
    ):
        assert samples == len(micros)
        assert average == pytest.approx(micros.mean() / 1e3, rel=1e-9)
        assert (least, greatest) == pytest.approx((micros.min() / 1e3, micros.max() / 1e3))
        for share, got in zip((50, 95, 99), percentiles, strict=True):
            exact = np.percentile(micros, share, method="inverted_cdf") / 1e3
            assert got == pytest.approx(exact, rel=0.01)


def test_window_and_stages_are_kept_apart(cursor: Any) -> None:
    insert(cursor, "kafka_to_spark", np.array([5_000], dtype="i8"), age=100, batch=1)
    insert(cursor, "kafka_to_spark", np.array([9_000], dtype="i8"), age=200, batch=2)
    assert [row[7] for row in stats(cursor, "2 minutes")] == [0, 1, 0, 0]
    assert [row[7] for row in stats(cursor, "5 minutes")] == [0, 2, 0, 0]
    assert stats(cursor, "2 minutes")[1][1:7] == (5.0,) * 6


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM sensor_data ORDER BY time DESC LIMIT 10;",
        "SELECT * FROM pipeline_kpi ORDER BY time DESC LIMIT 10;",
        "SELECT * FROM get_pipeline_latency_stats('1 hour'::interval);",
    ],
)
def test_queries_of_the_first_version_work(cursor: Any, query: str) -> None:
    cursor.execute(query)
    columns = [column.name for column in cursor.description]
    assert columns[0] in {"time", "stage"}
    if "pipeline_kpi" in query:
        assert columns[:3] == ["time", "metric_name", "value_ms"]


def test_every_column_of_quantities_and_times_is_described(cursor: Any) -> None:
    cursor.execute(
        "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute "
        "WHERE attrelid = 'sensor_data'::regclass AND attnum > 0"
    )
    described = {name: text for name, text in cursor.fetchall() if text}
    assert "°C" in described["temperature"]
    assert "g/m³" in described["absolute_humidity"]
    assert {"time", "received_at", "appended_at", "read_at", "seq"} <= described.keys()


def test_reading_is_stored_once(cursor: Any) -> None:
    reading = (
        "INSERT INTO sensor_data (time, device_id, measurements, appended_at, read_at, batch_id, "
        "kafka_partition, kafka_offset) VALUES ('2026-01-01Z', 'a', %s, now(), now(), 0, 0, %s) "
        "ON CONFLICT (device_id, time, seq) DO NOTHING"
    )
    for offset in range(3):
        cursor.execute(reading, (json.dumps({"lux": 1.5}), offset))
    cursor.execute("SELECT seq, kafka_offset FROM sensor_data")
    assert cursor.fetchall() == [(-1, 0)]
