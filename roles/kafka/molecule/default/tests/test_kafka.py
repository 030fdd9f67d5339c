"""A broker as producers, consumers and operators use it."""

import json
import shlex

from testinfra.host import Host

from tools.exposure import exposure

TLS = """
HOME = "/etc/edge-telemetry/tls/kafka"
TLS = {"security.protocol": "ssl", "ssl.ca.location": HOME + "/ca.pem",
       "ssl.certificate.location": HOME + "/keystore.pem",
       "ssl.key.location": HOME + "/keystore.pem"}
"""
PRODUCE = (
    TLS
    + """
import sys
from confluent_kafka import Producer
errors = []
producer = Producer({**TLS, "bootstrap.servers": "localhost:9092", "acks": "all", "log_level": 0,
                     "message.max.bytes": 9000000, "delivery.timeout.ms": 60000,
                     "topic.metadata.propagation.max.ms": 3000})
producer.produce(sys.argv[1], sys.argv[2].encode() * int(sys.argv[3]), key=b"device",
                 headers=[("gateway", b"gw1")], timestamp=1000,
                 on_delivery=lambda error, _: errors.append(error))
producer.flush(70)
print(errors[0].name() if errors[0] else "stored")
"""
)
CONSUME = (
    TLS
    + """
import json, sys, time
from confluent_kafka import Consumer, TopicPartition
consumer = Consumer({**TLS, "bootstrap.servers": "localhost:9092", "group.id": "probe",
                     "log_level": 0,
                     "auto.offset.reset": "earliest", "enable.auto.commit": False})
consumer.assign([TopicPartition(sys.argv[1], int(p), 0) for p in sys.argv[3].split(",")])
deadline = time.time() + 60
while time.time() < deadline:
    message = consumer.poll(1)
    if message and not message.error() and message.value() == sys.argv[2].encode():
        kind, stamp = message.timestamp()
        print(json.dumps({"key": message.key().decode(), "kind": kind, "stamp": stamp,
                          "headers": [[k, v.decode()] for k, v in message.headers()]}))
        break
"""
)
LOG_APPEND_TIME = 2


def python(host: Host, code: str, *arguments: str) -> str:
    """What a small program on the host printed."""
    return host.check_output(shlex.join(["python3", "-c", code, *arguments])).strip()


def test_record_is_read_back_with_headers_and_the_brokers_time(host: Host) -> None:
    assert python(host, PRODUCE, "sensor.raw", "round trip", "1") == "stored"
    record = json.loads(python(host, CONSUME, "sensor.raw", "round trip", "0,1,2,3"))
    assert record["key"] == "device"
    assert record["headers"] == [["gateway", "gw1"]]
    assert record["kind"] == LOG_APPEND_TIME
    # The producer said 1000 ms after the epoch; the broker knows better.
    assert record["stamp"] > 1_600_000_000_000


def test_record_survives_a_kill(host: Host) -> None:
    assert python(host, PRODUCE, "sensor.dead_letter", "before the kill", "1") == "stored"
    before = host.check_output("systemctl show --property=MainPID --value kafka")
    host.check_output("systemctl kill --kill-whom=main --signal=KILL kafka")
    # The producer waits for the broker to be back.
    assert python(host, PRODUCE, "sensor.dead_letter", "after the kill", "1") == "stored"
    assert host.check_output("systemctl show --property=MainPID --value kafka") != before
    for text in ("before the kill", "after the kill"):
        assert python(host, CONSUME, "sensor.dead_letter", text, "0")


def test_topics_are_as_the_contract_says(host: Host) -> None:
    raw = host.check_output(
        "kafka-topics --bootstrap-server localhost:9092 --describe --topic sensor.raw"
    )
    assert "PartitionCount: 4" in raw
    assert "message.timestamp.type=LogAppendTime" in raw
    dead = host.check_output(
        "kafka-topics --bootstrap-server localhost:9092 --describe --topic sensor.dead_letter"
    )
    assert "PartitionCount: 1" in dead


def test_too_large_a_record_is_refused_and_a_large_one_is_not(host: Host) -> None:
    assert python(host, PRODUCE, "sensor.raw", "x", "5000000") == "MSG_SIZE_TOO_LARGE"
    assert python(host, PRODUCE, "sensor.raw", "x", "4000000") == "stored"


def test_unknown_topic_is_not_made(host: Host) -> None:
    assert python(host, PRODUCE, "sensor.typo", "x", "1") in {
        "UNKNOWN_TOPIC_OR_PART",
        "_UNKNOWN_TOPIC",
    }


def test_tools_write_and_read(host: Host) -> None:
    host.check_output(
        "echo from the console | kafka-console-producer --bootstrap-server localhost:9092"
        " --topic sensor.dead_letter"
    )
    read = host.check_output(
        "kafka-console-consumer --bootstrap-server localhost:9092 --topic sensor.dead_letter"
        " --from-beginning --timeout-ms 5000"
    )
    assert "from the console" in read.splitlines()


def test_controller_of_a_broker_alone_is_on_loopback(host: Host) -> None:
    assert "127.0.0.1]:9093" in host.check_output(
        "ss --tcp --listening --numeric '( sport = 9093 )'"
    )


def test_broker_says_in_the_journal_that_it_serves(host: Host) -> None:
    assert "Kafka Server started" in host.check_output("journalctl --unit kafka --no-pager")


def test_the_unit_is_confined(host: Host) -> None:
    assert exposure(host, "kafka") <= 2.0
