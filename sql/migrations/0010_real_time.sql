-- What rows of figures mean where the query store works in real time.
-- depends: 0009_ledger

COMMENT ON TABLE processing_metrics IS 'Figures of the streaming job''s queries: one row per micro-batch, and one more for a batch that ran again after a failure; of the query store in real time one row per second and batch.';
COMMENT ON COLUMN processing_metrics.time IS 'When the batch was triggered, or (real time) the second began.';
COMMENT ON COLUMN processing_metrics.committed_at IS 'When the last of the row''s transactions, or uploads, had returned.';
COMMENT ON TABLE pipeline_kpi IS 'Latency of the pipeline''s stages, one row per stage and micro-batch, or (real time) second, and the gateways'' clocks, one row per metric, gateway and batch or second. Only rows that were new count.';
COMMENT ON COLUMN pipeline_kpi.time IS 'When the last of the row''s transactions was committed; taken after the commit had returned.';
COMMENT ON VIEW reading_times IS 'The five times of each reading: captured, received, appended, read, committed. committed_at is that of the whole batch, in real time up to a second late (pipeline_kpi is exact), and null where the figures are missing.';
