-- Readings, one row each, and what is known of the devices that send them.

CREATE TABLE devices (
    device_id text PRIMARY KEY,
    site text,
    room text,
    model text,
    gateway text,
    installed_at timestamptz,
    notes text
);
COMMENT ON TABLE devices IS 'What is known of each device; the streaming job adds site, room and model to its readings.';
COMMENT ON COLUMN devices.device_id IS 'Name of the device, as in its MQTT topic.';
COMMENT ON COLUMN devices.site IS 'Site; where it is null, the one of the MQTT topic is used.';
COMMENT ON COLUMN devices.model IS 'Model of the sensor.';
COMMENT ON COLUMN devices.gateway IS 'Gateway that the device usually publishes to.';

CREATE TABLE sensor_data (
    time timestamptz NOT NULL,
    device_id text NOT NULL,
    seq bigint NOT NULL DEFAULT -1,
    temperature double precision,
    humidity double precision,
    dew_point double precision,
    absolute_humidity double precision,
    measurements jsonb NOT NULL DEFAULT '{}',
    site text,
    room text,
    model text,
    gateway text,
    quality_flags text[] NOT NULL DEFAULT '{}',
    sensor_ts timestamptz,
    received_at timestamptz,
    appended_at timestamptz NOT NULL,
    read_at timestamptz NOT NULL,
    batch_id bigint NOT NULL,
    kafka_partition integer NOT NULL,
    kafka_offset bigint NOT NULL,
    PRIMARY KEY (device_id, time, seq)
);
COMMENT ON TABLE sensor_data IS 'Readings of all devices. All times are UTC, to the microsecond.';
COMMENT ON COLUMN sensor_data.time IS 'When the reading was captured, by the sensor''s clock; by the gateway''s where quality_flags say that the sensor''s could not be used.';
COMMENT ON COLUMN sensor_data.seq IS 'Running number given by the device; -1: it sent none.';
COMMENT ON COLUMN sensor_data.temperature IS 'Air temperature, °C.';
COMMENT ON COLUMN sensor_data.humidity IS 'Relative humidity, %.';
COMMENT ON COLUMN sensor_data.dew_point IS 'Dew point, °C, by the Magnus formula (Alduchov and Eskridge 1996).';
COMMENT ON COLUMN sensor_data.absolute_humidity IS 'Mass of water vapour in the air, g/m³.';
COMMENT ON COLUMN sensor_data.measurements IS 'Further numeric quantities of the payload by name, in the unit that the name says.';
COMMENT ON COLUMN sensor_data.quality_flags IS 'What is doubtful about the reading: ts_missing, ts_unreadable, ts_before_2020, ts_in_future, gateway_clock, replayed, temperature_out_of_range, humidity_out_of_range.';
COMMENT ON COLUMN sensor_data.sensor_ts IS 'Time that the sensor sent, where it was not believed; else null.';
COMMENT ON COLUMN sensor_data.received_at IS 'When the gateway received the message, by the gateway''s clock.';
COMMENT ON COLUMN sensor_data.appended_at IS 'When Kafka appended the record, by the broker''s clock; Kafka keeps milliseconds.';
COMMENT ON COLUMN sensor_data.read_at IS 'When Spark read the record.';
COMMENT ON COLUMN sensor_data.batch_id IS 'Batch of the query store; processing_metrics tells when it was committed.';
COMMENT ON COLUMN sensor_data.kafka_partition IS 'Partition of the topic sensor.raw.';
COMMENT ON COLUMN sensor_data.kafka_offset IS 'Offset in that partition.';

DO $$
BEGIN
    PERFORM create_hypertable('sensor_data', by_range('time', INTERVAL '1 day'));
END
$$;
