-- What came from each gateway since a time; one line of JSON. `asked` is a list of objects with
-- gateway, device (its probe), run (that its probes carry), sent and since.
WITH asked AS (
    SELECT a.gateway, a.device, a.run, a.sent, a.since
    FROM jsonb_to_recordset(:'asked'::jsonb)
    AS a (gateway text, device text, run double precision, sent bigint, since timestamptz)
),
probes AS (
    SELECT
        a.gateway,
        count(DISTINCT d.seq) AS arrived,
        percentile_cont(0.95) WITHIN GROUP (
            ORDER BY extract(EPOCH FROM d.appended_at - d.time) * 1000
        ) AS p95_ms
    FROM asked AS a
    INNER JOIN sensor_data AS d
        ON a.device = d.device_id AND (d.measurements ->> 'run')::double precision = a.run
    WHERE d.time > now() - INTERVAL '1 day'
    GROUP BY a.gateway
),
devices_here AS (
    SELECT a.gateway, d.device_id, count(*) FILTER (WHERE d.appended_at >= a.since) AS readings
    FROM asked AS a
    INNER JOIN sensor_data AS d ON a.gateway = d.gateway AND a.device != d.device_id
    WHERE d.time > a.since - INTERVAL '1 hour'
    GROUP BY a.gateway, d.device_id
),
counted AS (
    SELECT gateway, sum(readings) AS readings FROM devices_here GROUP BY gateway
),
gaps AS (
    SELECT a.gateway, sum(g.last_seq - g.first_seq + 1) AS missing
    FROM asked AS a
    INNER JOIN devices_here AS h ON a.gateway = h.gateway
    INNER JOIN ledger_gap AS g ON h.device_id = g.device_id
    WHERE g.closed_at IS NULL AND g.opened_at >= a.since
    GROUP BY a.gateway
)
SELECT jsonb_build_object(
    'now', now(),
    'all_arrived', coalesce(bool_and(coalesce(p.arrived, 0) >= a.sent), TRUE),
    'gateways', coalesce(jsonb_object_agg(a.gateway, jsonb_build_object(
        'seconds', round(extract(EPOCH FROM now() - a.since), 3),
        'sent', a.sent,
        'arrived', coalesce(p.arrived, 0),
        'p95_ms', round(p.p95_ms::numeric, 3),
        'readings', coalesce(c.readings, 0),
        'missing', coalesce(g.missing, 0)
    )) FILTER (WHERE a.gateway IS NOT NULL), '{}')
)
FROM asked AS a
LEFT JOIN probes AS p ON a.gateway = p.gateway
LEFT JOIN counted AS c ON a.gateway = c.gateway
LEFT JOIN gaps AS g ON a.gateway = g.gateway;
