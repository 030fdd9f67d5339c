"""How the job reaches Kafka and the database, with TLS and without."""

from spark_app.sinks.timescaledb import Database
from telemetry.kafka import KafkaAddress

PLAIN = KafkaAddress("core1:9092")
SAFE = KafkaAddress("core1:9092", "/ca.pem", "/keystore.pem")


def test_without_an_authority_nothing_is_said_of_tls() -> None:
    for settings in (PLAIN.librdkafka(), PLAIN.java()):
        assert settings == {"bootstrap.servers": "core1:9092"}
    assert "ssl" not in Database("db1", 5432, "sensordb", "writer", "secret").dsn("test")


def test_with_one_kafka_has_to_prove_that_it_is_the_broker_that_was_meant() -> None:
    wanted = {"security.protocol": "ssl", "ssl.endpoint.identification.algorithm": "https"}
    assert wanted.items() <= SAFE.librdkafka().items()
    # Kafka's own clients look at the name unless they are told not to.
    assert "ssl.endpoint.identification.algorithm" not in SAFE.java()
    assert SAFE.java()["security.protocol"] == "SSL"


def test_with_one_the_database_has_to_as_well() -> None:
    dsn = Database("db1", 5432, "sensordb", "writer", "secret", "/ca.pem").dsn("test")
    assert "sslmode=verify-full sslrootcert=/ca.pem" in dsn


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Database("db1", 5432, "sensordb", "writer", "secret"))
