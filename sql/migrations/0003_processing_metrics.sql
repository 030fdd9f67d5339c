-- What each batch of the streaming queries did.
-- depends: 0002_pipeline_kpi

CREATE TABLE processing_metrics (
    time timestamptz NOT NULL,
    query text NOT NULL,
    run_id uuid NOT NULL,
    batch_id bigint NOT NULL,
    rows_in bigint NOT NULL,
    rows_stored bigint NOT NULL,
    rows_duplicate bigint NOT NULL,
    rows_late bigint NOT NULL,
    rows_rejected bigint NOT NULL,
    bytes bigint NOT NULL,
    committed_at timestamptz,
    trigger_ms bigint,
    latest_offset_ms bigint,
    query_planning_ms bigint,
    wal_commit_ms bigint,
    add_batch_ms bigint,
    commit_offsets_ms bigint,
    kafka_lag bigint
);
COMMENT ON TABLE processing_metrics IS 'One row per query and batch of the streaming job; a batch that ran again after a failure has one more.';
COMMENT ON COLUMN processing_metrics.time IS 'When the batch was triggered.';
COMMENT ON COLUMN processing_metrics.query IS 'store or archive.';
COMMENT ON COLUMN processing_metrics.run_id IS 'Changes with each start of the query.';
COMMENT ON COLUMN processing_metrics.rows_in IS 'Records read from Kafka.';
COMMENT ON COLUMN processing_metrics.rows_stored IS 'Readings that were new, or (archive) written.';
COMMENT ON COLUMN processing_metrics.rows_duplicate IS 'Readings that were stored already.';
COMMENT ON COLUMN processing_metrics.rows_late IS 'Readings that Kafka appended later after their capture than the job''s setting late_after_seconds.';
COMMENT ON COLUMN processing_metrics.rows_rejected IS 'Records that are no readings; the query store sends them to the dead letter topic.';
COMMENT ON COLUMN processing_metrics.bytes IS 'Bytes of the payloads read.';
COMMENT ON COLUMN processing_metrics.committed_at IS 'When the last of the batch''s transactions, or uploads, had returned.';
COMMENT ON COLUMN processing_metrics.trigger_ms IS 'Whole batch, ms; the columns up to commit_offsets_ms are Spark''s figures for its phases.';
COMMENT ON COLUMN processing_metrics.latest_offset_ms IS 'Asking Kafka for the newest offsets, ms.';
COMMENT ON COLUMN processing_metrics.query_planning_ms IS 'Planning, ms.';
COMMENT ON COLUMN processing_metrics.wal_commit_ms IS 'Writing the batch''s offsets to the checkpoint, ms.';
COMMENT ON COLUMN processing_metrics.add_batch_ms IS 'Reading, transforming and storing, ms.';
COMMENT ON COLUMN processing_metrics.commit_offsets_ms IS 'Marking the batch as done in the checkpoint, ms.';
COMMENT ON COLUMN processing_metrics.kafka_lag IS 'Records in Kafka that were not yet read when the batch ended, all partitions.';

DO $$
BEGIN
    PERFORM create_hypertable('processing_metrics', by_range('time', INTERVAL '1 day'));
END
$$;
CREATE INDEX processing_metrics_batch ON processing_metrics (query, batch_id);
