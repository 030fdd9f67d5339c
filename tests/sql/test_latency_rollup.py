"""get_pipeline_latency_stats() whatever part of its window is rolled up."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spark_app.histogram import Histogram
from spark_app.schema import STAGES
from sql.rollups import refresh_kpi

INSERT = """
INSERT INTO pipeline_kpi (time, metric_name, value_ms, samples, min_ms, max_ms, sum_ms,
    negative_count, bucket_index, bucket_count, query, run_id, batch_id, gateway)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'store', gen_random_uuid(), 0, %s)
"""
METRICS = [*(stage.metric_name for stage in STAGES), "gateway_clock_offset"]


@dataclass(frozen=True)
class Batch:
    """One row of pipeline_kpi, and whether the roll-up runs once it is stored."""

    age_s: float
    metric: str
    seed: int
    size: int
    negative: float
    rolled_after: bool

    def micros(self) -> Any:
        random = np.random.default_rng(self.seed)
        values = random.lognormal(random.uniform(2, 14), random.uniform(0.1, 2), self.size)
        values[random.random(self.size) < self.negative] *= -1
        return values.astype("i8")


# Ages in no order: a batch whose figures waited for the database comes after its minute is rolled.
BATCHES = st.lists(
    st.builds(
        Batch,
        age_s=st.one_of(st.floats(0, 4000), st.floats(3500, 3700), st.floats(0, 150)),
        metric=st.sampled_from(METRICS),
        seed=st.integers(0, 2**32 - 1),
        size=st.integers(1, 400),
        negative=st.sampled_from([0, 0, 0.3, 1]),
        rolled_after=st.booleans(),
    ),
    max_size=25,
)


@pytest.fixture
def connection(dsn: str) -> Iterator[Any]:
    with closing(psycopg2.connect(dsn)) as opened:
        yield opened


def insert(connection: Any, moment: datetime, metric: str, micros: Any) -> None:
    h = Histogram.of(micros)
    buckets = dict(sorted(h.buckets.items()))
    gateway = "gw1" if metric.startswith("gateway") else None
    figures = (h.samples, (h.least or 0) / 1e3, (h.greatest or 0) / 1e3, h.total / 1e3, h.negative)
    histogram = (list(buckets), list(buckets.values()))
    row = (moment, metric, h.total / h.samples / 1e3, *figures, *histogram, gateway)
    with connection, connection.cursor() as cursor:
        cursor.execute(INSERT, row)


def stats(connection: Any) -> tuple[datetime, list[tuple[Any, ...]]]:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT now(), s.* FROM get_pipeline_latency_stats('1 hour') AS s")
        rows = cursor.fetchall()
    return rows[0][0], [row[2:] for row in rows]


@given(batches=BATCHES)
@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_figures_are_those_of_the_raw_rows(connection: Any, batches: list[Batch]) -> None:
    with connection, connection.cursor() as cursor:
        for table in ("pipeline_kpi", "pipeline_kpi_1m", "pipeline_kpi_changed"):
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - names from above
        cursor.execute("SELECT now()")
        begin = cursor.fetchone()[0]
    stored = []
    for batch in batches:
        moment = begin - timedelta(seconds=batch.age_s)
        insert(connection, moment, batch.metric, batch.micros())
        stored.append((moment, batch))
        if batch.rolled_after:
            refresh_kpi(connection)
    now, rows = stats(connection)
    for stage, (average, least, greatest, *percentiles, samples) in zip(STAGES, rows, strict=True):
        parts = [
            batch.micros()
            for moment, batch in stored
            if batch.metric == stage.metric_name and moment > now - timedelta(hours=1)
        ]
        assert samples == sum(map(len, parts))
        if not samples:
            assert {average, least, greatest, *percentiles} == {None}
            continue
        micros = np.concatenate(parts)
        assert average == pytest.approx(micros.mean() / 1e3, rel=1e-9, abs=1e-6)
        assert (least, greatest) == (micros.min() / 1e3, micros.max() / 1e3)
        for share, got in zip((50, 95, 99), percentiles, strict=True):
            exact = np.percentile(micros, share, method="inverted_cdf") / 1e3
            assert got == pytest.approx(exact, rel=0.01)


def test_rolled_up_minutes_answer_when_the_raw_rows_are_gone(connection: Any) -> None:
    _, empty = stats(connection)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT now() - interval '10 minutes'")
        moment = cursor.fetchone()[0]
    insert(connection, moment, "kafka_to_spark", np.array([1_000, 3_000], dtype="i8"))
    insert(connection, moment, "kafka_to_spark", np.array([2_000], dtype="i8"))
    assert refresh_kpi(connection) == 1
    _, before = stats(connection)
    assert before[1] == (2.0, 1.0, 3.0, pytest.approx(2.0, rel=0.01), 3.0, 3.0, 3)
    with connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM pipeline_kpi")
    assert stats(connection)[1] == before != empty


def test_a_late_row_does_not_wipe_out_a_minute_whose_raw_rows_are_gone(connection: Any) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT now() - interval '10 minutes'")
        moment = cursor.fetchone()[0]
    insert(connection, moment, "kafka_to_spark", np.arange(1, 100, dtype="i8"))
    refresh_kpi(connection)
    with connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM pipeline_kpi")
    insert(connection, moment, "kafka_to_spark", np.array([7], dtype="i8"))
    refresh_kpi(connection)
    assert stats(connection)[1][1][-1] == 99


def test_clock_metrics_are_rolled_up_by_gateway(connection: Any) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT now() - interval '10 minutes'")
        moment = cursor.fetchone()[0]
    insert(connection, moment, "gateway_clock_offset", np.array([-500], dtype="i8"))
    insert(connection, moment, "total_pipeline_latency", np.array([500], dtype="i8"))
    refresh_kpi(connection)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT metric_name, gateway, samples, min_ms, negative_count FROM pipeline_kpi_1m "
            "ORDER BY metric_name"
        )
        assert cursor.fetchall() == [
            ("gateway_clock_offset", "gw1", 1, -0.5, 1),
            ("total_pipeline_latency", "", 1, 0.5, 0),
        ]
