-- What the gateways say of their clocks and spools, and all times of a reading in one place.
-- depends: 0003_processing_metrics

ALTER TABLE pipeline_kpi ADD COLUMN gateway text;
COMMENT ON TABLE pipeline_kpi IS 'Latency of the pipeline''s stages, one row per stage and batch, and the gateways'' clocks, one row per metric, gateway and batch. Only rows that were new in the batch count.';
COMMENT ON COLUMN pipeline_kpi.metric_name IS 'mqtt_to_kafka: appended - captured; kafka_to_spark: read - appended; spark_to_timescaledb: committed - read; total_pipeline_latency: committed - captured. gateway_clock_offset: how far the gateway''s clock is from true time, gateway_clock_error: how sure that is, as chrony on the gateway has it.';
COMMENT ON COLUMN pipeline_kpi.gateway IS 'Gateway that a clock metric is of; null for the stages.';

ALTER TABLE processing_metrics ADD COLUMN spool_records bigint;
COMMENT ON COLUMN processing_metrics.spool_records IS 'Records that waited in the gateways'' spools, as the newest records of the batch said; null: not known.';

COMMENT ON COLUMN sensor_data.quality_flags IS 'What is doubtful about the reading: ts_missing, ts_unreadable, ts_before_2020, ts_in_future: time is not the sensor''s; gateway_clock: it is the gateway''s; gateway_unsynchronised: the gateway''s clock had not been set; gateway_time_corrected: it was set after receipt and the time put right; replayed; temperature_out_of_range, humidity_out_of_range.';

-- Batch numbers begin at 0 again with a new checkpoint, and a batch that ran again after a crash has
-- several rows: the reading was committed at the earliest of those that ended after it was read.
-- A day either side keeps out an unrelated batch of that number, and most chunks.
CREATE VIEW reading_times AS
SELECT
    d.device_id,
    d.seq,
    d.time AS captured_at,
    d.received_at,
    d.appended_at,
    d.read_at,
    (
        SELECT min(m.committed_at)
        FROM processing_metrics AS m
        WHERE
            m.query = 'store'
            AND m.batch_id = d.batch_id
            AND m.time > d.read_at - INTERVAL '1 day'
            AND m.time < d.read_at + INTERVAL '1 day'
            AND m.committed_at >= d.read_at
    ) AS committed_at,
    d.quality_flags
FROM sensor_data AS d;
COMMENT ON VIEW reading_times IS 'The five times of each reading: captured, received, appended, read, committed. committed_at is that of the whole batch, and null where the batch''s figures are missing.';
