"""The job on a Spark cluster, while the database is away."""

import json
import shlex
import time

from testinfra.host import Host

from tools.exposure import exposure

TOPIC = "sensors/lab/probe/telemetry"
PRODUCE = """
import sys
from confluent_kafka import Producer
topic, payload, received = sys.argv[1:]
HOME = "/etc/edge-telemetry/tls/kafka"
producer = Producer({"bootstrap.servers": "127.0.0.1:9092", "security.protocol": "ssl",
                     "ssl.ca.location": HOME + "/ca.pem",
                     "ssl.certificate.location": HOME + "/keystore.pem",
                     "ssl.key.location": HOME + "/keystore.pem"})
headers = {"mqtt_topic": topic, "gateway": "gw", "received_ns": received}
producer.produce("sensor.raw", payload, key="probe", headers=headers)
sys.exit(producer.flush(30))
"""
LIST = (
    "import boto3, io, sys, pyarrow.parquet as pq; "
    "s3 = boto3.client('s3', endpoint_url='https://127.0.0.1:9000', region_name='us-east-1', "
    "verify='/etc/edge-telemetry/tls/minio/ca.pem', "
    "aws_access_key_id='streaming-job', aws_secret_access_key='only-for-this-test-host'); "
    "keys = [o['Key'] for o in s3.list_objects_v2(Bucket='sensor-archive').get('Contents', [])]; "
    "rows = [r for k in keys for r in pq.read_table(io.BytesIO(s3.get_object("
    "Bucket='sensor-archive', Key=k)['Body'].read()), use_threads=False, pre_buffer=False)"
    ".to_pylist()]; "
    "print(sorted(r['seq'] for r in rows if r['device_id'] == 'probe'))"
)


def produce(host: Host, *numbers: int) -> None:
    """Puts readings into Kafka as the bridge does."""
    for number in numbers:
        reading = {"device_id": "probe", "seq": number, "temperature": 21.5, "ts": time.time()}
        arguments = [TOPIC, json.dumps(reading), str(time.time_ns())]
        host.check_output(shlex.join(["python3", "-c", PRODUCE, *arguments]))


def archived(host: Host, *numbers: int) -> bool:
    """Whether the archive comes to hold exactly these, within a minute."""
    wanted = str(sorted(numbers))
    for _ in range(60):
        if host.check_output(f'/opt/spark/current/bin/python -c "{LIST}"') == wanted:
            return True
        time.sleep(1)
    return False


def main_pid(host: Host) -> str:
    return host.check_output("systemctl show --property=MainPID --value streaming-job")


def test_readings_are_archived_while_the_database_is_away(host: Host) -> None:
    produce(host, 1, 2)
    assert archived(host, 1, 2)


def test_the_journal_says_in_a_line_what_is_away(host: Host) -> None:
    journal = host.check_output("journalctl --unit=streaming-job --output=short-unix").splitlines()
    said = [float(line.split()[0]) for line in journal if "127.0.0.1:5432" in line]
    assert said
    # Said, not repeated every second.
    assert len(said) < 10 + (said[-1] - said[0]) / 10


def test_killed_it_comes_back_and_goes_on_where_it_was(host: Host) -> None:
    before = main_pid(host)
    host.check_output("systemctl kill --signal=KILL streaming-job")
    produce(host, 3)
    assert archived(host, 1, 2, 3)
    assert main_pid(host) != before


def test_secrets_are_not_in_the_command_line(host: Host) -> None:
    assert "only-for-this-test-host" not in host.check_output(
        "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    )


def test_the_unit_is_confined(host: Host) -> None:
    assert exposure(host, "streaming-job") <= 2.0
