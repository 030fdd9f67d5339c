"""Three brokers as one cluster."""

import shlex

from testinfra.host import Host

SERVERS = "kafka-one:9092,kafka-two:9092,kafka-three:9092"
PRODUCE = """
import sys
HOME = "/etc/edge-telemetry/tls/kafka"
TLS = {"security.protocol": "ssl", "ssl.ca.location": HOME + "/ca.pem",
       "ssl.certificate.location": HOME + "/keystore.pem",
       "ssl.key.location": HOME + "/keystore.pem"}
from confluent_kafka import Producer
errors = []
producer = Producer({**TLS, "bootstrap.servers": sys.argv[1], "acks": "all", "log_level": 0,
                     "delivery.timeout.ms": 60000})
for number in range(40):
    producer.produce("sensor.raw", str(number).encode(), partition=number % 4,
                     on_delivery=lambda error, _: errors.append(error))
producer.flush(70)
print(len(errors), [error.name() for error in errors if error])
"""


def produce(host: Host) -> str:
    """Forty records on all partitions, acknowledged by all copies in sync; what came of them."""
    return host.check_output(shlex.join(["python3", "-c", PRODUCE, SERVERS])).strip()


def records(host: Host) -> int:
    """Records of the topic, as its partitions' leaders count them."""
    ends = host.check_output(f"kafka-get-offsets --bootstrap-server {SERVERS} --topic sensor.raw")
    return sum(int(line.rpartition(":")[2]) for line in ends.splitlines())


def test_all_three_vote(hosts: dict[str, Host]) -> None:
    quorum = hosts["kafka-two"].check_output(
        f"kafka-metadata-quorum --bootstrap-server {SERVERS} describe --replication"
    )
    roles = [line.split()[-1] for line in quorum.splitlines()[1:]]
    assert sorted(roles) == ["Follower", "Follower", "Leader"]


def test_each_partition_has_three_copies_of_which_two_must_answer(hosts: dict[str, Host]) -> None:
    describe = f"kafka-topics --bootstrap-server {SERVERS} --describe --topic sensor.raw"
    assert "ReplicationFactor: 3" in hosts["kafka-one"].check_output(describe)
    configs = hosts["kafka-one"].check_output(
        f"kafka-configs --bootstrap-server {SERVERS} --describe --all --topic sensor.raw"
    )
    assert "min.insync.replicas=2 " in configs


def test_nothing_stops_when_one_broker_does(hosts: dict[str, Host]) -> None:
    before = records(hosts["kafka-one"])
    hosts["kafka-three"].check_output("systemctl stop kafka")
    try:
        assert produce(hosts["kafka-one"]) == "40 []"
    finally:
        hosts["kafka-three"].check_output("systemctl start kafka")
    assert records(hosts["kafka-one"]) == before + 40


def test_one_broker_alone_does_not_acknowledge(hosts: dict[str, Host]) -> None:
    for name in ("kafka-two", "kafka-three"):
        hosts[name].check_output("systemctl kill --kill-whom=main --signal=STOP kafka")
    try:
        answer = produce(hosts["kafka-one"])
    finally:
        for name in ("kafka-two", "kafka-three"):
            hosts[name].check_output("systemctl kill --kill-whom=main --signal=CONT kafka")
    assert answer.startswith("40 ['")
    assert answer.count("_MSG_TIMED_OUT") == 40
    assert produce(hosts["kafka-one"]) == "40 []"
