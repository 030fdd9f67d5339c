-- One line of JSON for each statement. One that fails or takes too long is missing, the other is not.
SET statement_timeout = '5s';

SELECT jsonb_build_object('stages', jsonb_agg(s))
FROM (
    SELECT stage, p50_ms, p95_ms, p99_ms, samples
    FROM get_pipeline_latency_stats('5 minutes')
) AS s;

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
