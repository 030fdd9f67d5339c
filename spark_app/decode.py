"""Kafka records to readings: parse, validate, settle the time. Expressions only, no state."""

from datetime import UTC, datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the customary name

from telemetry import headers

# No clock of this project's devices was right before.
EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)

_RESERVED = ("device_id", "ts", "seq", "temperature", "humidity", "replay")
_NUMERIC = "^(TINYINT|SMALLINT|INT|BIGINT|DECIMAL|FLOAT|DOUBLE)"
_TOPIC = r"^sensors/([^/+#\x00]+)/([^/+#\x00]+)/telemetry\z"
# With a zone: a local time says nothing about when it was.
_ISO_8601 = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d([.,]\d+)?(Z|[+-]\d\d(:?\d\d)?)\z"
# An index entry of PostgreSQL holds about 2,700 bytes.
_MAX_NAME_BYTES = 255
_MILLISECONDS_ABOVE = 10**11
_FALSE = "false"


def decode(records: DataFrame, future_tolerance: timedelta = timedelta(minutes=5)) -> DataFrame:
    """Turn records of the raw topic into readings and refusals.

    Args:
        records: as Spark's Kafka source gives them, headers included.
        future_tolerance: how far a sensor's clock may be ahead of the arrival.

    Returns:
        One row per record: `reason` (null: a reading), the reading's columns but those that
        `enrich` adds, `clock_flags` (array of text), those of CONTROL_COLUMNS, and `key`, `value`
        and `headers` as they came.
    """
    return (
        records.transform(_open_record)
        .transform(_open_payload)
        .transform(_validate)
        .transform(lambda frame: _settle_time(frame, future_tolerance))
    )


def _header(name: str) -> Column:
    # A filter over the array would run interpreted, and twice: 40 µs a record for all headers.
    place = F.array_position("header_names", name).cast("int") - 1
    text = F.get("header_values", place).cast("string")
    return F.when(F.is_valid_utf8(text), text)


def _number(name: str) -> Column:
    return _header(name).try_cast("bigint")


def _open_record(records: DataFrame) -> DataFrame:
    topic = F.col("mqtt_topic")
    return (
        records.withColumns(
            {"header_names": F.col("headers.key"), "header_values": F.col("headers.value")}
        )
        .select(
            "key",
            "value",
            "headers",
            F.col("topic").alias("kafka_topic"),
            F.col("partition").alias("kafka_partition"),
            F.col("offset").alias("kafka_offset"),
            F.col("timestamp").alias("appended_at"),
            # Read anew for each row, unlike current_timestamp(), which is the batch's start.
            F.java_method(F.lit("java.time.Instant"), F.lit("now"))
            .cast("timestamp")
            .alias("read_at"),
            F.coalesce(F.octet_length("value"), F.lit(0)).alias("payload_bytes"),
            _header(headers.MQTT_TOPIC).alias("mqtt_topic"),
            # PostgreSQL takes no NUL.
            F.replace(_header(headers.GATEWAY), F.lit("\0"), F.lit("")).alias("gateway"),
            _number(headers.RECEIVED_NS).alias("received_ns"),
            _header(headers.CLOCK_QUALITY).alias("clock_quality"),
            (_number(headers.CLOCK_OFFSET_NS) / 1000).cast("bigint").alias("clock_offset_us"),
            (_number(headers.CLOCK_ERROR_NS) / 1000).cast("bigint").alias("clock_error_us"),
            _number(headers.SPOOL_SEQ).alias("spool_seq"),
            _number(headers.SPOOL_WAITING).alias("spool_waiting"),
            _header(headers.RESENT).isNotNull().alias("resent"),
        )
        .withColumn("topic_site", F.nullif(F.regexp_extract(topic, _TOPIC, 1), F.lit("")))
        .withColumn("device_id", F.nullif(F.regexp_extract(topic, _TOPIC, 2), F.lit("")))
        .withColumn("received_at", F.timestamp_micros(F.expr("received_ns div 1000")))
    )


def _open_payload(records: DataFrame) -> DataFrame:
    text = F.col("value").cast("string")
    # Parsed as the one element of an array: the parser by itself would not look at what
    # follows the first document. A bracket of the payload's own could end that array early, but
    # not an object's member as well; few payloads have one and are parsed twice.
    array = F.try_parse_json(F.concat(F.lit("["), text, F.lit("]"))).try_cast("array<variant>")
    member = F.try_parse_json(F.concat(F.lit('{"":'), text, F.lit("}")))
    one_value = ~F.contains(text, F.lit("]")) | member.isNotNull()
    return (
        records.withColumn("is_utf8", F.is_valid_utf8(text))
        .withColumn("documents", F.when(F.col("is_utf8") & one_value, array))
        .withColumn("document", F.when(F.size("documents") == 1, F.get("documents", F.lit(0))))
        .withColumn("fields", F.col("document").try_cast("map<string, variant>"))
        .withColumn(
            "numbers",
            F.map_filter(
                "fields",
                lambda name, value: (
                    F.schema_of_variant(value).rlike(_NUMERIC) & ~name.isin("ts", "seq", "replay")
                ),
            ),
        )
    )


def _field(name: str) -> Column:
    return F.try_element_at("fields", F.lit(name))


def _type(name: str) -> Column:
    """Return the type of a field's value in words, null if it is absent or null."""
    return F.nullif(F.schema_of_variant(_field(name)), F.lit("VOID"))


def _value(name: str, kind: str) -> Column:
    return F.try_variant_get(_field(name), "$", kind)


def _validate(records: DataFrame) -> DataFrame:
    # As a decimal: a double has no fractions beyond 2^53, and 2^63 as a bigint is 2^63 - 1.
    whole = F.col("seq_as_decimal") == F.col("seq_as_bigint")
    infinite = F.exists(
        F.map_values("numbers"),
        lambda value: F.abs(F.try_variant_get(value, "$", "double")) == float("inf"),
    )
    with_nul = F.exists(F.map_keys("fields"), lambda name: F.contains(name, F.lit("\0")))
    too_long = F.greatest(F.octet_length("device_id"), F.octet_length("topic_site"))
    reasons = (
        (F.col("device_id").isNull() | F.col("topic_site").isNull(), "topic_malformed"),
        (too_long > _MAX_NAME_BYTES, "name_too_long"),
        (F.col("payload_bytes") == 0, "empty"),
        (~F.col("is_utf8"), "invalid_utf8"),
        (F.col("document").isNull(), "not_json"),
        (F.col("fields").isNull(), "not_an_object"),
        (with_nul, "nul_character"),
        (_type("device_id") != "STRING", "wrong_type:device_id"),
        (_value("device_id", "string") != F.col("device_id"), "device_id_differs"),
        (~_type("temperature").rlike(_NUMERIC), "wrong_type:temperature"),
        (~_type("humidity").rlike(_NUMERIC), "wrong_type:humidity"),
        (~_type("seq").rlike(_NUMERIC), "wrong_type:seq"),
        (
            _type("seq").isNotNull()
            & ~F.coalesce((F.col("seq_as_bigint") >= 0) & whole, F.expr(_FALSE)),
            "invalid_seq",
        ),
        (infinite, "number_out_of_range"),
        (F.size("numbers") == 0, "no_quantity"),
    )
    return (
        records.withColumn("seq_as_bigint", _value("seq", "bigint"))
        .withColumn("seq_as_decimal", _value("seq", "decimal(38, 18)"))
        .withColumn("reason", F.coalesce(*(F.when(test, F.lit(name)) for test, name in reasons)))
        .withColumn("seq", F.coalesce("seq_as_bigint", F.lit(-1).cast("bigint")))
        .withColumn("temperature", _value("temperature", "double"))
        .withColumn("humidity", _value("humidity", "double"))
        .withColumn(
            "measurements",
            F.to_json(F.map_filter("numbers", lambda name, _: ~name.isin(*_RESERVED))),
        )
    )


def _settle_time(records: DataFrame, future_tolerance: timedelta) -> DataFrame:
    """Choose each reading's time: the sensor's where it can be believed, else the gateway's."""
    iso = _value("ts", "string")
    epoch = _value("ts", "decimal(38, 9)")
    micros = F.when(
        epoch > _MILLISECONDS_ABOVE, F.try_multiply(epoch, F.lit(1000).cast("decimal(7, 0)"))
    ).otherwise(F.try_multiply(epoch, F.lit(10**6).cast("decimal(7, 0)")))
    sent = F.when(
        (_type("ts") == "STRING") & iso.rlike(_ISO_8601),
        F.regexp_replace(iso, ",", ".").try_cast("timestamp"),
    ).when(_type("ts").rlike(_NUMERIC), F.timestamp_micros(F.round(micros).try_cast("bigint")))
    tolerance = F.lit(future_tolerance)
    replayed = F.coalesce(
        _value("replay", "boolean") & (_type("replay") == "BOOLEAN"), F.expr(_FALSE)
    )
    gateway_wrong = (
        F.col("received_at").isNull()
        | F.coalesce(F.col("clock_quality") == "past", F.expr(_FALSE))
        | (F.col("received_at") < EARLIEST)
        | (F.col("received_at") > F.col("appended_at") + tolerance)
    )
    # Whichever is later: a gateway's clock that lags makes no sensor's wrong.
    too_new = F.col("sent") > F.greatest("arrived_at", "appended_at") + tolerance
    # Kafka keeps milliseconds; readings of a device without a number must not fall on one time.
    appended = F.timestamp_micros(F.unix_micros("appended_at") + F.col("kafka_offset") % 1000)
    # A replay says so itself, and is as old as its file.
    too_old = (F.col("sent") < EARLIEST) & ~(
        F.col("replayed") & (F.col("sent") >= datetime(1970, 1, 1, tzinfo=UTC))
    )
    ts_flag = F.col("ts_flag")
    # Outside of it, dates are a device's nonsense, and some programs cannot show them.
    showable = F.col("sent").between(
        datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
    )
    return (
        records.withColumn("sent", sent)
        .withColumn("replayed", replayed)
        .withColumn("gateway_wrong", gateway_wrong)
        .withColumn(
            "arrived_at",
            F.when(F.col("gateway_wrong"), appended).otherwise(F.col("received_at")),
        )
        .withColumn(
            "ts_flag",
            F.when(_type("ts").isNull(), "ts_missing")
            .when(F.col("sent").isNull(), "ts_unreadable")
            .when(too_old, "ts_before_2020")
            .when(too_new, "ts_in_future"),
        )
        .withColumn("time", F.when(ts_flag.isNull(), F.col("sent")).otherwise(F.col("arrived_at")))
        .withColumn("sensor_ts", F.when(ts_flag.isNotNull() & showable, F.col("sent")))
        .withColumn("clock_believed", ts_flag.isNull() & ~F.col("replayed"))
        .withColumn(
            "clock_flags",
            F.array_compact(
                F.array(
                    ts_flag,
                    F.when(F.col("gateway_wrong"), "gateway_clock")
                    .when(ts_flag.isNull(), None)
                    .when(F.col("clock_quality") == "unsynchronised", "gateway_unsynchronised")
                    .when(
                        F.col("clock_quality").isin("corrected", "estimated"),
                        "gateway_time_corrected",
                    ),
                    F.when(F.col("replayed"), "replayed"),
                )
            ),
        )
        .drop(
            "mqtt_topic",
            "received_ns",
            "clock_quality",
            "is_utf8",
            "documents",
            "document",
            "fields",
            "numbers",
            "seq_as_bigint",
            "seq_as_decimal",
            "sent",
            "replayed",
            "gateway_wrong",
            "arrived_at",
            "ts_flag",
        )
    )
