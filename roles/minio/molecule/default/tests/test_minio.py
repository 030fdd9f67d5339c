"""The store as the streaming job and strangers use it."""

import shlex

from testinfra.host import Host

from tools.exposure import exposure

CLIENT = """
import sys
import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
user, secret, code = sys.argv[1:]
keys = {"config": Config(signature_version=UNSIGNED)} if user == "nobody" else {
    "aws_access_key_id": user, "aws_secret_access_key": secret,
    "config": Config(retries={"total_max_attempts": 10})}
s3 = boto3.client("s3", endpoint_url="http://127.0.0.1:9000", region_name="us-east-1", **keys)
try:
    print(eval(code))
except ClientError as error:
    print(error.response["Error"]["Code"])
"""
APPLICATION = ("streaming-job", "for-tests-alone")
ROOT = ("root", "for-tests-only")
PUT = "s3.put_object(Bucket='sensor-archive', Key='day/one', Body=b'rows')['ETag']"
GET = "s3.get_object(Bucket='sensor-archive', Key='day/one')['Body'].read().decode()"


def s3(host: Host, user: tuple[str, str], code: str) -> str:
    """What an expression with a client `s3` gives on the host, or the error's code."""
    return host.check_output(shlex.join(["python3", "-c", CLIENT, *user, code])).strip()


def test_application_writes_and_reads(host: Host) -> None:
    assert "-" not in s3(host, APPLICATION, PUT)
    assert s3(host, APPLICATION, GET) == "rows"
    keys = "[o['Key'] for o in s3.list_objects_v2(Bucket='sensor-archive')['Contents']]"
    assert s3(host, APPLICATION, keys) == "['day/one']"


def test_object_survives_a_kill(host: Host) -> None:
    s3(host, APPLICATION, PUT)
    before = host.check_output("systemctl show --property=MainPID --value minio")
    host.check_output("systemctl kill --kill-whom=main --signal=KILL minio")
    ready = "http://127.0.0.1:9000/minio/health/ready"
    host.check_output(f"curl -sf --retry 30 --retry-delay 1 --retry-all-errors {ready}")
    assert host.check_output("systemctl show --property=MainPID --value minio") != before
    assert s3(host, APPLICATION, GET) == "rows"


def test_strangers_are_refused(host: Host) -> None:
    s3(host, APPLICATION, PUT)
    assert s3(host, ("nobody", ""), GET) == "AccessDenied"
    assert s3(host, ("streaming-job", "guessed"), GET) == "SignatureDoesNotMatch"
    # MinIO falls back to this when it finds no credentials.
    assert s3(host, ("minioadmin", "minioadmin"), GET) == "InvalidAccessKeyId"


def test_application_has_no_more_than_its_bucket(host: Host) -> None:
    assert s3(host, ROOT, "bool(s3.create_bucket(Bucket='elsewhere'))") in {
        "True",
        "BucketAlreadyOwnedByYou",
    }
    write = "s3.put_object(Bucket='elsewhere', Key='k', Body=b'')"
    assert s3(host, APPLICATION, write) == "AccessDenied"
    assert s3(host, APPLICATION, "s3.create_bucket(Bucket='another')") == "AccessDenied"
    assert s3(host, APPLICATION, "s3.delete_bucket(Bucket='sensor-archive')") == "AccessDenied"


def test_no_console_is_served(host: Host) -> None:
    answer = host.check_output("curl -s -o /dev/null -w '%{http_code}' -A Mozilla localhost:9000/")
    assert answer == "403"
    listening = host.check_output("ss --tcp --listening --numeric --no-header")
    ports = {line.split()[3].rpartition(":")[2] for line in listening.splitlines()}
    # Beside the one by which Ansible comes in.
    assert ports - {"22"} == {"9000"}


def test_secrets_are_not_in_the_unit_nor_in_its_environment(host: Host) -> None:
    pid = host.check_output("systemctl show --property=MainPID --value minio")
    seen = host.check_output(f"systemctl cat minio; tr '\\0' '\\n' < /proc/{pid}/environ")
    assert "for-tests" not in seen


def test_the_unit_is_confined(host: Host) -> None:
    assert exposure(host, "minio") <= 2.0
