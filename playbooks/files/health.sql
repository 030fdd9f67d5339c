-- One line of JSON for each statement. One that fails or takes too long is missing, the others are not.
SET statement_timeout = '5s';

SELECT jsonb_build_object('stages', jsonb_agg(s))
FROM (
    SELECT stage, p50_ms, p95_ms, p99_ms, samples
    FROM get_pipeline_latency_stats('5 minutes')
) AS s;

-- Whether the newest attempt to archive a WAL segment failed.
SELECT jsonb_build_object(
    'archive_fails',
    coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false)
)
FROM pg_stat_archiver;

-- What the ledger says of the last day, as its view does.
WITH day AS (
    SELECT date_trunc('hour', now(), 'UTC') - interval '23 hours' AS start
),
missing AS (
    SELECT
        coalesce(sum(last_seq - first_seq + 1), 0) AS missing,
        count(DISTINCT device_id) AS devices_missing
    FROM ledger_gap
    WHERE closed_at IS NULL AND hour >= (SELECT start FROM day)
),
noted AS (
    SELECT
        coalesce(sum(readings) FILTER (WHERE kind = 'duplicate'), 0) AS duplicate,
        coalesce(sum(readings) FILTER (WHERE kind = 'late'), 0) AS late,
        coalesce(sum(readings) FILTER (WHERE kind = 'rejected'), 0) AS rejected
    FROM ledger_note
    WHERE hour >= (SELECT start FROM day)
),
seen AS (
    SELECT coalesce(sum(samples), 0) AS seen
    FROM sensor_data_1h
    WHERE time >= (SELECT start FROM day)
)
SELECT jsonb_build_object('ledger', to_jsonb(found))
FROM (SELECT seen, duplicate, late, rejected, missing, devices_missing FROM seen, noted, missing) AS found;

-- By the newest reading of each device. No index leads from a gateway to its readings, but the
-- primary key leads from one device to the next, so that even years of silence cost no scan.
WITH RECURSIVE known (device_id) AS (
    SELECT min(d.device_id) FROM sensor_data AS d WHERE d.time > now() - :'lookback'::interval
    UNION ALL
    SELECT (
        SELECT min(d.device_id)
        FROM sensor_data AS d
        WHERE d.device_id > known.device_id AND d.time > now() - :'lookback'::interval
    )
    FROM known
    WHERE known.device_id IS NOT NULL
),
newest AS (
    SELECT r.gateway, max(r.received_at) AS received_at
    FROM known
    CROSS JOIN LATERAL (
        SELECT d.gateway, coalesce(d.received_at, d.appended_at) AS received_at
        FROM sensor_data AS d
        WHERE d.device_id = known.device_id AND d.time > now() - :'lookback'::interval
        ORDER BY d.time DESC
        LIMIT 1
    ) AS r
    WHERE r.gateway IS NOT NULL
    GROUP BY r.gateway
)
SELECT jsonb_build_object(
    'last_reading_seconds',
    coalesce(
        jsonb_object_agg(gateway, round(extract(EPOCH FROM now() - received_at), 1)),
        '{}'
    )
)
FROM newest;
