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
s3 = boto3.client("s3", endpoint_url="https://127.0.0.1:9000", region_name="us-east-1",
                  verify="/etc/edge-telemetry/tls/minio/ca.pem", **keys)
try:
    print(eval(code))
except ClientError as error:
    print(error.response["Error"]["Code"])
"""
CA = "/etc/edge-telemetry/tls/minio/ca.pem"
READER = ("reader", "for-tests-reading")
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
    ready = "https://127.0.0.1:9000/minio/health/ready"
    host.check_output(
        f"curl --cacert {CA} -sf --retry 30 --retry-delay 1 --retry-all-errors {ready}"
    )
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


def test_application_takes_nothing_away(host: Host) -> None:
    s3(host, APPLICATION, PUT)
    delete = "s3.delete_object(Bucket='sensor-archive', Key='day/one')"
    assert s3(host, APPLICATION, delete) == "AccessDenied"
    unversion = (
        "s3.put_bucket_versioning(Bucket='sensor-archive', "
        "VersioningConfiguration={'Status': 'Suspended'})"
    )
    assert s3(host, APPLICATION, unversion) == "AccessDenied"
    assert s3(host, APPLICATION, "s3.put_object(Bucket='sensor-archive', Key='day/one', Body=b'')")
    versions = (
        "[s3.get_object(Bucket='sensor-archive', Key='day/one', VersionId=v['VersionId'])['Body']"
        ".read().decode() for v in s3.list_object_versions(Bucket='sensor-archive')['Versions']]"
    )
    assert s3(host, ROOT, versions).startswith("['', 'rows'")


def test_old_versions_go_in_time(host: Host) -> None:
    rules = "s3.get_bucket_lifecycle_configuration(Bucket='sensor-archive')['Rules']"
    days = f"[r['NoncurrentVersionExpiration']['NoncurrentDays'] for r in {rules}]"
    assert s3(host, ROOT, days) == "[7]"


def test_readers_read(host: Host) -> None:
    s3(host, APPLICATION, PUT)
    assert s3(host, READER, GET) == "rows"
    assert s3(host, READER, PUT) == "AccessDenied"
    assert s3(host, READER, "s3.delete_object(Bucket='sensor-archive', Key='k')") == "AccessDenied"


def test_users_of_few_rights_have_these_alone(host: Host) -> None:
    guest, owner = ("guest", "for-tests-of-few-rights"), ("host", "for-tests-of-more")

    def act(user: tuple[str, str], what: str, key: str) -> str:
        return s3(host, user, f"bool(s3.{what}_object(Bucket='exchange', Key='{key}'))")

    assert act(owner, "put", "offers/one") == "True"
    assert act(guest, "get", "offers/one") == "True"
    assert act(guest, "get", "offers/two") == "NoSuchKey"
    assert act(guest, "put", "bids/guest") == "True"
    for what, key in (("put", "offers/one"), ("put", "bids/other"), ("get", "bids/guest")):
        assert act(guest, what, key) == "AccessDenied", (what, key)
    assert act(guest, "delete", "bids/guest") == "AccessDenied"
    names = "[o['Key'] for o in s3.list_objects_v2(Bucket='exchange')['Contents']]"
    assert s3(host, guest, names) == "AccessDenied"
    assert s3(host, owner, names) == "['bids/guest', 'offers/one']"
    assert act(owner, "delete", "offers/one") == "True"
    assert act(owner, "delete", "bids/guest") == "AccessDenied"
    assert s3(host, guest, GET) == s3(host, owner, PUT) == "AccessDenied"
    # Nothing is kept of what is written over.
    versions = "s3.get_bucket_versioning(Bucket='exchange').get('Status')"
    assert s3(host, ROOT, versions) == "None"


def test_without_tls_nothing_is_served(host: Host) -> None:
    show = "curl -s -o /dev/null -w '%{http_code}'"
    assert host.run(f"{show} http://127.0.0.1:9000/minio/health/ready").stdout == "400"
    old = host.run(f"curl --cacert {CA} -s --tls-max 1.1 https://127.0.0.1:9000/minio/health/ready")
    assert old.rc != 0


def test_no_console_is_served(host: Host) -> None:
    show = f"curl --cacert {CA} -s -o /dev/null -w '%{{http_code}}' -A Mozilla"
    answer = host.check_output(f"{show} https://localhost:9000/")
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
