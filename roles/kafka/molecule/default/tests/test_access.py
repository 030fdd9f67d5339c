"""Who is let in, and who may do what."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from testinfra.host import Host

from tools.identity import issue

TRY = """
import json, sys
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic
task, client = sys.argv[1], json.loads(sys.argv[2])
client |= {"bootstrap.servers": "localhost:9092", "log_level": 0}
try:
    if task.startswith("write "):
        errors = []
        limits = {"delivery.timeout.ms": 8000, "topic.metadata.propagation.max.ms": 3000}
        producer = Producer({**client, **limits})
        producer.produce(task[6:], b"x", on_delivery=lambda error, _: errors.append(error))
        producer.flush(12)
        print(errors[0].name() if errors and errors[0] else "done" if errors else "TIMEOUT")
    elif task == "look":
        print(*sorted(AdminClient(client).list_topics(timeout=8).topics))
    elif task == "make":
        admin = AdminClient(client)
        admin.create_topics([NewTopic("nobodys", 1, 1)])["nobodys"].result(10)
        print("done")
    elif task == "read":
        consumer = Consumer({**client, "group.id": "look", "enable.auto.commit": False})
        consumer.subscribe(["sensor.raw"])
        message = consumer.poll(10)
        print("nothing" if message is None else message.error().name())
except KafkaException as error:
    print(error.args[0].name())
"""


def client(host: Host, name: str, *, realm: str = "kafka1", days: float = 1) -> dict[str, str]:
    """Settings of a client with a certificate for this name, made where the play makes them."""
    folder = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "ca"
    certificate, key = issue(folder / realm, name, days)
    ca = "/etc/edge-telemetry/tls/kafka/ca.pem"
    keys = {"ssl.certificate.pem": certificate, "ssl.key.pem": key}
    assert host.file(ca).exists
    return {"security.protocol": "ssl", "ssl.ca.location": ca, **keys}


def attempt(host: Host, task: str, settings: dict[str, str]) -> str:
    command = ["python3", "-c", TRY, task, json.dumps(settings)]
    return str(host.check_output(shlex.join(command))).strip()


def test_each_may_do_what_is_declared(host: Host) -> None:
    assert attempt(host, "write sensor.raw", client(host, "writer")) == "done"
    assert "sensor.dead_letter sensor.raw" in attempt(host, "look", client(host, "looker"))
    assert attempt(host, "write sensor.dead_letter", client(host, "admin")) == "done"


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("writer", "write sensor.dead_letter"),
        ("looker", "write sensor.raw"),
        ("looker", "read"),
        ("stranger", "write sensor.raw"),
        # No right was given on it to anyone.
        ("stranger", "make"),
    ],
)
def test_and_nothing_else(host: Host, name: str, task: str) -> None:
    assert attempt(host, task, client(host, name)) == "TOPIC_AUTHORIZATION_FAILED"


def test_a_stranger_does_not_even_see_a_topic(host: Host) -> None:
    assert attempt(host, "look", client(host, "stranger")) == ""


def test_without_a_certificate_nobody_is_let_in(host: Host) -> None:
    known = client(host, "admin")
    ca = known["ssl.ca.location"]
    for settings in ({}, {"security.protocol": "ssl", "ssl.ca.location": ca}):
        assert attempt(host, "look", settings).startswith("_")


def test_a_certificate_that_has_ended_is_refused(host: Host) -> None:
    assert attempt(host, "look", client(host, "admin", days=-0.5)).startswith("_")


def test_another_authoritys_certificate_is_refused(host: Host, tmp_path: Path) -> None:
    """Such as the one that signs for devices and for the other services."""
    other = tmp_path / "other"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    files = ["-subj", "/CN=ca1", "-keyout", f"{other}.key", "-out", f"{other}.crt"]
    subprocess.run(["openssl", "req", *kind, *files], check=True, capture_output=True)
    certificate, key = issue(other, "admin")
    pair = {"ssl.certificate.pem": certificate, "ssl.key.pem": key}
    assert attempt(host, "look", client(host, "admin") | pair).startswith("_")


def test_a_name_of_another_form_is_nobody(host: Host) -> None:
    assert attempt(host, "look", client(host, "admin,OU=x")).startswith("_")
