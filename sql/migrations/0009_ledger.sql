-- What of each device's numbered readings arrived, and what is missing. Kept by
-- `python -m sql.maintain`, from the readings themselves and from what the streaming job notes.
-- depends: 0008_kafka_position

ALTER TABLE kafka_position ADD COLUMN next_offset bigint;
COMMENT ON COLUMN kafka_position.next_offset IS 'Behind the last record of that batch.';

-- Leads to the rows that were stored since the last run, however old they are.
CREATE INDEX sensor_data_offset ON sensor_data USING brin (kafka_offset)
WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE ledger_progress (
    topic text,
    partition integer,
    done bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE ledger_progress IS 'How far the ledger has read.';
COMMENT ON COLUMN ledger_progress.done IS 'All rows with a lower offset are in the ledger.';

CREATE TABLE device_life (
    device_id text,
    life integer,
    begin_time timestamptz NOT NULL,
    newest_time timestamptz NOT NULL,
    seen int8multirange NOT NULL,
    PRIMARY KEY (device_id, life)
);
COMMENT ON TABLE device_life IS 'Numbers (seq) of the readings that arrived. A device that begins to count anew begins a new life.';
COMMENT ON COLUMN device_life.begin_time IS 'When its first reading was captured.';
COMMENT ON COLUMN device_life.newest_time IS 'When its newest reading was captured.';

CREATE TABLE ledger_gap (
    device_id text NOT NULL,
    life integer NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    hour timestamptz NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz
);
CREATE INDEX ledger_gap_device ON ledger_gap (device_id, life);
COMMENT ON TABLE ledger_gap IS 'Numbers that did not arrive in their turn. One that is filled in part stands as several.';
COMMENT ON COLUMN ledger_gap.hour IS 'Hour in which the reading behind the gap was captured, UTC.';
COMMENT ON COLUMN ledger_gap.opened_at IS 'When it was noticed.';
COMMENT ON COLUMN ledger_gap.closed_at IS 'When it was seen to be filled; null: the readings are missing.';

CREATE TABLE ledger_note (
    device_id text,
    hour timestamptz,
    kind text CHECK (kind IN ('duplicate', 'late', 'rejected')),
    readings bigint NOT NULL,
    batch_id bigint,
    kafka_partition integer,
    PRIMARY KEY (batch_id, kafka_partition, device_id, hour, kind)
);
CREATE INDEX ledger_note_device ON ledger_note (device_id, hour);
COMMENT ON TABLE ledger_note IS 'What the streaming job noticed of a batch, in the transaction that stored it.';
COMMENT ON COLUMN ledger_note.hour IS 'Hour of the capture; of rejected records, of Kafka''s time.';

CREATE VIEW ledger AS
WITH missing AS (
    SELECT g.device_id, g.hour, sum(g.last_seq - g.first_seq + 1) AS readings
    FROM ledger_gap AS g
    WHERE g.closed_at IS NULL
    GROUP BY g.device_id, g.hour
),
noted AS (
    SELECT
        n.device_id,
        n.hour,
        sum(n.readings) FILTER (WHERE n.kind = 'duplicate') AS duplicate,
        sum(n.readings) FILTER (WHERE n.kind = 'late') AS late,
        sum(n.readings) FILTER (WHERE n.kind = 'rejected') AS rejected
    FROM ledger_note AS n
    GROUP BY n.device_id, n.hour
),
seen AS (
    SELECT s.device_id, s.time AS hour, s.samples AS readings FROM sensor_data_1h AS s
)
SELECT
    device_id,
    hour,
    (coalesce(s.readings, 0) + coalesce(m.readings, 0))::bigint AS expected,
    coalesce(s.readings, 0)::bigint AS seen,
    coalesce(n.duplicate, 0)::bigint AS duplicate,
    coalesce(n.late, 0)::bigint AS late,
    coalesce(n.rejected, 0)::bigint AS rejected,
    coalesce(m.readings, 0)::bigint AS missing
FROM seen AS s
FULL JOIN missing AS m USING (device_id, hour)
FULL JOIN noted AS n USING (device_id, hour);
COMMENT ON VIEW ledger IS 'Readings of each device by hour of capture: expected (seen and missing), seen, and of these late; duplicate copies that were left out; rejected records; missing by the gaps in the device''s numbers.';
