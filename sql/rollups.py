"""Bring the roll-ups up to date with the rows that were noted since the last run."""

from typing import Any

# Of each reading's minute, from the raw rows; the continuous aggregate has the same expressions.
_AGGREGATES = {
    "site": "last(d.site, d.time)",
    "room": "last(d.room, d.time)",
    "samples": "count(*)",
    "flagged": "count(*) FILTER (WHERE cardinality(d.quality_flags) > 0)",
    "temperature_samples": "count(d.temperature)",
    "temperature_avg": "avg(d.temperature)",
    "temperature_min": "min(d.temperature)",
    "temperature_max": "max(d.temperature)",
    "humidity_samples": "count(d.humidity)",
    "humidity_avg": "avg(d.humidity)",
    "humidity_min": "min(d.humidity)",
    "humidity_max": "max(d.humidity)",
    "dew_point_samples": "count(d.dew_point)",
    "dew_point_avg": "avg(d.dew_point)",
    "absolute_humidity_samples": "count(d.absolute_humidity)",
    "absolute_humidity_avg": "avg(d.absolute_humidity)",
}


def _merged(column: str) -> str:
    """Return the expression that makes a column of a longer interval out of shorter ones'."""
    quantity, _, figure = column.rpartition("_")
    match figure:
        case "site" | "room":
            return f"last({column}, time)"
        case "avg":
            weight = f"{quantity}_samples"
            return f"sum({column} * {weight}) / nullif(sum({weight}), 0)"
        case "min" | "max":
            return f"{figure}({column})"
        case _:
            return f"sum({column})::bigint"


def _replace_if_more(relation: str, key: str, columns: list[str]) -> str:
    """Return the end of an INSERT that only ever replaces a row by one that saw more.

    Rows are never changed nor deleted one by one, so equal counts are equal rows; and where raw
    rows went with their retention, what is left of them does not wipe out the figures of all.
    """
    values = ", ".join(f"{column} = excluded.{column}" for column in columns)
    return f"""
    ON CONFLICT ({key}) DO UPDATE SET {values}
    WHERE excluded.samples > {relation}.samples
    """


_COLUMNS = list(_AGGREGATES)
_NAMES = ", ".join(_COLUMNS)
_SELECTED = ", ".join(_AGGREGATES.values())
_OF_MINUTE = """
    d.time >= n.minute AND d.time < n.minute + INTERVAL '1 minute'
    AND d.time >= %(start)s AND d.time < %(end)s
"""
_MINUTES = f"""
WITH noted AS MATERIALIZED (
    DELETE FROM sensor_data_changed
    WHERE minute >= %(start)s AND minute < %(end)s
    RETURNING minute, device_id
),
whole AS (SELECT DISTINCT minute FROM noted WHERE device_id IS NULL),
single AS (
    SELECT DISTINCT minute, device_id FROM noted
    WHERE device_id IS NOT NULL AND minute NOT IN (SELECT minute FROM whole)
),
made AS (
    INSERT INTO sensor_data_1m (time, device_id, {_NAMES})
    SELECT n.minute, m.* FROM whole AS n CROSS JOIN LATERAL (
        SELECT d.device_id, {_SELECTED} FROM sensor_data AS d
        WHERE {_OF_MINUTE}
        GROUP BY d.device_id
    ) AS m
    UNION ALL
    SELECT n.minute, m.* FROM single AS n CROSS JOIN LATERAL (
        SELECT d.device_id, {_SELECTED} FROM sensor_data AS d
        WHERE d.device_id = n.device_id AND {_OF_MINUTE}
        GROUP BY d.device_id
    ) AS m
    {_replace_if_more("sensor_data_1m", "device_id, time", _COLUMNS)}
    RETURNING time
)
SELECT DISTINCT date_trunc('hour', time, 'UTC') FROM made
"""  # noqa: S608 - constants of this module only
_HOURS = f"""
INSERT INTO sensor_data_1h (time, device_id, {_NAMES})
SELECT h.hour, m.* FROM unnest(%(hours)s::timestamptz[]) AS h (hour) CROSS JOIN LATERAL (
    SELECT device_id, {", ".join(map(_merged, _COLUMNS))} FROM sensor_data_1m
    WHERE time >= h.hour AND time < h.hour + INTERVAL '1 hour'
    GROUP BY device_id
) AS m
{_replace_if_more("sensor_data_1h", "device_id, time", _COLUMNS)}
"""  # noqa: S608 - constants of this module only

_KPI_FIGURES = ["samples", "min_ms", "max_ms", "sum_ms", "negative_count"]
_KPI_COLUMNS = [*_KPI_FIGURES, "bucket_index", "bucket_count"]
_KPI_MINUTES = f"""
WITH noted AS MATERIALIZED (
    DELETE FROM pipeline_kpi_changed
    WHERE minute >= %(start)s AND minute < %(end)s
    RETURNING minute
),
changed AS (SELECT DISTINCT minute FROM noted),
raw AS MATERIALIZED (
    SELECT c.minute, coalesce(k.gateway, '') AS source, k.* FROM changed AS c CROSS JOIN LATERAL (
        SELECT * FROM pipeline_kpi AS k
        WHERE k.time >= c.minute AND k.time < c.minute + INTERVAL '1 minute'
            AND k.time >= %(start)s AND k.time < %(end)s
    ) AS k
),
figures AS (
    SELECT minute, metric_name, source, sum(samples)::bigint AS samples, min(min_ms) AS min_ms,
        max(max_ms) AS max_ms, sum(sum_ms) AS sum_ms, sum(negative_count)::bigint AS negative_count
    FROM raw GROUP BY minute, metric_name, source
),
buckets AS (
    SELECT minute, metric_name, source, bucket, sum(number)::bigint AS number
    FROM raw CROSS JOIN LATERAL unnest(bucket_index, bucket_count) AS b (bucket, number)
    GROUP BY minute, metric_name, source, bucket
),
histograms AS (
    SELECT minute, metric_name, source, array_agg(bucket ORDER BY bucket) AS bucket_index,
        array_agg(number ORDER BY bucket) AS bucket_count
    FROM buckets GROUP BY minute, metric_name, source
)
INSERT INTO pipeline_kpi_1m (time, metric_name, gateway, {", ".join(_KPI_COLUMNS)})
SELECT minute, metric_name, source, {", ".join(_KPI_COLUMNS)}
FROM figures INNER JOIN histograms USING (minute, metric_name, source)
{_replace_if_more("pipeline_kpi_1m", "metric_name, gateway, time", _KPI_COLUMNS)}
"""  # noqa: S608 - constants of this module only

# The running minute is left for later: it would only be made again.
_DAYS = """
SELECT DISTINCT
    date_trunc('day', minute, 'UTC'),
    least(
        date_trunc('day', minute, 'UTC') + INTERVAL '1 day',
        date_trunc('minute', now(), 'UTC')
    )
FROM {table} WHERE minute < date_trunc('minute', now(), 'UTC')
ORDER BY 1 DESC
"""


def refresh_readings(connection: Any) -> int:  # noqa: ANN401 - psycopg2 and its pools alike
    """Make the minutes and hours again whose readings changed; for the Apache edition.

    Each day is one transaction, the newest first. One statement takes away the notes that its
    snapshot sees, and sees the rows that came with them: a row that is stored meanwhile leaves its
    note for the next run.

    Args:
        connection: as the owner of the tables, no transaction open, no other run at the same time.

    Returns:
        How many days had changes.
    """
    days = _changed_days(connection, "sensor_data_changed")
    for start, end in days:
        with connection, connection.cursor() as cursor:
            cursor.execute(_MINUTES, {"start": start, "end": end})
            hours = [hour for (hour,) in cursor.fetchall()]
            cursor.execute(_HOURS, {"hours": hours})
    return len(days)


def refresh_kpi(connection: Any) -> int:  # noqa: ANN401 - psycopg2 and its pools alike
    """Merge the histograms of each minute that changed, as `refresh_readings` does it."""
    days = _changed_days(connection, "pipeline_kpi_changed")
    for start, end in days:
        with connection, connection.cursor() as cursor:
            cursor.execute(_KPI_MINUTES, {"start": start, "end": end})
    return len(days)


def _changed_days(connection: Any, table: str) -> list[tuple[Any, Any]]:  # noqa: ANN401
    with connection, connection.cursor() as cursor:
        cursor.execute(_DAYS.format(table=table))
        return list(cursor.fetchall())
