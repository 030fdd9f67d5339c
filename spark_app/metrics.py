"""The job's own figures: rows of pipeline_kpi and processing_metrics, and Prometheus metrics."""

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import Counter, Gauge
from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
    StreamingQueryProgress,
)

from spark_app.histogram import Histogram
from spark_app.sinks.outcome import Outcome

log = logging.getLogger("job.metrics")

QUERY_UP = Gauge("job_query_up", "1 while the query runs", ["query"])
_STORED = Counter("job_rows_stored_total", "Readings new in TimescaleDB")
_DUPLICATE = Counter("job_rows_duplicate_total", "Readings that TimescaleDB had already")
_LATE = Counter("job_rows_late_total", "Readings appended to Kafka long after their capture")
_REJECTED = Counter("job_rows_rejected_total", "Records that are no readings")
_ARCHIVED = Counter("job_archived_rows_total", "Readings written to S3")
_OBJECTS = Counter("job_archive_objects_total", "Objects written to S3")
_ANOMALIES = Counter("job_anomalies_total", "Anomalies new in TimescaleDB", ["kind"])
_LAG = Gauge("job_kafka_lag_records", "Records not yet read when the last batch ended", ["query"])
_DROPPED = Counter("job_metrics_dropped_total", "Batches whose figures did not reach the database")

_KPI = """
INSERT INTO pipeline_kpi (time, metric_name, value_ms, samples, min_ms, max_ms, sum_ms,
    negative_count, bucket_index, bucket_count, query, run_id, batch_id, gateway)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_PROCESSING = """
INSERT INTO processing_metrics (time, query, run_id, batch_id, rows_in, rows_stored,
    rows_duplicate, rows_late, rows_rejected, bytes, committed_at, trigger_ms, latest_offset_ms,
    query_planning_ms, wal_commit_ms, add_batch_ms, commit_offsets_ms, kafka_lag, spool_records)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_PHASES = (
    "triggerExecution",
    "latestOffset",
    "queryPlanning",
    "walCommit",
    "addBatch",
    "commitOffsets",
)
# Of the real-time writer, which writes them itself (spark_app/jvm).
_FIGURES_SINCE = """
SELECT time, batch_id, rows_stored, rows_duplicate, rows_late, rows_rejected, kafka_lag
FROM processing_metrics WHERE query = 'store' AND time > %s
"""
_FOLLOW_SECONDS = 5.0
_FOLLOW_OVERLAP = timedelta(minutes=1)
_MOST_WAITING = 10_000
_RETRY_SECONDS = 5.0

Rows = list[tuple[str, tuple[object, ...]]]


class Ledger(StreamingQueryListener):
    """Joins what a batch's writers counted with what Spark measured of it."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        """Take a function that opens a connection to the database."""
        self._connect = connect
        self._outcomes: dict[tuple[str, int], Outcome] = {}
        # While the database is down the oldest figures go first; readings are elsewhere.
        self._waiting: deque[Rows] = deque()
        self._wake = threading.Event()
        # Told the run of a query that has read all that there is.
        self.on_idle: Callable[[str], None] = lambda _run: None

    def note(self, query: str, number: int, outcome: Outcome) -> None:
        """Take a batch's figures from its query; `number` is what Spark calls the batch."""
        if query == "store":
            _STORED.inc(outcome.stored)
            _DUPLICATE.inc(outcome.duplicate)
            _LATE.inc(outcome.late)
            _REJECTED.inc(outcome.rejected)
        else:
            _ARCHIVED.inc(outcome.stored)
            _OBJECTS.inc(outcome.objects)
        self._outcomes[query, number] = outcome

    def onQueryStarted(self, event: QueryStartedEvent) -> None:  # noqa: N802 - Spark's name
        """Do nothing: the keeper knows."""

    def onQueryIdle(self, event: QueryIdleEvent) -> None:  # noqa: N802 - Spark's name
        """Tell who asked to know."""
        self.on_idle(str(event.runId))

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:  # noqa: N802 - Spark's name
        """Do nothing: the keeper knows."""

    def onQueryProgress(self, event: QueryProgressEvent) -> None:  # noqa: N802 - Spark's name
        """Pass a finished batch's figures on to the database."""
        progress = event.progress
        query = progress.name or ""
        lag = kafka_lag(progress)
        if lag is not None:
            _LAG.labels(query).set(lag)
        outcome = self._outcomes.pop((query, progress.batchId), None)
        if outcome is None:
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft()
            _DROPPED.inc()
        self._waiting.append(_rows(progress, outcome, lag))
        self._wake.set()

    def write_forever(self) -> None:
        """Write figures as they come; runs in a thread of its own."""
        connection = None
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                try:
                    connection = connection or self._connect()
                    _write(connection, self._waiting[0])
                    self._waiting.popleft()
                except Exception as error:  # noqa: BLE001 - figures never stop the job
                    log.debug("figures wait: %s", error)
                    if connection is not None:
                        connection.close()
                    connection = None
                    time.sleep(_RETRY_SECONDS)


def count_anomalies(kinds: Mapping[str, int]) -> None:
    """Count anomalies that are new, so many of each kind."""
    for kind, count in kinds.items():
        _ANOMALIES.labels(kind).inc(count)


def follow_figures(connect: Callable[[], Any]) -> None:
    """Show what the real-time writer counts, from the rows that it writes each second.

    Never returns; runs in a thread of its own.
    """
    connection = None
    since = datetime.now(UTC)
    seen: set[tuple[Any, ...]] | None = None
    while True:
        try:
            connection = connection or connect()
            with connection, connection.cursor() as cursor:
                # Another executor's row may come a little later than one that is newer.
                cursor.execute(_FIGURES_SINCE, (since - _FOLLOW_OVERLAP,))
                rows = set(cursor.fetchall())
            # What the first look finds is from before the job's start.
            for moment, _, *figures in sorted(
                rows - (rows if seen is None else seen), key=lambda row: row[:2]
            ):
                since = max(since, moment)
                _show(*figures)
            seen = rows
        except Exception as error:  # noqa: BLE001 - figures never stop the job
            log.debug("figures wait: %s", error)
            if connection is not None:
                connection.close()
            connection = None
        time.sleep(_FOLLOW_SECONDS)


def _show(stored: int, duplicate: int, late: int, rejected: int, lag: int | None) -> None:
    _STORED.inc(stored)
    _DUPLICATE.inc(duplicate)
    _LATE.inc(late)
    _REJECTED.inc(rejected)
    if lag is not None:
        _LAG.labels("store").set(lag)


def kafka_lag(progress: StreamingQueryProgress) -> int | None:
    """Return how many records Kafka had that the batch had not read; None if Spark does not say."""
    lag = 0
    for source in progress.sources:
        try:
            latest, end = json.loads(source.latestOffset), json.loads(source.endOffset)
        except ValueError:
            # "None": it does not know after a restart.
            return None
        for topic, partitions in latest.items():
            for partition, offset in partitions.items():
                lag += max(offset - end.get(topic, {}).get(partition, 0), 0)
    return lag


def _rows(progress: StreamingQueryProgress, outcome: Outcome, lag: int | None) -> Rows:
    committed = datetime.fromtimestamp(outcome.committed_ns // 1000 / 1e6, UTC)
    which = (progress.name, str(progress.runId), outcome.batch_id)
    measured: list[tuple[str | None, dict[str, Histogram]]] = [
        (None, outcome.latencies),
        *outcome.clocks.items(),
    ]
    rows: Rows = [
        (_KPI, (committed, name, *_figures(histogram), *which, gateway))
        for gateway, histograms in measured
        for name, histogram in histograms.items()
        if histogram.samples
    ]
    counts = (
        outcome.rows_in,
        outcome.stored,
        outcome.duplicate,
        outcome.late,
        outcome.rejected,
        outcome.payload_bytes,
    )
    phases = (progress.durationMs.get(phase) for phase in _PHASES)
    waiting = sum(waiting for _, waiting in outcome.spools.values()) if outcome.spools else None
    rows.append(
        (_PROCESSING, (progress.timestamp, *which, *counts, committed, *phases, lag, waiting))
    )
    return rows


def _figures(histogram: Histogram) -> tuple[object, ...]:
    buckets = dict(sorted(histogram.buckets.items()))
    return (
        histogram.total / histogram.samples / 1000,
        histogram.samples,
        (histogram.least or 0) / 1000,
        (histogram.greatest or 0) / 1000,
        histogram.total / 1000,
        histogram.negative,
        list(buckets),
        list(buckets.values()),
    )


def _write(connection: Any, rows: Rows) -> None:  # noqa: ANN401 - psycopg2 may be missing
    with connection, connection.cursor() as cursor:
        for statement, values in rows:
            cursor.execute(statement, values)
