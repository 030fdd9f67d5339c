"""Settings of the streaming job, from variables `JOB_<FIELD>`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from telemetry.settings import Between, Port
from telemetry.topics import ANOMALY_TOPIC, DEAD_LETTER_TOPIC, RAW_TOPIC

PREFIX = "JOB"

Count = Annotated[int, Between(1, 100_000_000)]
Seconds = Annotated[float, Between(0, 10_000_000)]


@dataclass(frozen=True)
class JobSettings:
    """What the job connects to, and its pace.

    Attributes:
        kafka_bootstrap_servers: `host:port`, several separated by commas.
        kafka_tls_ca: file with the authorities that vouch for Kafka; empty: no TLS.
        kafka_tls_keystore: PEM file with the key and certificate that say who the job is.
        database_tls_ca: file with the authorities that vouch for the database; empty: no TLS.
        s3_tls_ca: file with the authorities that vouch for the store's https; empty: the system's.
        checkpoint_dir: local folder; each query has one of its own below it.
        store_mode: `micro-batch`, or `real-time`: rows are committed as they arrive.
        store_trigger: time between two micro-batches of *store*, in Spark's words.
        store_batch: length of a real-time batch; at its end rows wait for a moment.
        store_group_ms: least time between two transactions of a Kafka partition in real time.
        store_buffer_rows: most rows of a partition that wait for a transaction in real time.
        archive_trigger: the same for *archive*; also the time that one S3 object covers.
        max_offsets_per_trigger: most records in a micro-batch of *store*.
        archive_max_offsets_per_trigger: the same for *archive*.
        detect: whether the query *detect* looks for anomalies.
        detect_trigger, detect_max_offsets_per_trigger: as those of *store*.
        future_tolerance_seconds: a reading from further ahead of its arrival is not believed.
        late_after_seconds: a reading that Kafka appends longer after its capture counts as late.
        device_refresh_seconds: time between two looks at the table `devices`.
    """

    kafka_bootstrap_servers: str
    database_host: str
    database_password: str
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str
    checkpoint_dir: str
    kafka_tls_ca: str = ""
    kafka_tls_keystore: str = ""
    raw_topic: str = RAW_TOPIC
    dead_letter_topic: str = DEAD_LETTER_TOPIC
    anomaly_topic: str = ANOMALY_TOPIC
    database_port: Port = 5432
    database_name: str = "sensordb"
    database_user: str = "sensor_user"
    database_tls_ca: str = ""
    s3_bucket: str = "sensor-archive"
    s3_region: str = "us-east-1"
    s3_tls_ca: str = ""
    store_mode: Literal["micro-batch", "real-time"] = "micro-batch"
    store_trigger: str = "200 milliseconds"
    store_batch: str = "15 minutes"
    store_group_ms: Annotated[int, Between(0, 10_000)] = 2
    store_buffer_rows: Count = 10_000
    archive_trigger: str = "1 minute"
    max_offsets_per_trigger: Count = 50_000
    archive_max_offsets_per_trigger: Count = 200_000
    detect: bool = True
    detect_trigger: str = "10 seconds"
    detect_max_offsets_per_trigger: Count = 100_000
    future_tolerance_seconds: Seconds = 300.0
    late_after_seconds: Seconds = 600.0
    device_refresh_seconds: Seconds = 60.0
    metrics_address: str = "127.0.0.1"
    metrics_port: Port = 9102
