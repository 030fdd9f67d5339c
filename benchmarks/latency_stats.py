"""Time the stages' statistics over an hour: `python -m benchmarks.latency_stats --dsn DSN`."""

import argparse
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta

import numpy as np
import psycopg2
from psycopg2.extras import execute_values

from benchmarks.scratch import database, milliseconds, say, summary, versions
from spark_app.histogram import Histogram
from spark_app.schema import STAGES
from sql.rollups import refresh_kpi

# A little more than the window, so that the window is full.
_SECONDS = 3720
# Medians in ms and spread as the micro-batch path has them.
_LATENCIES = {
    "mqtt_to_kafka": (7, 0.9),
    "kafka_to_spark": (900, 0.4),
    "spark_to_timescaledb": (50, 0.7),
    "total_pipeline_latency": (1000, 0.4),
}
_INSERT = """
INSERT INTO pipeline_kpi (time, metric_name, value_ms, samples, min_ms, max_ms, sum_ms,
    negative_count, bucket_index, bucket_count, query, run_id, batch_id) VALUES %s
"""
_COUNT = """
SELECT count(*), avg(cardinality(bucket_index)) FROM pipeline_kpi
WHERE time > now() - interval '1 hour'
"""
# What is noted just before the timer's next run: the minute that ended and the running one.
_NOTE = """
INSERT INTO pipeline_kpi_changed
SELECT date_trunc('minute', now()) - n * interval '1 minute' FROM generate_series(0, 1) AS n
"""


def _rows(end: datetime, per_second: int, batch_ms: int) -> Iterator[tuple[object, ...]]:
    random = np.random.default_rng(1)
    for batch in range(_SECONDS * 1000 // batch_ms):
        moment = end - timedelta(milliseconds=batch * batch_ms)
        for stage in STAGES:
            median, sigma = _LATENCIES[stage.metric_name]
            size = per_second * batch_ms // 1000
            micros = random.lognormal(np.log(median * 1000), sigma, size).astype("i8")
            h = Histogram.of(micros)
            buckets = dict(sorted(h.buckets.items()))
            figures = ((h.least or 0) / 1e3, (h.greatest or 0) / 1e3, h.total / 1e3, h.negative)
            histogram = (list(buckets), list(buckets.values()))
            which = ("store", "00000000-0000-0000-0000-000000000000", batch)
            mean = h.total / h.samples / 1e3
            yield (moment, stage.metric_name, mean, h.samples, *figures, *histogram, *which)


def measure(dsn: str, batch_ms: int, arguments: argparse.Namespace) -> None:
    """Fill an hour and print a table row for each state of the roll-up."""
    with (
        closing(psycopg2.connect(dsn, options="-c timezone=UTC")) as connection,
        connection.cursor() as cursor,
    ):
        connection.autocommit = True
        cursor.execute("SELECT now() + interval '20 seconds'")
        ((end,),) = cursor.fetchall()
        rows = _rows(end, arguments.rate, batch_ms)
        execute_values(cursor, _INSERT, rows, page_size=len(STAGES))
        cursor.execute("ANALYZE")
        cursor.execute(_COUNT)
        figures = "{} | {} | {:.0f}".format(batch_ms, *cursor.fetchall()[0])

        def call() -> None:
            cursor.execute("SELECT * FROM get_pipeline_latency_stats('1 hour')")

        def line(state: str) -> None:
            say(f"| {figures} | {state} | {summary(milliseconds(call, arguments.calls))} |")

        line("nothing rolled up")
        with closing(psycopg2.connect(dsn)) as other:
            refresh_kpi(other)
        line("just rolled up")
        cursor.execute(_NOTE)
        line("just before the next run")
        cursor.execute("TRUNCATE pipeline_kpi, pipeline_kpi_1m, pipeline_kpi_changed")


def main() -> None:
    """Measure with batches of several lengths."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency_stats", description=__doc__)
    parser.add_argument("--dsn", required=True, help="role that may create databases, extensions")
    parser.add_argument("--rate", type=int, default=1000, help="readings per second")
    parser.add_argument("--batch-ms", type=int, nargs="+", default=[330, 250, 200])
    parser.add_argument("--calls", type=int, default=50, help="timed calls of each kind")
    arguments = parser.parse_args()
    with database(arguments.dsn) as dsn:
        with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
            say(versions(cursor))
        say("\n| batch, ms | KPI rows | buckets per row | state | median, ms | p95, ms |")
        say("|---|---|---|---|---|---|")
        for batch_ms in arguments.batch_ms:
            measure(dsn, batch_ms, arguments)


if __name__ == "__main__":
    main()
