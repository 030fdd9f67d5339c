"""Dashboard Pipeline: how fast readings get through, and what waits or is missing."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.builders.timeseries import Panel

from dashboards import kit
from dashboards.latency import STAGES, percentiles

_NOW = """
SELECT stage, p50_ms, p95_ms, p99_ms, max_ms, samples
FROM get_pipeline_latency_stats('2 minutes')
"""
_LEFT_OUT = """
SELECT
    $__timeGroup(time, $__interval) AS time,
    sum(rows_duplicate) / ($__interval_ms / 1000.0) AS duplicate,
    sum(rows_late) / ($__interval_ms / 1000.0) AS late,
    sum(rows_rejected) / ($__interval_ms / 1000.0) AS "dead letters"
FROM processing_metrics
WHERE $__timeFilter(time) AND query = 'store'
GROUP BY 1
ORDER BY 1
"""
_BATCHES = """
SELECT
    $__timeGroup(time, $__interval) AS time,
    max(trigger_ms) AS "whole batch",
    max(latest_offset_ms) AS "newest offsets",
    max(query_planning_ms) AS planning,
    max(wal_commit_ms) AS "offsets to checkpoint",
    max(add_batch_ms) AS "read, transform, store",
    max(commit_offsets_ms) AS "commit to checkpoint"
FROM processing_metrics
WHERE $__timeFilter(time) AND query = 'store'
GROUP BY 1
ORDER BY 1
"""
_MISSING = """
SELECT coalesce(sum(last_seq - first_seq + 1), 0) AS missing
FROM ledger_gap
WHERE closed_at IS NULL AND hour > now() - INTERVAL '1 day'
"""
_GAPS = """
SELECT
    device_id AS device,
    sum(last_seq - first_seq + 1) AS missing,
    count(*) AS gaps,
    min(hour) AS "first hour",
    max(hour) AS "last hour",
    max(opened_at) AS noticed
FROM ledger_gap
WHERE
    closed_at IS NULL
    AND hour BETWEEN $__timeFrom()::timestamptz - INTERVAL '1 day' AND $__timeTo()
GROUP BY device_id
ORDER BY missing DESC
LIMIT 200
"""


def _stage(name: str) -> Panel:
    limit = f'max(edge_latency_objective_milliseconds{{stage="{STAGES[name]}", quantile="0.95"}})'
    panel = kit.lines(
        STAGES[name],
        "p50, p95 and p99 of all readings committed in each interval. The dashed line is the "
        "objective for p95: variable monitoring_latency_objectives of role monitoring.",
        kit.series(percentiles("$__interval", f"'{name}'", "pipeline_kpi")),
        kit.prom(limit, "objective"),
        unit="ms",
        log=True,
    )
    return kit.dashed(panel, "objective")


def _latency(board: Dashboard) -> Dashboard:
    board.with_row(Row("Latence / Latency"))
    board.with_panel(
        kit.listing(
            "Latences / Latencies",
            "get_pipeline_latency_stats() over the last two minutes.",
            kit.rows(_NOW),
            units={f"{name}_ms": "ms" for name in ("p50", "p95", "p99", "max")},
            size=(12, 6),
        )
    )
    board.with_panel(
        kit.bars(
            "Objectif consommé / Objective used",
            "p95 over the last five minutes as a share of its objective; above 100 % the alert "
            "LatencyObjectiveBroken comes after ten minutes.",
            kit.prom(
                "max by (stage) (sql_edge_latency_milliseconds "
                "/ on (stage, quantile) group_left () edge_latency_objective_milliseconds)",
                "{{stage}}",
            ),
            unit="percentunit",
            size=(12, 6),
            limits=((None, "green"), (0.8, "orange"), (1, "red")),
        )
    )
    for name in ("mqtt_to_kafka", "kafka_to_spark", "spark_to_timescaledb"):
        board.with_panel(_stage(name).span(8))
    return board.with_panel(_stage("total_pipeline_latency").span(24))


def _flow(board: Dashboard) -> Dashboard:
    return (
        board.with_row(Row("Débit / Throughput"))
        .with_panel(
            kit.lines(
                "Débit par étape / Throughput by stage",
                "Readings per second: received by the bridges, delivered to Kafka, stored in "
                "TimescaleDB, archived in MinIO. In quiet times the lines are one.",
                kit.prom("sum(rate(bridge_received_total[$__rate_interval]))", "MQTT"),
                kit.prom("sum(rate(bridge_forwarded_total[$__rate_interval]))", "Kafka"),
                kit.prom("sum(rate(job_rows_stored_total[$__rate_interval]))", "TimescaleDB"),
                kit.prom("sum(rate(job_archived_rows_total[$__rate_interval]))", "MinIO"),
                unit="cps",
            )
        )
        .with_panel(
            kit.lines(
                "Phases du lot / Phases of a batch",
                "Longest batch of the store query in each interval, and Spark's figures for its "
                "phases. Empty while the store query works in real time.",
                kit.series(_BATCHES),
                unit="ms",
            )
        )
    )


def _waiting(board: Dashboard) -> Dashboard:
    return (
        board.with_row(Row("En attente / Waiting"))
        .with_panel(
            kit.lines(
                "Retard / Kafka lag",
                "Records in Kafka that a query had not read when its last batch ended.",
                kit.prom("max by (query) (job_kafka_lag_records)", "{{query}}"),
                unit="short",
                size=(8, 8),
            )
        )
        .with_panel(
            kit.lines(
                "File d'attente / Spool",
                "Messages in each gateway's spool that Kafka does not have.",
                kit.prom("bridge_spool_records", "{{host}}"),
                unit="short",
                size=(8, 8),
            )
        )
        .with_panel(
            kit.lines(
                "Plus ancien message / Oldest message waiting",
                "Age of the oldest message of each gateway that Kafka does not have.",
                kit.prom("bridge_oldest_waiting_seconds", "{{host}}"),
                unit="s",
                size=(8, 8),
                limit=60,
            )
        )
    )


def _account(board: Dashboard) -> Dashboard:
    return (
        board.with_row(Row("Comptes / Accounts"))
        .with_panel(
            kit.figure(
                "Manquantes / Missing",
                "Readings of the last day that the devices numbered and that never arrived, by the "
                "ledger's open gaps. To be nothing.",
                kit.rows(_MISSING),
                unit="none",
                limits=((None, "green"), (1, "red")),
            )
        )
        .with_panel(
            kit.figure(
                "Refusés par Kafka / Refused by Kafka",
                "Messages that Kafka refused for good, in the time range; they are in the "
                "bridges' dead-letter folders.",
                kit.prom("sum(increase(bridge_dead_letters_total[$__range]))"),
                unit="none",
                limits=((None, "green"), (1, "red")),
            )
        )
        .with_panel(
            kit.figure(
                "Perdus par Mosquitto / Dropped by the broker",
                "Messages that the gateways' MQTT brokers dropped, by their own count, in the time "
                "range.",
                kit.prom("sum(increase(bridge_broker_dropped_total[$__range]))"),
                unit="none",
                limits=((None, "green"), (1, "red")),
            )
        )
        .with_panel(
            kit.figure(
                "Requêtes actives / Queries running",
                "Share of the streaming job's queries that run: store, archive and detect.",
                kit.prom("100 * avg(job_query_up)"),
                unit="percent",
                limits=((None, "red"), (100, "green")),
            )
        )
        .with_panel(
            kit.lines(
                "Mises à part / Left out",
                "Per second: readings that were stored already (duplicates, left out), readings "
                "that came long after their capture (late, stored), and records that are no "
                "readings (in the topic sensor.dead_letter).",
                kit.series(_LEFT_OUT),
                unit="cps",
            )
        )
        .with_panel(
            kit.listing(
                "Lacunes / Ledger gaps",
                "Devices with numbers that did not arrive, captured in the time range or on the "
                "day before it; the most missing first.",
                kit.rows(_GAPS),
                size=(12, 8),
            )
        )
    )


def build() -> Dashboard:
    """The dashboard."""
    board = kit.board(
        "edge-pipeline",
        "Pipeline",
        "How fast readings get from the sensors into the database, and what waits or is missing.",
        since="now-15m",
        refresh="5s",
    )
    return _account(_waiting(_flow(_latency(board))))
