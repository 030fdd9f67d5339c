-- Latency of each stage, as histograms that can be merged over any window.
-- depends: 0001_sensor_data

CREATE TABLE pipeline_kpi (
    time timestamptz NOT NULL,
    metric_name text NOT NULL,
    value_ms double precision NOT NULL,
    samples bigint NOT NULL CHECK (samples > 0),
    min_ms double precision NOT NULL,
    max_ms double precision NOT NULL,
    sum_ms double precision NOT NULL,
    negative_count bigint NOT NULL,
    bucket_index integer[] NOT NULL,
    bucket_count bigint[] NOT NULL,
    query text NOT NULL,
    run_id uuid NOT NULL,
    batch_id bigint NOT NULL,
    CHECK (cardinality(bucket_index) = cardinality(bucket_count))
);
COMMENT ON TABLE pipeline_kpi IS 'Latency of the pipeline''s stages, one row per stage and batch. Only rows that were new in the batch count.';
COMMENT ON COLUMN pipeline_kpi.time IS 'When the batch was committed, taken after the commit returned.';
COMMENT ON COLUMN pipeline_kpi.metric_name IS 'mqtt_to_kafka: appended - captured; kafka_to_spark: read - appended; spark_to_timescaledb: committed - read; total_pipeline_latency: committed - captured.';
COMMENT ON COLUMN pipeline_kpi.value_ms IS 'Mean latency, ms.';
COMMENT ON COLUMN pipeline_kpi.samples IS 'Readings measured.';
COMMENT ON COLUMN pipeline_kpi.min_ms IS 'Least latency, ms; below zero where two hosts'' clocks differ.';
COMMENT ON COLUMN pipeline_kpi.max_ms IS 'Greatest latency, ms.';
COMMENT ON COLUMN pipeline_kpi.sum_ms IS 'Sum of the latencies, ms.';
COMMENT ON COLUMN pipeline_kpi.negative_count IS 'Samples below zero. They are part of all other figures.';
COMMENT ON COLUMN pipeline_kpi.bucket_index IS 'Buckets of the histogram that hold a sample, ascending; see latency_bucket_ms().';
COMMENT ON COLUMN pipeline_kpi.bucket_count IS 'Samples in each of those buckets.';

DO $$
BEGIN
    PERFORM create_hypertable('pipeline_kpi', by_range('time', INTERVAL '1 day'));
END
$$;

CREATE FUNCTION latency_bucket_ms(bucket integer)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT sign(bucket) * 2 * power(1.02::double precision, abs(bucket) - 1) / 2.02 / 1000
$$;
COMMENT ON FUNCTION latency_bucket_ms(integer) IS
'Value in ms that stands for a bucket. The histogram follows DDSketch (Masson, Rim and Lee: DDSketch, a fast and fully-mergeable quantile sketch with relative-error guarantees, PVLDB 12, 2019) with gamma = 1.02, on microseconds: a latency of x >= 1 µs is in bucket 1 + ceil(ln(x) / ln(gamma)), one below zero in the bucket of the opposite sign, zero in bucket 0. 2 * gamma^i / (gamma + 1) is then at most (gamma - 1) / (gamma + 1) = 0.99 % from every value of bucket 1 + i.';

CREATE FUNCTION get_pipeline_latency_stats(time_window interval DEFAULT '2 minutes')
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
    recent AS MATERIALIZED (
        SELECT k.* FROM pipeline_kpi AS k WHERE k.time > now() - time_window
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
COMMENT ON FUNCTION get_pipeline_latency_stats(interval) IS
'Latency of the four stages over the readings committed within time_window before now: always four rows; samples is 0 and all else null where there were none. Percentiles are within 1 % of the exact ones.';
