-- Where a streaming job that lost its checkpoint begins.
-- depends: 0007_retention

CREATE TABLE kafka_position (
    topic text,
    partition integer,
    first_offset bigint NOT NULL,
    batch_id bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE kafka_position IS 'Place of the query store in each partition, written in the same transaction as the readings.';
COMMENT ON COLUMN kafka_position.first_offset IS 'Where the newest batch began: all records before it are dealt with, their dead letters included.';
COMMENT ON COLUMN kafka_position.batch_id IS 'That batch.';
