-- The schema that the migrations lead to, for people to read and review. Not for loading: that is
-- done by `python -m sql.migrate`. Made by `python -m sql.dump`; a test holds it current.

CREATE EXTENSION IF NOT EXISTS timescaledb WITH SCHEMA public;

COMMENT ON EXTENSION timescaledb IS 'Enables scalable inserts and complex queries for time-series data (Apache 2 Edition)';

CREATE FUNCTION public.anomaly_threshold_of(the_device text, the_quantity text, the_kind text) RETURNS double precision
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

COMMENT ON FUNCTION public.anomaly_threshold_of(the_device text, the_quantity text, the_kind text) IS 'Least score at which an anomaly of this kind is stored.';

CREATE FUNCTION public.get_pipeline_latency_stats(time_window interval DEFAULT '00:02:00'::interval) RETURNS TABLE(stage text, avg_ms double precision, min_ms double precision, max_ms double precision, p50_ms double precision, p95_ms double precision, p99_ms double precision, samples bigint)
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
    WITH stages (position, metric_name, stage) AS (
        VALUES
            (1, 'mqtt_to_kafka', 'MQTT → Kafka'),
            (2, 'kafka_to_spark', 'Kafka → Spark'),
            (3, 'spark_to_timescaledb', 'Spark → TimescaleDB'),
            (4, 'total_pipeline_latency', 'Total (bout en bout)')
    ),
    changed AS MATERIALIZED (
        SELECT DISTINCT c.minute
        FROM pipeline_kpi_changed AS c
        WHERE c.minute > now() - time_window
    ),
    recent AS MATERIALIZED (
        SELECT m.metric_name, m.samples, m.min_ms, m.max_ms, m.sum_ms, m.bucket_index, m.bucket_count
        FROM pipeline_kpi_1m AS m
        WHERE
            m.time > now() - time_window
            AND m.time NOT IN (SELECT c.minute FROM changed AS c)
            AND m.metric_name IN (SELECT s.metric_name FROM stages AS s)
        UNION ALL
        SELECT k.metric_name, k.samples, k.min_ms, k.max_ms, k.sum_ms, k.bucket_index, k.bucket_count
        FROM changed AS c
        INNER JOIN LATERAL (
            SELECT r.*
            FROM pipeline_kpi AS r
            WHERE r.time >= c.minute AND r.time < c.minute + INTERVAL '1 minute'
        ) AS k ON true
        WHERE k.metric_name IN (SELECT s.metric_name FROM stages AS s)
        UNION ALL
        -- The minute that the window begins in.
        SELECT k.metric_name, k.samples, k.min_ms, k.max_ms, k.sum_ms, k.bucket_index, k.bucket_count
        FROM pipeline_kpi AS k
        WHERE
            k.time > now() - time_window
            AND k.time < date_trunc('minute', now() - time_window, 'UTC') + INTERVAL '1 minute'
            AND k.metric_name IN (SELECT s.metric_name FROM stages AS s)
    ),
    totals AS (
        SELECT
            r.metric_name,
            sum(r.samples)::bigint AS samples,
            sum(r.sum_ms) / sum(r.samples) AS avg_ms,
            min(r.min_ms) AS min_ms,
            max(r.max_ms) AS max_ms
        FROM recent AS r
        GROUP BY r.metric_name
    ),
    buckets AS (
        SELECT r.metric_name, b.bucket, sum(b.number) AS number
        FROM recent AS r
        CROSS JOIN LATERAL unnest(r.bucket_index, r.bucket_count) AS b (bucket, number)
        GROUP BY r.metric_name, b.bucket
    ),
    ranks AS (
        SELECT
            b.metric_name,
            b.bucket,
            sum(b.number) OVER (PARTITION BY b.metric_name ORDER BY b.bucket) AS up_to
        FROM buckets AS b
    ),
    -- A percentile is the smallest value with at least that share of the samples up to it,
    -- as percentile_disc() has it.
    percentiles AS (
        SELECT
            t.metric_name,
            latency_bucket_ms(min(r.bucket) FILTER (WHERE r.up_to >= 0.50 * t.samples)) AS p50_ms,
            latency_bucket_ms(min(r.bucket) FILTER (WHERE r.up_to >= 0.95 * t.samples)) AS p95_ms,
            latency_bucket_ms(min(r.bucket) FILTER (WHERE r.up_to >= 0.99 * t.samples)) AS p99_ms
        FROM totals AS t
        INNER JOIN ranks AS r ON r.metric_name = t.metric_name
        GROUP BY t.metric_name
    )
    -- min and max are exact, so no percentile need lie outside them.
    SELECT
        s.stage,
        t.avg_ms,
        t.min_ms,
        t.max_ms,
        least(greatest(p.p50_ms, t.min_ms), t.max_ms),
        least(greatest(p.p95_ms, t.min_ms), t.max_ms),
        least(greatest(p.p99_ms, t.min_ms), t.max_ms),
        coalesce(t.samples, 0)
    FROM stages AS s
    LEFT JOIN totals AS t ON t.metric_name = s.metric_name
    LEFT JOIN percentiles AS p ON p.metric_name = s.metric_name
    ORDER BY s.position
$$;

COMMENT ON FUNCTION public.get_pipeline_latency_stats(time_window interval) IS 'Latency of the four stages over the readings committed within time_window before now: always four rows; samples is 0 and all else null where there were none. Percentiles are within 1 % of the exact ones.';

CREATE FUNCTION public.latency_bucket_ms(bucket integer) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT sign(bucket) * 2 * power(1.02::double precision, abs(bucket) - 1) / 2.02 / 1000
$$;

COMMENT ON FUNCTION public.latency_bucket_ms(bucket integer) IS 'Value in ms that stands for a bucket. The histogram follows DDSketch (Masson, Rim and Lee: DDSketch, a fast and fully-mergeable quantile sketch with relative-error guarantees, PVLDB 12, 2019) with gamma = 1.02, on microseconds: a latency of x >= 1 µs is in bucket 1 + ceil(ln(x) / ln(gamma)), one below zero in the bucket of the opposite sign, zero in bucket 0. 2 * gamma^i / (gamma + 1) is then at most (gamma - 1) / (gamma + 1) = 0.99 % from every value of bucket 1 + i.';

CREATE FUNCTION public.mark_false_alarm(the_device text, the_quantity text, the_kind text, the_time timestamp with time zone) RETURNS double precision
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

COMMENT ON FUNCTION public.mark_false_alarm(the_device text, the_quantity text, the_kind text, the_time timestamp with time zone) IS 'Say that an alarm was none: the device''s threshold of its kind rises above its score. Returns the new one; no row: there was no such anomaly.';

CREATE FUNCTION public.note_pipeline_kpi_changed() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO pipeline_kpi_changed (minute)
    SELECT DISTINCT date_trunc('minute', n.time, 'UTC') FROM new_rows AS n;
    RETURN NULL;
END
$$;

CREATE FUNCTION public.note_sensor_data_changed() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
    BEGIN
        INSERT INTO sensor_data_changed (minute, device_id)
        SELECT DISTINCT
            date_trunc('minute', n.time, 'UTC'),
            CASE WHEN n.time < now() - INTERVAL '1 hour' THEN n.device_id END
        FROM new_readings AS n;
        RETURN NULL;
    END
    $$;

CREATE TABLE public.anomalies (
    "time" timestamp with time zone NOT NULL,
    device_id text NOT NULL,
    quantity text NOT NULL,
    kind text NOT NULL,
    value double precision,
    expected_low double precision,
    expected_high double precision,
    score double precision NOT NULL,
    detector_version integer NOT NULL,
    found_at timestamp with time zone DEFAULT now() NOT NULL,
    verdict text,
    gateway text,
    CONSTRAINT anomalies_kind_check CHECK ((kind = ANY (ARRAY['outlier'::text, 'level_shift'::text, 'drift'::text, 'stuck'::text, 'noise_change'::text, 'impossible'::text, 'silence'::text]))),
    CONSTRAINT anomalies_verdict_check CHECK ((verdict = ANY (ARRAY['true'::text, 'false_alarm'::text])))
);

COMMENT ON TABLE public.anomalies IS 'Anomalies of readings. A batch that runs again finds its own.';

COMMENT ON COLUMN public.anomalies."time" IS 'Of the reading that gave the alarm; of a silence, when the device was last heard.';

COMMENT ON COLUMN public.anomalies.quantity IS 'temperature (°C), humidity (% RH); all: it concerns the device.';

COMMENT ON COLUMN public.anomalies.expected_low IS 'Least value that would not have been far from the expected one, in the quantity''s unit.';

COMMENT ON COLUMN public.anomalies.expected_high IS 'Greatest such value.';

COMMENT ON COLUMN public.anomalies.score IS 'Strength in default thresholds: 1 is just an anomaly.';

COMMENT ON COLUMN public.anomalies.verdict IS 'What people say of it; null: nothing yet.';

COMMENT ON COLUMN public.anomalies.gateway IS 'That heard the device last; null: not known.';

CREATE TABLE public.devices (
    device_id text NOT NULL,
    site text,
    room text,
    model text,
    gateway text,
    installed_at timestamp with time zone,
    notes text
);

COMMENT ON TABLE public.devices IS 'What is known of each device; the streaming job adds site, room and model to its readings.';

COMMENT ON COLUMN public.devices.device_id IS 'Name of the device, as in its MQTT topic.';

COMMENT ON COLUMN public.devices.site IS 'Site; where it is null, the one of the MQTT topic is used.';

COMMENT ON COLUMN public.devices.model IS 'Model of the sensor.';

COMMENT ON COLUMN public.devices.gateway IS 'Gateway that the device usually publishes to.';

CREATE VIEW public.anomalies_in_rooms AS
 SELECT a."time",
    a.device_id,
    a.quantity,
    a.kind,
    a.value,
    a.expected_low,
    a.expected_high,
    a.score,
    a.detector_version,
    a.found_at,
    a.verdict,
    a.gateway,
    d.site,
    d.room,
    n.neighbours,
    n.agreeing
   FROM ((public.anomalies a
     LEFT JOIN public.devices d ON ((d.device_id = a.device_id)))
     CROSS JOIN LATERAL ( SELECT (count(*))::integer AS neighbours,
            (count(*) FILTER (WHERE (EXISTS ( SELECT
                   FROM public.anomalies b
                  WHERE ((b.device_id = o.device_id) AND (b.quantity = a.quantity) AND (b.kind = ANY (ARRAY['outlier'::text, 'level_shift'::text, 'drift'::text])) AND ((b."time" >= (a."time" - '00:10:00'::interval)) AND (b."time" <= (a."time" + '00:10:00'::interval))))))))::integer AS agreeing
           FROM public.devices o
          WHERE ((o.site = d.site) AND (o.room = d.room) AND (o.device_id <> a.device_id))) n);

COMMENT ON VIEW public.anomalies_in_rooms IS 'Anomalies with how many other devices the room has, and how many of them deviated in the same quantity within ten minutes.';

CREATE TABLE public.anomaly_threshold (
    device_id text,
    room text,
    model text,
    quantity text,
    kind text,
    factor double precision NOT NULL,
    CONSTRAINT anomaly_threshold_factor_check CHECK ((factor > (0)::double precision))
);

COMMENT ON TABLE public.anomaly_threshold IS 'Thresholds other than the default. A null matches all; of the rows that match, the one that names the device counts before room before model, then the highest factor.';

COMMENT ON COLUMN public.anomaly_threshold.factor IS 'Least score to be stored; infinity switches the kind off. Below 1 it finds more outliers, down to 0.5; other kinds begin at 1.';

CREATE TABLE public.device_life (
    device_id text NOT NULL,
    life integer NOT NULL,
    begin_time timestamp with time zone NOT NULL,
    newest_time timestamp with time zone NOT NULL,
    seen int8multirange NOT NULL
);

COMMENT ON TABLE public.device_life IS 'Numbers (seq) of the readings that arrived. A device that begins to count anew begins a new life.';

COMMENT ON COLUMN public.device_life.begin_time IS 'When its first reading was captured.';

COMMENT ON COLUMN public.device_life.newest_time IS 'When its newest reading was captured.';

CREATE TABLE public.kafka_position (
    topic text NOT NULL,
    partition integer NOT NULL,
    first_offset bigint NOT NULL,
    batch_id bigint NOT NULL,
    next_offset bigint
);

COMMENT ON TABLE public.kafka_position IS 'Place of the query store in each partition, written in the same transaction as the readings.';

COMMENT ON COLUMN public.kafka_position.first_offset IS 'Where the newest batch began: all records before it are dealt with, their dead letters included.';

COMMENT ON COLUMN public.kafka_position.batch_id IS 'That batch.';

COMMENT ON COLUMN public.kafka_position.next_offset IS 'Behind the last record of that batch.';

CREATE TABLE public.ledger_gap (
    device_id text NOT NULL,
    life integer NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    hour timestamp with time zone NOT NULL,
    opened_at timestamp with time zone DEFAULT now() NOT NULL,
    closed_at timestamp with time zone
);

COMMENT ON TABLE public.ledger_gap IS 'Numbers that did not arrive in their turn. One that is filled in part stands as several.';

COMMENT ON COLUMN public.ledger_gap.hour IS 'Hour in which the reading behind the gap was captured, UTC.';

COMMENT ON COLUMN public.ledger_gap.opened_at IS 'When it was noticed.';

COMMENT ON COLUMN public.ledger_gap.closed_at IS 'When it was seen to be filled; null: the readings are missing.';

CREATE TABLE public.ledger_note (
    device_id text NOT NULL,
    hour timestamp with time zone NOT NULL,
    kind text NOT NULL,
    readings bigint NOT NULL,
    batch_id bigint NOT NULL,
    kafka_partition integer NOT NULL,
    CONSTRAINT ledger_note_kind_check CHECK ((kind = ANY (ARRAY['duplicate'::text, 'late'::text, 'rejected'::text])))
);

COMMENT ON TABLE public.ledger_note IS 'What the streaming job noticed of a batch, in the transaction that stored it.';

COMMENT ON COLUMN public.ledger_note.hour IS 'Hour of the capture; of rejected records, of Kafka''s time.';

CREATE TABLE public.sensor_data_1h (
    "time" timestamp with time zone CONSTRAINT sensor_data_1m_time_not_null NOT NULL,
    device_id text CONSTRAINT sensor_data_1m_device_id_not_null NOT NULL,
    site text,
    room text,
    samples bigint CONSTRAINT sensor_data_1m_samples_not_null NOT NULL,
    flagged bigint CONSTRAINT sensor_data_1m_flagged_not_null NOT NULL,
    temperature_samples bigint CONSTRAINT sensor_data_1m_temperature_samples_not_null NOT NULL,
    temperature_avg double precision,
    temperature_min double precision,
    temperature_max double precision,
    humidity_samples bigint CONSTRAINT sensor_data_1m_humidity_samples_not_null NOT NULL,
    humidity_avg double precision,
    humidity_min double precision,
    humidity_max double precision,
    dew_point_samples bigint CONSTRAINT sensor_data_1m_dew_point_samples_not_null NOT NULL,
    dew_point_avg double precision,
    absolute_humidity_samples bigint CONSTRAINT sensor_data_1m_absolute_humidity_samples_not_null NOT NULL,
    absolute_humidity_avg double precision
);

COMMENT ON TABLE public.sensor_data_1h IS 'Readings of each device by hour, made from the minutes; averages are of all readings.';

COMMENT ON COLUMN public.sensor_data_1h."time" IS 'Begin of the interval, UTC.';

COMMENT ON COLUMN public.sensor_data_1h.site IS 'Site as of the last reading.';

COMMENT ON COLUMN public.sensor_data_1h.room IS 'Room as of the last reading.';

COMMENT ON COLUMN public.sensor_data_1h.samples IS 'Readings.';

COMMENT ON COLUMN public.sensor_data_1h.flagged IS 'Readings among them that have a quality flag. They are part of all other figures.';

COMMENT ON COLUMN public.sensor_data_1h.temperature_samples IS 'Readings with a temperature.';

COMMENT ON COLUMN public.sensor_data_1h.temperature_avg IS '°C; as all of temperature.';

COMMENT ON COLUMN public.sensor_data_1h.humidity_samples IS 'Readings with a humidity.';

COMMENT ON COLUMN public.sensor_data_1h.humidity_avg IS '%; as all of humidity.';

COMMENT ON COLUMN public.sensor_data_1h.dew_point_samples IS 'Readings with a dew point.';

COMMENT ON COLUMN public.sensor_data_1h.dew_point_avg IS '°C.';

COMMENT ON COLUMN public.sensor_data_1h.absolute_humidity_samples IS 'Readings with an absolute humidity.';

COMMENT ON COLUMN public.sensor_data_1h.absolute_humidity_avg IS 'g/m³.';

CREATE VIEW public.ledger AS
 WITH missing AS (
         SELECT g.device_id,
            g.hour,
            sum(((g.last_seq - g.first_seq) + 1)) AS readings
           FROM public.ledger_gap g
          WHERE (g.closed_at IS NULL)
          GROUP BY g.device_id, g.hour
        ), noted AS (
         SELECT n_1.device_id,
            n_1.hour,
            sum(n_1.readings) FILTER (WHERE (n_1.kind = 'duplicate'::text)) AS duplicate,
            sum(n_1.readings) FILTER (WHERE (n_1.kind = 'late'::text)) AS late,
            sum(n_1.readings) FILTER (WHERE (n_1.kind = 'rejected'::text)) AS rejected
           FROM public.ledger_note n_1
          GROUP BY n_1.device_id, n_1.hour
        ), seen AS (
         SELECT s_1.device_id,
            s_1."time" AS hour,
            s_1.samples AS readings
           FROM public.sensor_data_1h s_1
        )
 SELECT device_id,
    hour,
    (((COALESCE(s.readings, (0)::bigint))::numeric + COALESCE(m.readings, (0)::numeric)))::bigint AS expected,
    COALESCE(s.readings, (0)::bigint) AS seen,
    (COALESCE(n.duplicate, (0)::numeric))::bigint AS duplicate,
    (COALESCE(n.late, (0)::numeric))::bigint AS late,
    (COALESCE(n.rejected, (0)::numeric))::bigint AS rejected,
    (COALESCE(m.readings, (0)::numeric))::bigint AS missing
   FROM ((seen s
     FULL JOIN missing m USING (device_id, hour))
     FULL JOIN noted n USING (device_id, hour));

COMMENT ON VIEW public.ledger IS 'Readings of each device by hour of capture: expected (seen and missing), seen, and of these late; duplicate copies that were left out; rejected records; missing by the gaps in the device''s numbers.';

CREATE TABLE public.ledger_progress (
    topic text NOT NULL,
    partition integer NOT NULL,
    done bigint NOT NULL
);

COMMENT ON TABLE public.ledger_progress IS 'How far the ledger has read.';

COMMENT ON COLUMN public.ledger_progress.done IS 'All rows with a lower offset are in the ledger.';

CREATE TABLE public.pipeline_kpi (
    "time" timestamp with time zone NOT NULL,
    metric_name text NOT NULL,
    value_ms double precision NOT NULL,
    samples bigint NOT NULL,
    min_ms double precision NOT NULL,
    max_ms double precision NOT NULL,
    sum_ms double precision NOT NULL,
    negative_count bigint NOT NULL,
    bucket_index integer[] NOT NULL,
    bucket_count bigint[] NOT NULL,
    query text NOT NULL,
    run_id uuid NOT NULL,
    batch_id bigint NOT NULL,
    gateway text,
    CONSTRAINT pipeline_kpi_check CHECK ((cardinality(bucket_index) = cardinality(bucket_count))),
    CONSTRAINT pipeline_kpi_samples_check CHECK ((samples > 0))
);

COMMENT ON TABLE public.pipeline_kpi IS 'Latency of the pipeline''s stages, one row per stage and micro-batch, or (real time) second, and the gateways'' clocks, one row per metric, gateway and batch or second. Only rows that were new count.';

COMMENT ON COLUMN public.pipeline_kpi."time" IS 'When the last of the row''s transactions was committed; taken after the commit had returned.';

COMMENT ON COLUMN public.pipeline_kpi.metric_name IS 'mqtt_to_kafka: appended - captured; kafka_to_spark: read - appended; spark_to_timescaledb: committed - read; total_pipeline_latency: committed - captured. gateway_clock_offset: how far the gateway''s clock is from true time, gateway_clock_error: how sure that is, as chrony on the gateway has it.';

COMMENT ON COLUMN public.pipeline_kpi.value_ms IS 'Mean latency, ms.';

COMMENT ON COLUMN public.pipeline_kpi.samples IS 'Readings measured.';

COMMENT ON COLUMN public.pipeline_kpi.min_ms IS 'Least latency, ms; below zero where two hosts'' clocks differ.';

COMMENT ON COLUMN public.pipeline_kpi.max_ms IS 'Greatest latency, ms.';

COMMENT ON COLUMN public.pipeline_kpi.sum_ms IS 'Sum of the latencies, ms.';

COMMENT ON COLUMN public.pipeline_kpi.negative_count IS 'Samples below zero. They are part of all other figures.';

COMMENT ON COLUMN public.pipeline_kpi.bucket_index IS 'Buckets of the histogram that hold a sample, ascending; see latency_bucket_ms().';

COMMENT ON COLUMN public.pipeline_kpi.bucket_count IS 'Samples in each of those buckets.';

COMMENT ON COLUMN public.pipeline_kpi.gateway IS 'Gateway that a clock metric is of; null for the stages.';

CREATE TABLE public.pipeline_kpi_1m (
    "time" timestamp with time zone NOT NULL,
    metric_name text NOT NULL,
    gateway text NOT NULL,
    samples bigint NOT NULL,
    min_ms double precision NOT NULL,
    max_ms double precision NOT NULL,
    sum_ms double precision NOT NULL,
    negative_count bigint NOT NULL,
    bucket_index integer[] NOT NULL,
    bucket_count bigint[] NOT NULL
);

COMMENT ON TABLE public.pipeline_kpi_1m IS 'pipeline_kpi by minute; the columns are as there.';

COMMENT ON COLUMN public.pipeline_kpi_1m."time" IS 'Begin of the minute, UTC.';

COMMENT ON COLUMN public.pipeline_kpi_1m.gateway IS 'Gateway that a clock metric is of; empty for the stages.';

CREATE TABLE public.pipeline_kpi_changed (
    minute timestamp with time zone NOT NULL
);

COMMENT ON TABLE public.pipeline_kpi_changed IS 'Minutes with rows that pipeline_kpi_1m has not yet seen. Emptied by python -m sql.maintain.';

CREATE TABLE public.processing_metrics (
    "time" timestamp with time zone NOT NULL,
    query text NOT NULL,
    run_id uuid NOT NULL,
    batch_id bigint NOT NULL,
    rows_in bigint NOT NULL,
    rows_stored bigint NOT NULL,
    rows_duplicate bigint NOT NULL,
    rows_late bigint NOT NULL,
    rows_rejected bigint NOT NULL,
    bytes bigint NOT NULL,
    committed_at timestamp with time zone,
    trigger_ms bigint,
    latest_offset_ms bigint,
    query_planning_ms bigint,
    wal_commit_ms bigint,
    add_batch_ms bigint,
    commit_offsets_ms bigint,
    kafka_lag bigint,
    spool_records bigint
);

COMMENT ON TABLE public.processing_metrics IS 'Figures of the streaming job''s queries: one row per micro-batch, and one more for a batch that ran again after a failure; of the query store in real time one row per second and batch.';

COMMENT ON COLUMN public.processing_metrics."time" IS 'When the batch was triggered, or (real time) the second began.';

COMMENT ON COLUMN public.processing_metrics.query IS 'store or archive.';

COMMENT ON COLUMN public.processing_metrics.run_id IS 'Changes with each start of the query.';

COMMENT ON COLUMN public.processing_metrics.rows_in IS 'Records read from Kafka.';

COMMENT ON COLUMN public.processing_metrics.rows_stored IS 'Readings that were new, or (archive) written.';

COMMENT ON COLUMN public.processing_metrics.rows_duplicate IS 'Readings that were stored already.';

COMMENT ON COLUMN public.processing_metrics.rows_late IS 'Readings that Kafka appended later after their capture than the job''s setting late_after_seconds.';

COMMENT ON COLUMN public.processing_metrics.rows_rejected IS 'Records that are no readings; the query store sends them to the dead letter topic.';

COMMENT ON COLUMN public.processing_metrics.bytes IS 'Bytes of the payloads read.';

COMMENT ON COLUMN public.processing_metrics.committed_at IS 'When the last of the row''s transactions, or uploads, had returned.';

COMMENT ON COLUMN public.processing_metrics.trigger_ms IS 'Whole batch, ms; the columns up to commit_offsets_ms are Spark''s figures for its phases.';

COMMENT ON COLUMN public.processing_metrics.latest_offset_ms IS 'Asking Kafka for the newest offsets, ms.';

COMMENT ON COLUMN public.processing_metrics.query_planning_ms IS 'Planning, ms.';

COMMENT ON COLUMN public.processing_metrics.wal_commit_ms IS 'Writing the batch''s offsets to the checkpoint, ms.';

COMMENT ON COLUMN public.processing_metrics.add_batch_ms IS 'Reading, transforming and storing, ms.';

COMMENT ON COLUMN public.processing_metrics.commit_offsets_ms IS 'Marking the batch as done in the checkpoint, ms.';

COMMENT ON COLUMN public.processing_metrics.kafka_lag IS 'Records in Kafka that were not yet read when the batch ended, all partitions.';

COMMENT ON COLUMN public.processing_metrics.spool_records IS 'Records that waited in the gateways'' spools, as the newest records of the batch said; null: not known.';

CREATE TABLE public.sensor_data (
    "time" timestamp with time zone NOT NULL,
    device_id text NOT NULL,
    seq bigint DEFAULT '-1'::integer NOT NULL,
    temperature double precision,
    humidity double precision,
    dew_point double precision,
    absolute_humidity double precision,
    measurements jsonb DEFAULT '{}'::jsonb NOT NULL,
    site text,
    room text,
    model text,
    gateway text,
    quality_flags text[] DEFAULT '{}'::text[] NOT NULL,
    sensor_ts timestamp with time zone,
    received_at timestamp with time zone,
    appended_at timestamp with time zone NOT NULL,
    read_at timestamp with time zone NOT NULL,
    batch_id bigint NOT NULL,
    kafka_partition integer NOT NULL,
    kafka_offset bigint NOT NULL
);

COMMENT ON TABLE public.sensor_data IS 'Readings of all devices. All times are UTC, to the microsecond.';

COMMENT ON COLUMN public.sensor_data."time" IS 'When the reading was captured, by the sensor''s clock; by the gateway''s where quality_flags say that the sensor''s could not be used.';

COMMENT ON COLUMN public.sensor_data.seq IS 'Running number given by the device; -1: it sent none.';

COMMENT ON COLUMN public.sensor_data.temperature IS 'Air temperature, °C.';

COMMENT ON COLUMN public.sensor_data.humidity IS 'Relative humidity, %.';

COMMENT ON COLUMN public.sensor_data.dew_point IS 'Dew point, °C, by the Magnus formula (Alduchov and Eskridge 1996).';

COMMENT ON COLUMN public.sensor_data.absolute_humidity IS 'Mass of water vapour in the air, g/m³.';

COMMENT ON COLUMN public.sensor_data.measurements IS 'Further numeric quantities of the payload by name, in the unit that the name says.';

COMMENT ON COLUMN public.sensor_data.quality_flags IS 'What is doubtful about the reading: ts_missing, ts_unreadable, ts_before_2020, ts_in_future: time is not the sensor''s; gateway_clock: it is the gateway''s; gateway_unsynchronised: the gateway''s clock had not been set; gateway_time_corrected: it was set after receipt and the time put right; replayed; temperature_out_of_range, humidity_out_of_range.';

COMMENT ON COLUMN public.sensor_data.sensor_ts IS 'Time that the sensor sent, where it was not believed; else null.';

COMMENT ON COLUMN public.sensor_data.received_at IS 'When the gateway received the message, by the gateway''s clock.';

COMMENT ON COLUMN public.sensor_data.appended_at IS 'When Kafka appended the record, by the broker''s clock; Kafka keeps milliseconds.';

COMMENT ON COLUMN public.sensor_data.read_at IS 'When Spark read the record.';

COMMENT ON COLUMN public.sensor_data.batch_id IS 'Batch of the query store; processing_metrics tells when it was committed.';

COMMENT ON COLUMN public.sensor_data.kafka_partition IS 'Partition of the topic sensor.raw.';

COMMENT ON COLUMN public.sensor_data.kafka_offset IS 'Offset in that partition.';

CREATE VIEW public.reading_times AS
 SELECT device_id,
    seq,
    "time" AS captured_at,
    received_at,
    appended_at,
    read_at,
    ( SELECT min(m.committed_at) AS min
           FROM public.processing_metrics m
          WHERE ((m.query = 'store'::text) AND (m.batch_id = d.batch_id) AND (m."time" > (d.read_at - '1 day'::interval)) AND (m."time" < (d.read_at + '1 day'::interval)) AND (m.committed_at >= d.read_at))) AS committed_at,
    quality_flags
   FROM public.sensor_data d;

COMMENT ON VIEW public.reading_times IS 'The five times of each reading: captured, received, appended, read, committed. committed_at is that of the whole batch, in real time up to a second late (pipeline_kpi is exact), and null where the figures are missing.';

CREATE TABLE public.retention (
    relation text NOT NULL,
    keep interval,
    applied_at timestamp with time zone
);

COMMENT ON TABLE public.retention IS 'How long each relation is kept; chunks are dropped when all that is in them is older.';

COMMENT ON COLUMN public.retention.keep IS 'Null: for ever.';

COMMENT ON COLUMN public.retention.applied_at IS 'When old chunks were last looked for, or the policy was set; null: the next run does it.';

CREATE TABLE public.schema_checksum (
    migration_id text NOT NULL,
    sha256 text NOT NULL
);

CREATE TABLE public.sensor_data_1m (
    "time" timestamp with time zone NOT NULL,
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
    absolute_humidity_avg double precision
);

COMMENT ON TABLE public.sensor_data_1m IS 'Readings of each device by minute.';

COMMENT ON COLUMN public.sensor_data_1m."time" IS 'Begin of the interval, UTC.';

COMMENT ON COLUMN public.sensor_data_1m.site IS 'Site as of the last reading.';

COMMENT ON COLUMN public.sensor_data_1m.room IS 'Room as of the last reading.';

COMMENT ON COLUMN public.sensor_data_1m.samples IS 'Readings.';

COMMENT ON COLUMN public.sensor_data_1m.flagged IS 'Readings among them that have a quality flag. They are part of all other figures.';

COMMENT ON COLUMN public.sensor_data_1m.temperature_samples IS 'Readings with a temperature.';

COMMENT ON COLUMN public.sensor_data_1m.temperature_avg IS '°C; as all of temperature.';

COMMENT ON COLUMN public.sensor_data_1m.humidity_samples IS 'Readings with a humidity.';

COMMENT ON COLUMN public.sensor_data_1m.humidity_avg IS '%; as all of humidity.';

COMMENT ON COLUMN public.sensor_data_1m.dew_point_samples IS 'Readings with a dew point.';

COMMENT ON COLUMN public.sensor_data_1m.dew_point_avg IS '°C.';

COMMENT ON COLUMN public.sensor_data_1m.absolute_humidity_samples IS 'Readings with an absolute humidity.';

COMMENT ON COLUMN public.sensor_data_1m.absolute_humidity_avg IS 'g/m³.';

CREATE TABLE public.sensor_data_changed (
    minute timestamp with time zone NOT NULL,
    device_id text
);

COMMENT ON TABLE public.sensor_data_changed IS 'Minutes with readings that sensor_data_1m has not yet seen; device_id null: of any device. Emptied by python -m sql.maintain.';

ALTER TABLE ONLY public.anomalies
    ADD CONSTRAINT anomalies_pkey PRIMARY KEY (device_id, quantity, kind, "time");

ALTER TABLE ONLY public.anomaly_threshold
    ADD CONSTRAINT anomaly_threshold_device_id_room_model_quantity_kind_key UNIQUE NULLS NOT DISTINCT (device_id, room, model, quantity, kind);

ALTER TABLE ONLY public.device_life
    ADD CONSTRAINT device_life_pkey PRIMARY KEY (device_id, life);

ALTER TABLE ONLY public.devices
    ADD CONSTRAINT devices_pkey PRIMARY KEY (device_id);

ALTER TABLE ONLY public.kafka_position
    ADD CONSTRAINT kafka_position_pkey PRIMARY KEY (topic, partition);

ALTER TABLE ONLY public.ledger_note
    ADD CONSTRAINT ledger_note_pkey PRIMARY KEY (batch_id, kafka_partition, device_id, hour, kind);

ALTER TABLE ONLY public.ledger_progress
    ADD CONSTRAINT ledger_progress_pkey PRIMARY KEY (topic, partition);

ALTER TABLE ONLY public.pipeline_kpi_1m
    ADD CONSTRAINT pipeline_kpi_1m_pkey PRIMARY KEY (metric_name, gateway, "time");

ALTER TABLE ONLY public.retention
    ADD CONSTRAINT retention_pkey PRIMARY KEY (relation);

ALTER TABLE ONLY public.schema_checksum
    ADD CONSTRAINT schema_checksum_pkey PRIMARY KEY (migration_id);

ALTER TABLE ONLY public.sensor_data_1h
    ADD CONSTRAINT sensor_data_1h_pkey PRIMARY KEY (device_id, "time");

ALTER TABLE ONLY public.sensor_data_1m
    ADD CONSTRAINT sensor_data_1m_pkey PRIMARY KEY (device_id, "time");

ALTER TABLE ONLY public.sensor_data
    ADD CONSTRAINT sensor_data_pkey PRIMARY KEY (device_id, "time", seq);

CREATE INDEX anomalies_found_at ON public.anomalies USING btree (found_at DESC);

CREATE INDEX anomalies_time ON public.anomalies USING btree ("time" DESC);

CREATE INDEX ledger_gap_device ON public.ledger_gap USING btree (device_id, life);

CREATE INDEX ledger_note_device ON public.ledger_note USING btree (device_id, hour);

CREATE INDEX pipeline_kpi_1m_time_idx ON public.pipeline_kpi_1m USING btree ("time" DESC);

CREATE INDEX pipeline_kpi_time_idx ON public.pipeline_kpi USING btree ("time" DESC);

CREATE INDEX processing_metrics_batch ON public.processing_metrics USING btree (query, batch_id);

CREATE INDEX processing_metrics_time_idx ON public.processing_metrics USING btree ("time" DESC);

CREATE INDEX sensor_data_1h_time_idx ON public.sensor_data_1h USING btree ("time" DESC);

CREATE INDEX sensor_data_1m_time_idx ON public.sensor_data_1m USING btree ("time" DESC);

CREATE INDEX sensor_data_offset ON public.sensor_data USING brin (kafka_offset) WITH (pages_per_range='32', autosummarize='on');

CREATE INDEX sensor_data_time_idx ON public.sensor_data USING btree ("time" DESC);

CREATE TRIGGER note_changed AFTER INSERT ON public.pipeline_kpi REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.note_pipeline_kpi_changed();

CREATE TRIGGER note_changed AFTER INSERT ON public.sensor_data REFERENCING NEW TABLE AS new_readings FOR EACH STATEMENT EXECUTE FUNCTION public.note_sensor_data_changed();

-- hypertable pipeline_kpi: by time, chunks of 1 day
-- hypertable pipeline_kpi_1m: by time, chunks of 7 days
-- hypertable processing_metrics: by time, chunks of 1 day
-- hypertable sensor_data: by time, chunks of 1 day
-- hypertable sensor_data_1h: by time, chunks of 90 days
-- hypertable sensor_data_1m: by time, chunks of 7 days
