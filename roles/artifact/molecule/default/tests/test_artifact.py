"""What the role left on the host."""

from testinfra.host import Host


def test_current_holds_the_jars_of_the_table(host: Host) -> None:
    jars = host.file("/opt/spark_kafka/current/libs").listdir()
    assert "spark-sql-kafka-0-10_2.13-4.2.0.jar" in jars
    assert "kafka-clients-3.9.2.jar" in jars


def test_jars_are_whole(host: Host) -> None:
    for jar in host.file("/opt/spark_kafka/current/libs").listdir():
        host.run_expect([0], f"python3 -m zipfile -t /opt/spark_kafka/current/libs/{jar}")


def test_an_interrupted_push_would_be_seen(host: Host) -> None:
    assert host.file("/opt/spark_kafka/current/.unpacked").contains("spark_kafka 4.2.0")
