"""The columns of a reading, in the order in which both sinks write them."""

from dataclasses import dataclass

# Written into every Parquet object; raised when a column changes or goes.
SCHEMA_VERSION = 1

READING_COLUMNS = (
    "time",
    "device_id",
    "seq",
    "temperature",
    "humidity",
    "dew_point",
    "absolute_humidity",
    "measurements",
    "site",
    "room",
    "model",
    "gateway",
    "quality_flags",
    "sensor_ts",
    "received_at",
    "appended_at",
    "read_at",
    "batch_id",
    "kafka_partition",
    "kafka_offset",
)

# What the sinks need besides: why a record is no reading (null: it is one), the size of its
# payload in bytes, whether its captured time may be measured against other clocks, how wrong the
# gateway's clock was and how sure that is (µs, null: not known), the message's number in the
# gateway's spool, how many waited there behind it, and whether Kafka may have it twice.
CONTROL_COLUMNS = (
    "kafka_topic",
    "reason",
    "payload_bytes",
    "clock_believed",
    "clock_offset_us",
    "clock_error_us",
    "spool_seq",
    "spool_waiting",
    "resent",
)


@dataclass(frozen=True)
class Stage:
    """One measured part of a reading's way: from one of its timestamps to another."""

    metric_name: str
    start: str
    end: str


COMMITTED = "committed"

STAGES = (
    Stage("mqtt_to_kafka", "time", "appended_at"),
    Stage("kafka_to_spark", "appended_at", "read_at"),
    Stage("spark_to_timescaledb", "read_at", COMMITTED),
    Stage("total_pipeline_latency", "time", COMMITTED),
)

# Figures of the gateways' clocks, in pipeline_kpi beside the stages.
CLOCK_METRICS = {
    "gateway_clock_offset": "clock_offset_us",
    "gateway_clock_error": "clock_error_us",
}
