-- The stages' histograms merged by minute, so that their statistics over an hour or a month read
-- few rows. Filled by `python -m sql.maintain` on both editions of TimescaleDB.
-- depends: 0005_reading_rollups

CREATE TABLE pipeline_kpi_1m (
    time timestamptz NOT NULL,
    metric_name text NOT NULL,
    gateway text NOT NULL,
    samples bigint NOT NULL,
    min_ms double precision NOT NULL,
    max_ms double precision NOT NULL,
    sum_ms double precision NOT NULL,
    negative_count bigint NOT NULL,
    bucket_index integer[] NOT NULL,
    bucket_count bigint[] NOT NULL,
    PRIMARY KEY (metric_name, gateway, time)
);
COMMENT ON TABLE pipeline_kpi_1m IS 'pipeline_kpi by minute; the columns are as there.';
COMMENT ON COLUMN pipeline_kpi_1m.time IS 'Begin of the minute, UTC.';
COMMENT ON COLUMN pipeline_kpi_1m.gateway IS 'Gateway that a clock metric is of; empty for the stages.';

DO $$
BEGIN
    PERFORM create_hypertable('pipeline_kpi_1m', by_range('time', INTERVAL '7 days'));
END
$$;

CREATE TABLE pipeline_kpi_changed (minute timestamptz NOT NULL);
COMMENT ON TABLE pipeline_kpi_changed IS 'Minutes with rows that pipeline_kpi_1m has not yet seen. Emptied by python -m sql.maintain.';

CREATE FUNCTION note_pipeline_kpi_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pipeline_kpi_changed (minute)
    SELECT DISTINCT date_trunc('minute', n.time, 'UTC') FROM new_rows AS n;
    RETURN NULL;
END
$$;
CREATE TRIGGER note_changed AFTER INSERT ON pipeline_kpi
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION note_pipeline_kpi_changed();

-- The trigger's lock on pipeline_kpi lets no row slip between it and this.
INSERT INTO pipeline_kpi_changed (minute)
SELECT DISTINCT date_trunc('minute', k.time, 'UTC') FROM pipeline_kpi AS k;

-- A minute is either noted as changed, and then its rows are read, or merged: each row counts once,
-- at whatever moment the function is called.
CREATE OR REPLACE FUNCTION get_pipeline_latency_stats(time_window interval DEFAULT '2 minutes')
RETURNS TABLE (
    stage text,
    avg_ms double precision,
    min_ms double precision,
    max_ms double precision,
    p50_ms double precision,
    p95_ms double precision,
    p99_ms double precision,
    samples bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH stages (position, metric_name, stage) AS (
        VALUES
            (1, 'mqtt_to_kafka', 'MQTT → Kafka'),
            (2, 'kafka_to_spark', 'Kafka → Spark'),
            (3, 'spark_to_timescaledb', 'Spark → TimescaleDB'),
            (4, 'total_pipeline_latency', 'Total (bout en bout)')
    ),
    changed AS MATERIALIZED (
        SELECT DISTINCT c.minute
        FROM pipeline_kpi_changed AS c
        WHERE c.minute > now() - time_window
    ),
    recent AS MATERIALIZED (
        SELECT m.metric_name, m.samples, m.min_ms, m.max_ms, m.sum_ms, m.bucket_index, m.bucket_count
        FROM pipeline_kpi_1m AS m
        WHERE
            m.time > now() - time_window
            AND m.time NOT IN (SELECT c.minute FROM changed AS c)
            AND m.metric_name IN (SELECT s.metric_name FROM stages AS s)
        UNION ALL
        SELECT k.metric_name, k.samples, k.min_ms, k.max_ms, k.sum_ms, k.bucket_index, k.bucket_count
        FROM changed AS c
        INNER JOIN LATERAL (
            SELECT r.*
            FROM pipeline_kpi AS r
            WHERE r.time >= c.minute AND r.time < c.minute + INTERVAL '1 minute'
        ) AS k ON true
        WHERE k.metric_name IN (SELECT s.metric_name FROM stages AS s)
        UNION ALL
        -- The minute that the window begins in.
        SELECT k.metric_name, k.samples, k.min_ms, k.max_ms, k.sum_ms, k.bucket_index, k.bucket_count
        FROM pipeline_kpi AS k
        WHERE
            k.time > now() - time_window
            AND k.time < date_trunc('minute', now() - time_window, 'UTC') + INTERVAL '1 minute'
            AND k.metric_name IN (SELECT s.metric_name FROM stages AS s)
    ),
    totals AS (
        SELECT
            r.metric_name,
            sum(r.samples)::bigint AS samples,
            sum(r.sum_ms) / sum(r.samples) AS avg_ms,
            min(r.min_ms) AS min_ms,
            max(r.max_ms) AS max_ms
        FROM recent AS r
        GROUP BY r.metric_name
    ),
    buckets AS (
        SELECT r.metric_name, b.bucket, sum(b.number) AS number
        FROM recent AS r
        CROSS JOIN LATERAL unnest(r.bucket_index, r.bucket_count) AS b (bucket, number)
        GROUP BY r.metric_name, b.bucket
    ),
    ranks AS (
        SELECT
            b.metric_name,
            b.bucket,
            sum(b.number) OVER (PARTITION BY b.metric_name ORDER BY b.bucket) AS up_to
        FROM buckets AS b
    ),
    -- A percentile is the smallest value with at least that share of the samples up to it,
    -- as percentile_disc() has it.
    percentiles AS (
        SELECT
            t.metric_name,
            latency_bucket_ms(min(r.bucket) FILTER (WHERE r.up_to >= 0.50 * t.samples)) AS p50_ms,
            latency_bucket_ms(min(r.bucket) FILTER (WHERE r.up_to >= 0.95 * t.samples)) AS p95_ms,
            latency_bucket_ms(min(r.bucket) FILTER (WHERE r.up_to >= 0.99 * t.samples)) AS p99_ms
        FROM totals AS t
        INNER JOIN ranks AS r ON r.metric_name = t.metric_name
        GROUP BY t.metric_name
    )
    -- min and max are exact, so no percentile need lie outside them.
    SELECT
        s.stage,
        t.avg_ms,
        t.min_ms,
        t.max_ms,
        least(greatest(p.p50_ms, t.min_ms), t.max_ms),
        least(greatest(p.p95_ms, t.min_ms), t.max_ms),
        least(greatest(p.p99_ms, t.min_ms), t.max_ms),
        coalesce(t.samples, 0)
    FROM stages AS s
    LEFT JOIN totals AS t ON t.metric_name = s.metric_name
    LEFT JOIN percentiles AS p ON p.metric_name = s.metric_name
    ORDER BY s.position
$$;
