-- All figures of the report as one JSON document. One statement, so that they are of one moment.
-- A setting of the session, report.hours, says how far back.
WITH RECURSIVE asked AS MATERIALIZED (
    SELECT
        now() AS until,
        length,
        now() - length AS since
    FROM (SELECT current_setting('report.hours')::float8 * INTERVAL '1 hour' AS length) AS given
),
-- The devices that sent in the last week. The primary key leads from one to the next, so that this
-- costs no scan.
known (device_id) AS (
    SELECT min(d.device_id) FROM sensor_data AS d WHERE d.time > now() - INTERVAL '7 days'
    UNION ALL
    SELECT (
        SELECT min(d.device_id)
        FROM sensor_data AS d
        WHERE d.device_id > known.device_id AND d.time > now() - INTERVAL '7 days'
    )
    FROM known
    WHERE known.device_id IS NOT NULL
),
newest AS MATERIALIZED (
    SELECT r.*
    FROM known
    CROSS JOIN LATERAL (
        SELECT
            d.device_id, d.time, d.site, d.room, d.model, d.gateway, d.temperature, d.humidity, d.quality_flags,
            coalesce(d.received_at, d.appended_at) AS received_at
        FROM sensor_data AS d
        WHERE d.device_id = known.device_id AND d.time > now() - INTERVAL '7 days'
        ORDER BY d.time DESC
        LIMIT 1
    ) AS r
),
-- A system that is younger than the time asked for is shown from its first reading on.
begun AS MATERIALIZED (
    SELECT
        a.until,
        CASE
            WHEN EXISTS (SELECT FROM sensor_data AS d WHERE d.time >= a.since - a.length AND d.time < a.since) THEN a.since
            ELSE coalesce((SELECT min(d.time) FROM sensor_data AS d WHERE d.time >= a.since), a.since)
        END AS since
    FROM asked AS a
),
-- The shortest interval with which the page stays small enough for a phone.
chosen AS MATERIALIZED (
    SELECT
        b.until,
        b.since,
        coalesce((
            SELECT min(s.seconds)
            FROM unnest(ARRAY[1, 5, 10, 30, 60, 300, 900, 3600]) AS s (seconds)
            WHERE
                extract(EPOCH FROM b.until - b.since) / s.seconds <= 720
                AND extract(EPOCH FROM b.until - b.since) / s.seconds * (SELECT count(*) FROM newest) <= 60000
        ), 3600) AS step
    FROM begun AS b
),
frame AS MATERIALIZED (
    SELECT until, step, time_bucket(step * INTERVAL '1 second', since) AS first FROM chosen
),
-- Minutes that the roll-ups have not yet seen.
fresh AS MATERIALIZED (
    SELECT DISTINCT c.minute
    FROM sensor_data_changed AS c, frame AS f
    WHERE c.minute >= f.first AND c.minute <= f.until
),
-- Below a minute readings themselves; else their roll-ups, and the readings of those minutes.
readings AS (
    SELECT
        d.device_id, d.time, 1 AS samples, (cardinality(d.quality_flags) > 0)::int AS flagged,
        d.temperature, (d.temperature IS NOT NULL)::int AS temperatures,
        d.humidity, (d.humidity IS NOT NULL)::int AS humidities
    FROM sensor_data AS d
    WHERE
        (SELECT step FROM frame) < 60
        AND d.time >= (SELECT first FROM frame)
        AND d.time <= (SELECT until FROM frame)
    UNION ALL
    SELECT
        d.device_id, d.time, 1, (cardinality(d.quality_flags) > 0)::int,
        d.temperature, (d.temperature IS NOT NULL)::int,
        d.humidity, (d.humidity IS NOT NULL)::int
    FROM fresh
    CROSS JOIN LATERAL (
        SELECT r.*
        FROM sensor_data AS r
        WHERE
            r.time >= fresh.minute
            AND r.time < fresh.minute + INTERVAL '1 minute'
            AND r.time <= (SELECT until FROM frame)
    ) AS d
    WHERE (SELECT step FROM frame) >= 60
    UNION ALL
    SELECT
        m.device_id, m.time, m.samples, m.flagged,
        m.temperature_avg, m.temperature_samples, m.humidity_avg, m.humidity_samples
    FROM sensor_data_1m AS m
    WHERE
        (SELECT step FROM frame) >= 60
        AND m.time >= (SELECT first FROM frame)
        AND m.time NOT IN (SELECT fresh.minute FROM fresh)
),
points AS MATERIALIZED (
    SELECT
        r.device_id,
        floor(extract(EPOCH FROM r.time - f.first) / f.step)::int AS n,
        sum(r.samples) AS samples,
        sum(r.flagged) AS flagged,
        round((sum(r.temperature * r.temperatures) / nullif(sum(r.temperatures), 0))::numeric, 2) AS temperature,
        round((sum(r.humidity * r.humidities) / nullif(sum(r.humidities), 0))::numeric, 2) AS humidity
    FROM readings AS r, frame AS f
    GROUP BY 1, 2
),
lines AS (
    SELECT
        device_id,
        sum(samples) AS samples,
        sum(flagged) AS flagged,
        jsonb_agg(jsonb_build_array(n, temperature, humidity) ORDER BY n) AS points
    FROM points
    GROUP BY device_id
),
found AS MATERIALIZED (
    SELECT a.*
    FROM anomalies AS a, frame AS f
    WHERE a.time >= f.first AND a.time <= f.until AND a.verdict IS DISTINCT FROM 'false_alarm'
),
gaps AS MATERIALIZED (
    SELECT g.device_id, g.hour, sum(g.last_seq - g.first_seq + 1) AS missing
    FROM ledger_gap AS g, frame AS f
    WHERE g.closed_at IS NULL AND g.hour >= date_trunc('hour', f.first, 'UTC')
    GROUP BY g.device_id, g.hour
),
devices AS (
    SELECT
        d.device_id AS device,
        d.site,
        d.room,
        d.model,
        d.gateway,
        d.time AS last_time,
        d.temperature AS last_temperature,
        d.humidity AS last_humidity,
        d.quality_flags AS last_flags,
        coalesce(l.samples, 0) AS samples,
        coalesce(l.flagged, 0) AS flagged,
        coalesce(l.points, '[]') AS points,
        (SELECT count(*) FROM found AS a WHERE a.device_id = d.device_id) AS anomalies,
        (SELECT coalesce(sum(g.missing), 0) FROM gaps AS g WHERE g.device_id = d.device_id) AS missing,
        -- Whether silence at the begin is a gap.
        EXISTS (
            SELECT FROM sensor_data AS r, frame AS f
            WHERE r.device_id = d.device_id AND r.time < f.first AND r.time > now() - INTERVAL '7 days'
        ) AS sent_before
    FROM newest AS d
    LEFT JOIN lines AS l ON l.device_id = d.device_id
),
-- Those with the most to look at, if there are too many for one page.
shown AS (
    SELECT d.*
    FROM devices AS d
    ORDER BY d.anomalies > 0 DESC, d.missing > 0 DESC, d.last_time, d.device
    LIMIT 300
),
fresh_kpi AS MATERIALIZED (
    SELECT DISTINCT c.minute
    FROM pipeline_kpi_changed AS c, frame AS f
    WHERE c.minute >= f.first AND c.minute <= f.until
),
latencies AS (
    SELECT k.time, k.metric_name, k.samples, k.min_ms, k.max_ms, k.bucket_index, k.bucket_count
    FROM pipeline_kpi AS k
    WHERE (SELECT step FROM frame) < 60 AND k.time >= (SELECT first FROM frame) AND k.gateway IS NULL
    UNION ALL
    SELECT k.time, k.metric_name, k.samples, k.min_ms, k.max_ms, k.bucket_index, k.bucket_count
    FROM fresh_kpi AS c
    CROSS JOIN LATERAL (
        SELECT r.* FROM pipeline_kpi AS r WHERE r.time >= c.minute AND r.time < c.minute + INTERVAL '1 minute'
    ) AS k
    WHERE (SELECT step FROM frame) >= 60 AND k.gateway IS NULL
    UNION ALL
    SELECT m.time, m.metric_name, m.samples, m.min_ms, m.max_ms, m.bucket_index, m.bucket_count
    FROM pipeline_kpi_1m AS m
    WHERE
        (SELECT step FROM frame) >= 60
        AND m.time >= (SELECT first FROM frame)
        AND m.gateway = ''
        AND m.time NOT IN (SELECT c.minute FROM fresh_kpi AS c)
),
placed AS MATERIALIZED (
    SELECT l.*, floor(extract(EPOCH FROM l.time - f.first) / f.step)::int AS n FROM latencies AS l, frame AS f
),
ends AS (
    SELECT metric_name, n, sum(samples) AS samples, min(min_ms) AS least, max(max_ms) AS most
    FROM placed
    GROUP BY metric_name, n
),
buckets AS (
    SELECT p.metric_name, p.n, b.bucket, sum(b.number) AS number
    FROM placed AS p
    CROSS JOIN LATERAL unnest(p.bucket_index, p.bucket_count) AS b (bucket, number)
    GROUP BY p.metric_name, p.n, b.bucket
),
ranks AS (
    SELECT
        metric_name, n, bucket,
        sum(number) OVER (PARTITION BY metric_name, n ORDER BY bucket) AS up_to,
        sum(number) OVER (PARTITION BY metric_name, n) AS samples
    FROM buckets
),
-- As get_pipeline_latency_stats() makes them.
percentiles AS (
    SELECT
        r.metric_name,
        r.n,
        latency_bucket_ms(min(r.bucket) FILTER (WHERE r.up_to >= 0.50 * r.samples)) AS p50,
        latency_bucket_ms(min(r.bucket) FILTER (WHERE r.up_to >= 0.95 * r.samples)) AS p95,
        latency_bucket_ms(min(r.bucket) FILTER (WHERE r.up_to >= 0.99 * r.samples)) AS p99
    FROM ranks AS r
    GROUP BY r.metric_name, r.n
),
curves AS (
    SELECT
        p.metric_name,
        jsonb_agg(
            jsonb_build_array(
                p.n,
                round(least(greatest(p.p50, e.least), e.most)::numeric, 2),
                round(least(greatest(p.p95, e.least), e.most)::numeric, 2),
                round(least(greatest(p.p99, e.least), e.most)::numeric, 2)
            )
            ORDER BY p.n
        ) AS points
    FROM percentiles AS p
    INNER JOIN ends AS e ON e.metric_name = p.metric_name AND e.n = p.n
    GROUP BY p.metric_name
),
batches AS MATERIALIZED (
    SELECT m.*, floor(extract(EPOCH FROM m.time - f.first) / f.step)::int AS n
    FROM processing_metrics AS m, frame AS f
    WHERE m.time >= f.first AND m.time <= f.until
),
flow AS (
    SELECT
        query, n,
        sum(rows_in) AS rows_in,
        sum(rows_stored) AS rows_stored,
        max(kafka_lag) AS lag,
        max(spool_records) AS spool
    FROM batches
    GROUP BY query, n
),
hours AS (
    SELECT
        h.hour,
        coalesce((SELECT sum(s.samples) FROM sensor_data_1h AS s WHERE s.time = h.hour), 0) AS seen,
        coalesce((SELECT sum(g.missing) FROM gaps AS g WHERE g.hour = h.hour), 0) AS missing,
        coalesce(n.duplicate, 0) AS duplicate,
        coalesce(n.late, 0) AS late,
        coalesce(n.rejected, 0) AS rejected
    FROM (
        SELECT generate_series(
            date_trunc('hour', f.first, 'UTC'), date_trunc('hour', f.until, 'UTC'), INTERVAL '1 hour'
        ) AS hour
        FROM frame AS f
    ) AS h
    LEFT JOIN LATERAL (
        SELECT
            sum(l.readings) FILTER (WHERE l.kind = 'duplicate') AS duplicate,
            sum(l.readings) FILTER (WHERE l.kind = 'late') AS late,
            sum(l.readings) FILTER (WHERE l.kind = 'rejected') AS rejected
        FROM ledger_note AS l
        WHERE l.hour = h.hour
    ) AS n ON true
),
gateways AS (
    SELECT
        d.gateway,
        max(d.received_at) AS last_received,
        count(*) AS devices,
        coalesce(sum(l.samples), 0) AS samples
    FROM newest AS d
    LEFT JOIN lines AS l ON l.device_id = d.device_id
    WHERE d.gateway IS NOT NULL
    GROUP BY d.gateway
),
fleet AS (
    SELECT g.*, o.value AS clock_offset_ms, e.value AS clock_error_ms
    FROM gateways AS g
    LEFT JOIN LATERAL (
        SELECT m.sum_ms / m.samples AS value
        FROM pipeline_kpi_1m AS m
        WHERE
            m.metric_name = 'gateway_clock_offset'
            AND m.gateway = g.gateway
            AND m.time > now() - INTERVAL '7 days'
        ORDER BY m.time DESC
        LIMIT 1
    ) AS o ON true
    LEFT JOIN LATERAL (
        SELECT m.sum_ms / m.samples AS value
        FROM pipeline_kpi_1m AS m
        WHERE
            m.metric_name = 'gateway_clock_error'
            AND m.gateway = g.gateway
            AND m.time > now() - INTERVAL '7 days'
        ORDER BY m.time DESC
        LIMIT 1
    ) AS e ON true
)
SELECT jsonb_build_object(
    'frame', (SELECT jsonb_build_object('first', first, 'until', until, 'step', step) FROM frame),
    'device_count', (SELECT count(*) FROM newest),
    'samples', (SELECT coalesce(sum(samples), 0) FROM lines),
    'devices', (SELECT coalesce(jsonb_agg(s ORDER BY s.site, s.room, s.device), '[]') FROM shown AS s),
    'anomaly_count', (SELECT count(*) FROM found),
    'anomalies', (
        SELECT coalesce(jsonb_agg(a ORDER BY a.time DESC), '[]')
        FROM (
            SELECT time, device_id AS device, quantity, kind, value, expected_low, expected_high, score
            FROM found
            ORDER BY time DESC
            LIMIT 500
        ) AS a
    ),
    'stages', (
        SELECT jsonb_agg(s) FROM frame AS f, get_pipeline_latency_stats(f.until - f.first) AS s
    ),
    'latencies', (SELECT coalesce(jsonb_object_agg(metric_name, points), '{}') FROM curves),
    'flow', (SELECT coalesce(jsonb_agg(b ORDER BY b.n), '[]') FROM flow AS b),
    'queries', (
        SELECT coalesce(jsonb_agg(q ORDER BY q.query DESC), '[]')
        FROM (
            SELECT
                query,
                sum(rows_in) AS rows_in,
                sum(rows_stored) AS rows_stored,
                sum(rows_duplicate) AS rows_duplicate,
                sum(rows_late) AS rows_late,
                sum(rows_rejected) AS rows_rejected,
                sum(bytes) AS bytes
            FROM batches
            GROUP BY query
        ) AS q
    ),
    'hours', (SELECT jsonb_agg(h ORDER BY h.hour) FROM hours AS h),
    'gateways', (SELECT coalesce(jsonb_agg(g ORDER BY g.gateway), '[]') FROM fleet AS g)
)
