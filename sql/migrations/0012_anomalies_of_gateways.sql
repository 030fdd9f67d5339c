-- Anomalies say by which gateway their device was heard; what a low threshold does is said.
-- depends: 0011_anomalies

ALTER TABLE anomalies ADD COLUMN gateway text;
COMMENT ON COLUMN anomalies.gateway IS 'That heard the device last; null: not known.';
COMMENT ON COLUMN anomalies.time IS 'Of the reading that gave the alarm; of a silence, when the device was last heard.';
COMMENT ON COLUMN anomaly_threshold.factor IS 'Least score to be stored; infinity switches the kind off. Below 1 it finds more outliers, down to 0.5; other kinds begin at 1.';
-- A gateway that fails makes many at once.
CREATE INDEX anomalies_found_at ON anomalies (found_at DESC);

DROP VIEW anomalies_in_rooms;
-- In the same room, the same quantity, within ten minutes: then it was the room, not the sensor.
CREATE VIEW anomalies_in_rooms AS
SELECT
    a.*,
    d.site,
    d.room,
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
