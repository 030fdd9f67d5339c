"""Kafka, the database and the bucket that the settings name."""

from spark_app.settings import JobSettings
from spark_app.sinks.archive import ObjectStore
from spark_app.sinks.timescaledb import Database
from telemetry.kafka import KafkaAddress


def kafka_of(settings: JobSettings) -> KafkaAddress:
    """Return how to reach the Kafka of the settings."""
    return KafkaAddress(
        settings.kafka_bootstrap_servers, settings.kafka_tls_ca, settings.kafka_tls_keystore
    )


def database_of(settings: JobSettings) -> Database:
    """Return the database of the settings."""
    return Database(
        settings.database_host,
        settings.database_port,
        settings.database_name,
        settings.database_user,
        settings.database_password,
        settings.database_tls_ca,
    )


def objects_of(settings: JobSettings) -> ObjectStore:
    """Return the archive's bucket of the settings."""
    return ObjectStore(
        settings.s3_endpoint,
        settings.s3_bucket,
        settings.s3_access_key,
        settings.s3_secret_key,
        settings.s3_region,
        settings.s3_tls_ca,
    )
