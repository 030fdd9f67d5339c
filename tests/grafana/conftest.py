"""A migrated database with readings, latencies and gaps, and a role that may only read it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from spark_app.histogram import Histogram
from spark_app.schema import STAGES
from sql.maintain import maintain
from sql.migrate import migrate
from tests.sql.conftest import scratch_database

HOURS = 30
_READINGS = """
INSERT INTO sensor_data (time, device_id, seq, temperature, humidity, site, room, gateway,
    quality_flags, received_at, appended_at, read_at, batch_id, kafka_partition, kafka_offset)
SELECT now() - n * INTERVAL '20 seconds', device, 1000000 - n, 20 + n %% 7, 50 - n %% 5,
    'site ' || device %% 2, CASE WHEN device > 1 THEN 'room' END, 'gw' || device %% 2,
    CASE WHEN n %% 6 = 0 THEN ARRAY['ts_missing', 'gateway_clock'] ELSE '{}' END,
    now() - n * INTERVAL '20 seconds', now(), now(), 0, 0, n
FROM generate_series(%(first)s, %(last)s) AS n, unnest(%(devices)s) AS device
WHERE n %% 100 <> 50
"""
_KPI = """
INSERT INTO pipeline_kpi (time, metric_name, value_ms, samples, min_ms, max_ms, sum_ms,
    negative_count, bucket_index, bucket_count, query, run_id, batch_id, gateway)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'store', gen_random_uuid(), 0, %s)
"""
_BATCHES = """
INSERT INTO processing_metrics (time, query, run_id, batch_id, rows_in, rows_stored,
    rows_duplicate, rows_late, rows_rejected, bytes, committed_at, trigger_ms, latest_offset_ms,
    query_planning_ms, wal_commit_ms, add_batch_ms, commit_offsets_ms, kafka_lag, spool_records)
SELECT now() - n * INTERVAL '10 seconds', 'store', gen_random_uuid(), n, 10, 7, 1, 1, 1, 1000,
    now(), 100, 10, 10, 10, 60, 10, 0, 0
FROM generate_series(1, 10000) AS n
"""
_METRICS = [stage.metric_name for stage in STAGES] + [
    f"gateway_clock_{x}" for x in ("offset", "error")
]


@dataclass(frozen=True)
class Filled:
    """The database as Grafana's role sees it, and the latencies in it by stage and time, in ms."""

    dsn: str
    latencies: dict[str, dict[datetime, Any]]


def _fill(owner: str) -> dict[str, dict[datetime, Any]]:
    random = np.random.default_rng(8)
    now = datetime.now(UTC)
    latencies: dict[str, dict[datetime, Any]] = {}
    with closing(psycopg2.connect(owner)) as connection, connection, connection.cursor() as cursor:
        # Device 0 fell silent an hour ago.
        cursor.execute(_READINGS, {"first": 1, "last": HOURS * 180, "devices": [1, 2, 3]})
        cursor.execute(_READINGS, {"first": 180, "last": HOURS * 180, "devices": [0]})
        # How far the store query has come; the ledger reads no further.
        cursor.execute("INSERT INTO kafka_position VALUES ('sensor.raw', 0, 1000000, 0, 1000000)")
        cursor.execute(
            "INSERT INTO anomalies (time, device_id, quantity, kind, score, detector_version) "
            "VALUES (now() - INTERVAL '5 minutes', '1', 'temperature', 'outlier', 1.5, 1)"
        )
        cursor.execute(_BATCHES)
        for metric in _METRICS:
            gateway = "gw1" if metric.startswith("gateway") else None
            latencies[metric] = {}
            for age in range(5, HOURS * 3600, 300):
                micros = random.lognormal(10, 1, 50).astype("i8")
                h = Histogram.of(micros)
                buckets = dict(sorted(h.buckets.items()))
                moment = now - timedelta(seconds=age)
                figures = (h.least / 1e3, h.greatest / 1e3, h.total / 1e3, h.negative)  # type: ignore[operator]
                row = (moment, metric, float(micros.mean()) / 1e3, h.samples, *figures)
                cursor.execute(_KPI, (*row, list(buckets), list(buckets.values()), gateway))
                latencies[metric][moment] = micros / 1e3
    maintain(owner)
    return latencies


@pytest.fixture(scope="session")
def filled() -> Iterator[Filled]:
    """Yield a filled database, as a role like the one that role timescaledb makes for Grafana."""
    admin_dsn = os.environ.get("EDGE_TEST_DSN")
    if not admin_dsn:
        pytest.skip("EDGE_TEST_DSN is not set: no TimescaleDB to run the dashboards' SQL on")
    reader = f"edge_test_{secrets.token_hex(4)}"
    with scratch_database(admin_dsn) as owner:
        migrate(owner)
        latencies = _fill(owner)
        there = make_dsn(admin_dsn, dbname=parse_dsn(owner)["dbname"])
        with closing(psycopg2.connect(there)) as connection:
            with connection, connection.cursor() as cursor:
                cursor.execute(f"CREATE ROLE {reader} LOGIN PASSWORD '{reader}'")
                cursor.execute(f"ALTER ROLE {reader} SET default_transaction_read_only = on")
                cursor.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}")
            yield Filled(make_dsn(owner, user=reader, password=reader), latencies)
            with connection, connection.cursor() as cursor:
                cursor.execute(f"DROP OWNED BY {reader}; DROP ROLE {reader}")
