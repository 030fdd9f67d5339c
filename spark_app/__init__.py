"""The streaming job: Kafka to TimescaleDB (query *store*) and to S3 (query *archive*)."""
