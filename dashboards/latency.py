"""Dashboard Latency history, and the SQL for latencies that other dashboards share."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from dashboards import kit

# pipeline_kpi's names, and what the users of the first version call them.
STAGES = {
    "total_pipeline_latency": "Total (bout en bout)",
    "mqtt_to_kafka": "MQTT → Kafka",
    "kafka_to_spark": "Kafka → Spark",
    "spark_to_timescaledb": "Spark → TimescaleDB",
}
# Upper bounds in ms of the heat map's cells; the last cell holds all above.
_BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 60_000, 3_600_000)


def percentiles(interval: str, stage: str, relation: str = "pipeline_kpi_1m") -> str:
    """SQL for p50, p95 and p99 of a stage in ms, by `interval`, from the merged histograms.

    As get_pipeline_latency_stats() makes them: a percentile is the smallest bucket with at least
    that share of the samples up to it, within 1 % of the exact figure.
    """
    return f"""
WITH buckets AS (
    SELECT $__timeGroup(k.time, {interval}) AS time, b.bucket, sum(b.number) AS number
    FROM {relation} AS k
    CROSS JOIN LATERAL unnest(k.bucket_index, k.bucket_count) AS b (bucket, number)
    WHERE $__timeFilter(k.time) AND k.metric_name = {stage}
    GROUP BY 1, 2
),
ranks AS (
    SELECT
        time,
        bucket,
        sum(number) OVER (PARTITION BY time ORDER BY bucket) AS up_to,
        sum(number) OVER (PARTITION BY time) AS samples
    FROM buckets
)
SELECT
    time,
    latency_bucket_ms(min(bucket) FILTER (WHERE up_to >= 0.50 * samples)) AS p50,
    latency_bucket_ms(min(bucket) FILTER (WHERE up_to >= 0.95 * samples)) AS p95,
    latency_bucket_ms(min(bucket) FILTER (WHERE up_to >= 0.99 * samples)) AS p99
FROM ranks
GROUP BY time
ORDER BY time
"""


def _cells() -> str:
    """SQL for the heat map: samples by interval, a column for each bound."""
    between = zip((None, *_BOUNDS[:-1]), (*_BOUNDS[:-1], None), _BOUNDS, strict=True)
    columns = []
    for low, high, name in between:
        ends = [f"ms > {low}"] if low is not None else []
        ends += [f"ms <= {high}"] if high is not None else []
        columns.append(
            f'    coalesce(sum(number) FILTER (WHERE {" AND ".join(ends)}), 0) AS "{name}"'
        )
    return (
        "SELECT\n    time,\n"
        + ",\n".join(columns)
        + """
FROM (
    SELECT
        $__timeGroup(k.time, $__interval) AS time,
        latency_bucket_ms(b.bucket) AS ms,
        b.number
    FROM pipeline_kpi_1m AS k
    CROSS JOIN LATERAL unnest(k.bucket_index, k.bucket_count) AS b (bucket, number)
    WHERE $__timeFilter(k.time) AND k.metric_name = ${stage:sqlstring}
) AS samples
GROUP BY time
ORDER BY time
"""
    )


_SUMMARY = """
SELECT stage, p50_ms, p95_ms, p99_ms, avg_ms, min_ms, max_ms, samples
FROM get_pipeline_latency_stats(now() - $__timeFrom()::timestamptz)
"""
_SAMPLES = """
SELECT
    $__timeGroup(time, '1h') AS time,
    sum(samples) AS measured,
    sum(negative_count) AS negative
FROM pipeline_kpi_1m
WHERE $__timeFilter(time) AND metric_name = ${stage:sqlstring}
GROUP BY 1
ORDER BY 1
"""
_CLOCKS = """
SELECT
    $__timeGroup(time, $__interval) AS time,
    gateway AS metric,
    sum(sum_ms) / sum(samples) AS value
FROM pipeline_kpi_1m
WHERE $__timeFilter(time) AND metric_name = 'gateway_clock_offset'
GROUP BY 1, 2
ORDER BY 1
"""
_MS = {f"{name}_ms": "ms" for name in ("p50", "p95", "p99", "avg", "min", "max")}


def build() -> Dashboard:
    """The dashboard."""
    return (
        kit.board(
            "edge-latency",
            "Historique des latences / Latency history",
            "How long readings took in each stage: histograms, and percentiles by hour and day.",
            since="now-24h",
            refresh="1m",
        )
        .with_variable(
            kit.option(
                "stage",
                "Étape / Stage",
                "Stage whose latency the panels below the table show.",
                [(shown, name) for name, shown in STAGES.items()],
            )
        )
        .with_panel(
            kit.listing(
                "Latences / Latencies",
                "get_pipeline_latency_stats() from the begin of the time range until now, whatever "
                "its end is.",
                kit.rows(_SUMMARY),
                units=_MS,
                size=(24, 6),
            )
        )
        .with_row(Row("Étape choisie / Chosen stage"))
        .with_panel(
            kit.heat(
                "Répartition / Distribution",
                "Readings by time of commit and latency; a cell's name is its upper bound, and the "
                "last holds all above.",
                kit.series(_cells()),
                unit="ms",
                size=(24, 10),
            )
        )
        .with_panel(
            kit.lines(
                "Percentiles par heure / Percentiles by hour",
                "Of all readings committed in the hour, from the merged histograms, to within 1 %.",
                kit.series(percentiles("'1h'", "${stage:sqlstring}")),
                unit="ms",
                log=True,
            )
        )
        .with_panel(
            kit.lines(
                "Percentiles par jour / Percentiles by day",
                "The same by day (UTC) over the last 14 days, whatever the time range is.",
                kit.series(percentiles("'1d'", "${stage:sqlstring}")),
                unit="ms",
                log=True,
            ).time_from("14d")
        )
        .with_row(Row("Horloges / Clocks"))
        .with_panel(
            kit.lines(
                "Échantillons / Samples",
                "Readings measured in each hour, and of these the ones with a latency below zero: "
                "two hosts' clocks differ by more than the stage took.",
                kit.series(_SAMPLES),
                unit="short",
            )
        )
        .with_panel(
            kit.lines(
                "Décalage des passerelles / Gateway clock offset",
                "Mean difference of each gateway's clock from true time, as its chrony has it.",
                kit.series(_CLOCKS),
                unit="ms",
                least=None,
                interval="1m",
            )
        )
    )
