-- How long each relation is kept. Set by `python -m sql.maintain`, which drops what is older.
-- depends: 0006_kpi_rollup

CREATE TABLE retention (
    relation text PRIMARY KEY,
    keep interval,
    applied_at timestamptz
);
COMMENT ON TABLE retention IS 'How long each relation is kept; chunks are dropped when all that is in them is older.';
COMMENT ON COLUMN retention.keep IS 'Null: for ever.';
COMMENT ON COLUMN retention.applied_at IS 'When old chunks were last looked for, or the policy was set; null: the next run does it.';

INSERT INTO retention (relation, keep) VALUES
    ('sensor_data', '90 days'),
    ('sensor_data_1m', '2 years'),
    ('sensor_data_1h', NULL),
    ('pipeline_kpi', '7 days'),
    ('pipeline_kpi_1m', '1 year'),
    ('processing_metrics', '90 days');
