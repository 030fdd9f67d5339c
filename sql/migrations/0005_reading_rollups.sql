-- Readings by minute and hour, with the same names and columns on both editions of TimescaleDB: as
-- continuous aggregates where they are licensed, else as tables that `python -m sql.maintain` fills.
-- depends: 0004_clocks_spool_and_reading_times

DO $$
BEGIN
    IF current_setting('timescaledb.license') = 'timescale' THEN
        CREATE MATERIALIZED VIEW sensor_data_1m WITH (timescaledb.continuous) AS
        SELECT
            time_bucket(INTERVAL '1 minute', time) AS time,
            device_id,
            last(site, time) AS site,
            last(room, time) AS room,
            count(*) AS samples,
            count(*) FILTER (WHERE cardinality(quality_flags) > 0) AS flagged,
            count(temperature) AS temperature_samples,
            avg(temperature) AS temperature_avg,
            min(temperature) AS temperature_min,
            max(temperature) AS temperature_max,
            count(humidity) AS humidity_samples,
            avg(humidity) AS humidity_avg,
            min(humidity) AS humidity_min,
            max(humidity) AS humidity_max,
            count(dew_point) AS dew_point_samples,
            avg(dew_point) AS dew_point_avg,
            count(absolute_humidity) AS absolute_humidity_samples,
            avg(absolute_humidity) AS absolute_humidity_avg
        FROM sensor_data
        GROUP BY 1, 2
        WITH NO DATA;

        CREATE MATERIALIZED VIEW sensor_data_1h WITH (timescaledb.continuous) AS
        SELECT
            time_bucket(INTERVAL '1 hour', time) AS time,
            device_id,
            last(site, time) AS site,
            last(room, time) AS room,
            sum(samples)::bigint AS samples,
            sum(flagged)::bigint AS flagged,
            sum(temperature_samples)::bigint AS temperature_samples,
            sum(temperature_avg * temperature_samples) / nullif(sum(temperature_samples), 0) AS temperature_avg,
            min(temperature_min) AS temperature_min,
            max(temperature_max) AS temperature_max,
            sum(humidity_samples)::bigint AS humidity_samples,
            sum(humidity_avg * humidity_samples) / nullif(sum(humidity_samples), 0) AS humidity_avg,
            min(humidity_min) AS humidity_min,
            max(humidity_max) AS humidity_max,
            sum(dew_point_samples)::bigint AS dew_point_samples,
            sum(dew_point_avg * dew_point_samples) / nullif(sum(dew_point_samples), 0) AS dew_point_avg,
            sum(absolute_humidity_samples)::bigint AS absolute_humidity_samples,
            sum(absolute_humidity_avg * absolute_humidity_samples) / nullif(sum(absolute_humidity_samples), 0)
                AS absolute_humidity_avg
        FROM sensor_data_1m
        GROUP BY 1, 2
        WITH NO DATA;
        RETURN;
    END IF;

    CREATE TABLE sensor_data_1m (
        time timestamptz NOT NULL,
        device_id text NOT NULL,
        site text,
        room text,
        samples bigint NOT NULL,
        flagged bigint NOT NULL,
        temperature_samples bigint NOT NULL,
        temperature_avg double precision,
        temperature_min double precision,
        temperature_max double precision,
        humidity_samples bigint NOT NULL,
        humidity_avg double precision,
        humidity_min double precision,
        humidity_max double precision,
        dew_point_samples bigint NOT NULL,
        dew_point_avg double precision,
        absolute_humidity_samples bigint NOT NULL,
        absolute_humidity_avg double precision,
        PRIMARY KEY (device_id, time)
    );
    CREATE TABLE sensor_data_1h (LIKE sensor_data_1m INCLUDING ALL);
    PERFORM create_hypertable('sensor_data_1m', by_range('time', INTERVAL '7 days'));
    PERFORM create_hypertable('sensor_data_1h', by_range('time', INTERVAL '90 days'));

    -- Whoever stores a reading notes its minute in the same transaction, however old it is: so the
    -- roll-ups need no guess at how late a reading may be. No key and no lock, for writers that
    -- commit every few milliseconds. A late reading's device is noted as well, so that a gateway's
    -- week-old backlog does not have all the other devices' minutes read again.
    CREATE TABLE sensor_data_changed (minute timestamptz NOT NULL, device_id text);
    COMMENT ON TABLE sensor_data_changed IS 'Minutes with readings that sensor_data_1m has not yet seen; device_id null: of any device. Emptied by python -m sql.maintain.';

    CREATE FUNCTION note_sensor_data_changed() RETURNS trigger LANGUAGE plpgsql AS $note$
    BEGIN
        INSERT INTO sensor_data_changed (minute, device_id)
        SELECT DISTINCT
            date_trunc('minute', n.time, 'UTC'),
            CASE WHEN n.time < now() - INTERVAL '1 hour' THEN n.device_id END
        FROM new_readings AS n;
        RETURN NULL;
    END
    $note$;
    CREATE TRIGGER note_changed AFTER INSERT ON sensor_data
    REFERENCING NEW TABLE AS new_readings
    FOR EACH STATEMENT EXECUTE FUNCTION note_sensor_data_changed();

    -- The trigger's lock on sensor_data lets no reading slip between it and this.
    INSERT INTO sensor_data_changed (minute)
    SELECT DISTINCT date_trunc('minute', d.time, 'UTC') FROM sensor_data AS d;
END
$$;

DO $$
DECLARE
    kind text := CASE
        WHEN current_setting('timescaledb.license') = 'timescale' THEN 'VIEW' ELSE 'TABLE'
    END;
    relation text;
BEGIN
    EXECUTE format(
        'COMMENT ON %s sensor_data_1m IS %L', kind, 'Readings of each device by minute.'
    );
    EXECUTE format(
        'COMMENT ON %s sensor_data_1h IS %L', kind,
        'Readings of each device by hour, made from the minutes; averages are of all readings.'
    );
    FOREACH relation IN ARRAY ARRAY['sensor_data_1m', 'sensor_data_1h'] LOOP
        EXECUTE format('COMMENT ON COLUMN %I.time IS %L', relation, 'Begin of the interval, UTC.');
        EXECUTE format('COMMENT ON COLUMN %I.site IS %L', relation, 'Site as of the last reading.');
        EXECUTE format('COMMENT ON COLUMN %I.room IS %L', relation, 'Room as of the last reading.');
        EXECUTE format('COMMENT ON COLUMN %I.samples IS %L', relation, 'Readings.');
        EXECUTE format(
            'COMMENT ON COLUMN %I.flagged IS %L', relation,
            'Readings among them that have a quality flag. They are part of all other figures.'
        );
        EXECUTE format('COMMENT ON COLUMN %I.temperature_samples IS %L', relation, 'Readings with a temperature.');
        EXECUTE format('COMMENT ON COLUMN %I.temperature_avg IS %L', relation, '°C; as all of temperature.');
        EXECUTE format('COMMENT ON COLUMN %I.humidity_samples IS %L', relation, 'Readings with a humidity.');
        EXECUTE format('COMMENT ON COLUMN %I.humidity_avg IS %L', relation, '%; as all of humidity.');
        EXECUTE format('COMMENT ON COLUMN %I.dew_point_samples IS %L', relation, 'Readings with a dew point.');
        EXECUTE format('COMMENT ON COLUMN %I.dew_point_avg IS %L', relation, '°C.');
        EXECUTE format('COMMENT ON COLUMN %I.absolute_humidity_samples IS %L', relation, 'Readings with an absolute humidity.');
        EXECUTE format('COMMENT ON COLUMN %I.absolute_humidity_avg IS %L', relation, 'g/m³.');
    END LOOP;
END
$$;
