-- What the query detect finds, what people say of it, and how that moves the thresholds.
-- depends: 0010_real_time

CREATE TABLE anomalies (
    time timestamptz NOT NULL,
    device_id text NOT NULL,
    quantity text NOT NULL,
    kind text NOT NULL CHECK (kind IN (
        'outlier', 'level_shift', 'drift', 'stuck', 'noise_change', 'impossible', 'silence'
    )),
    value double precision,
    expected_low double precision,
    expected_high double precision,
    score double precision NOT NULL,
    detector_version integer NOT NULL,
    found_at timestamptz NOT NULL DEFAULT now(),
    verdict text CHECK (verdict IN ('true', 'false_alarm')),
    PRIMARY KEY (device_id, quantity, kind, time)
);
CREATE INDEX anomalies_time ON anomalies (time DESC);
COMMENT ON TABLE anomalies IS 'Anomalies of readings. A batch that runs again finds its own.';
COMMENT ON COLUMN anomalies.time IS 'Of the reading that gave the alarm; of a silence, when it had lasted too long.';
COMMENT ON COLUMN anomalies.quantity IS 'temperature (°C), humidity (% RH); all: it concerns the device.';
COMMENT ON COLUMN anomalies.expected_low IS 'Least value that would not have been far from the expected one, in the quantity''s unit.';
COMMENT ON COLUMN anomalies.expected_high IS 'Greatest such value.';
COMMENT ON COLUMN anomalies.score IS 'Strength in default thresholds: 1 is just an anomaly.';
COMMENT ON COLUMN anomalies.verdict IS 'What people say of it; null: nothing yet.';

CREATE TABLE anomaly_threshold (
    device_id text,
    room text,
    model text,
    quantity text,
    kind text,
    factor double precision NOT NULL CHECK (factor > 0),
    UNIQUE NULLS NOT DISTINCT (device_id, room, model, quantity, kind)
);
COMMENT ON TABLE anomaly_threshold IS 'Thresholds other than the default. A null matches all; of the rows that match, the one that names the device counts before room before model, then the highest factor.';
COMMENT ON COLUMN anomaly_threshold.factor IS 'Least score to be stored; infinity switches the kind off.';

CREATE FUNCTION anomaly_threshold_of(the_device text, the_quantity text, the_kind text)
RETURNS double precision
LANGUAGE sql STABLE
AS $$
    SELECT coalesce((
        SELECT t.factor
        FROM anomaly_threshold AS t LEFT JOIN devices AS d ON d.device_id = the_device
        WHERE (t.device_id IS NULL OR t.device_id = the_device)
            AND (t.room IS NULL OR t.room = d.room)
            AND (t.model IS NULL OR t.model = d.model)
            AND (t.quantity IS NULL OR t.quantity = the_quantity)
            AND (t.kind IS NULL OR t.kind = the_kind)
        ORDER BY t.device_id IS NULL, t.room IS NULL, t.model IS NULL, t.factor DESC
        LIMIT 1
    ), 1.0)
$$;
COMMENT ON FUNCTION anomaly_threshold_of IS 'Least score at which an anomaly of this kind is stored.';

CREATE FUNCTION mark_false_alarm(the_device text, the_quantity text, the_kind text, the_time timestamptz)
RETURNS double precision
LANGUAGE sql
AS $$
    WITH marked AS (
        UPDATE anomalies SET verdict = 'false_alarm'
        WHERE device_id = the_device AND quantity = the_quantity AND kind = the_kind
            AND time = the_time
        RETURNING score
    )
    INSERT INTO anomaly_threshold AS t (device_id, quantity, kind, factor)
    SELECT the_device, the_quantity, the_kind, 1.1 * score FROM marked
    ON CONFLICT (device_id, room, model, quantity, kind) DO UPDATE
    SET factor = greatest(t.factor, excluded.factor)
    RETURNING factor
$$;
COMMENT ON FUNCTION mark_false_alarm IS 'Say that an alarm was none: the device''s threshold of its kind rises above its score. Returns the new one; no row: there was no such anomaly.';

-- In the same room, the same quantity, within ten minutes: then it was the room, not the sensor.
CREATE VIEW anomalies_in_rooms AS
SELECT
    a.*,
    d.site,
    d.room,
    d.gateway,
    n.neighbours,
    n.agreeing
FROM anomalies AS a
LEFT JOIN devices AS d ON d.device_id = a.device_id
CROSS JOIN LATERAL (
    SELECT
        count(*)::integer AS neighbours,
        count(*) FILTER (WHERE EXISTS (
            SELECT FROM anomalies AS b
            WHERE b.device_id = o.device_id AND b.quantity = a.quantity
                AND b.kind IN ('outlier', 'level_shift', 'drift')
                AND b.time BETWEEN a.time - interval '10 minutes' AND a.time + interval '10 minutes'
        ))::integer AS agreeing
    FROM devices AS o
    WHERE o.site = d.site AND o.room = d.room AND o.device_id <> a.device_id
) AS n;
COMMENT ON VIEW anomalies_in_rooms IS 'Anomalies with how many other devices the room has, and how many of them deviated in the same quantity within ten minutes.';
