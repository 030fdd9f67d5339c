"""Attempts at MinIO: by keys that it does not know, and by those it knows at what they may not do.

It has no line for who was refused, only a figure: `minio_s3_requests_rejected_auth_total`.
"""

from __future__ import annotations

import importlib
import json
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import URLLib3Session

from tests.security.attempts import Attempt
from tests.security.certificates import Maker
from tests.security.doors import Outcome, Unclear, Visitor, closed, knock
from tools.hops import BUCKET, ROOT, System

# What the administration interface is sent is encrypted in its own way, which the role knows.
sys.path.insert(0, str(ROOT / "roles/minio/library"))
minio_user: Any = importlib.import_module("minio_user")

PORT, CONSOLE = 9000, 9001
HOST, UNIT = "core1", "minio"
SILENT = ""
REGION = "us-east-1"
APPLICATION, READER = "streaming-job", "reader"
REFUSED = ("AccessDenied", "AllAccessDisabled", "SignatureDoesNotMatch", "InvalidAccessKeyId")
ASKS = b"GET /minio/health/live HTTP/1.0\r\n\r\n"
# Go's answer to who speaks plain text where TLS is meant.
IN_PLAIN = b"HTTP/1.0 400 "
NONE = "attack/none"
OPEN_TO_ALL = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{BUCKET}/{NONE}",
        }
    ],
}

Act = Callable[[Any], object]


def lists(s3: Any) -> object:
    """See what there is."""
    return s3.list_objects_v2(Bucket=BUCKET, MaxKeys=1)


def reads(s3: Any) -> object:
    """Read the first object; of none there is nothing to read."""
    for item in s3.list_objects_v2(Bucket=BUCKET, MaxKeys=1).get("Contents", []):
        s3.head_object(Bucket=BUCKET, Key=item["Key"])
    return None


def writes(s3: Any) -> object:
    """Begin an object and give it up: what may do so may write, and the archive stays clean."""
    begun = s3.create_multipart_upload(Bucket=BUCKET, Key=NONE)
    return s3.abort_multipart_upload(Bucket=BUCKET, Key=NONE, UploadId=begun["UploadId"])


# What neither key may do: with objects that are not there, or to no other effect.
OF_ANYBODY: dict[str, Act] = {
    "deletes an object": lambda s3: s3.delete_object(Bucket=BUCKET, Key=NONE),
    "deletes a version": lambda s3: s3.delete_object(
        Bucket=BUCKET, Key=NONE, VersionId=str(uuid.uuid4())
    ),
    "deletes the bucket": lambda s3: s3.delete_bucket(Bucket=BUCKET),
    "makes a bucket": lambda s3: s3.create_bucket(Bucket="attack"),
    "sets whether versions are kept": lambda s3: s3.put_bucket_versioning(
        Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"}
    ),
    "sees how long versions are kept": lambda s3: s3.get_bucket_lifecycle_configuration(
        Bucket=BUCKET
    ),
    "opens the bucket to all": lambda s3: s3.put_bucket_policy(
        Bucket=BUCKET, Policy=json.dumps(OPEN_TO_ALL)
    ),
    "lists another bucket": lambda s3: s3.list_objects_v2(Bucket="elsewhere"),
    "lists the store's own bucket": lambda s3: s3.list_objects_v2(Bucket=".minio.sys"),
}
OF_READERS: dict[str, Act] = {"writes": writes}
OF_STRANGERS: dict[str, Act] = {
    "lists the buckets": lambda s3: s3.list_buckets(),
    "lists": lists,
    "reads": lambda s3: s3.get_object(Bucket=BUCKET, Key=NONE),
    "writes": writes,
}


@dataclass(frozen=True)
class Client:
    """Who comes to the store; without a key he signs nothing."""

    system: System
    key: str = ""
    secret: str = ""

    def tries(self, act: Act) -> Outcome:
        """Do something by S3."""
        signing = {} if self.key else {"signature_version": UNSIGNED}
        s3 = boto3.client(
            "s3",
            endpoint_url=self._endpoint,
            aws_access_key_id=self.key or None,
            aws_secret_access_key=self.secret or None,
            verify=str(self.system.authority("ca1")),
            region_name=REGION,
            config=Config(connect_timeout=5, read_timeout=10, **signing),
        )
        try:
            act(s3)
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            return _judge(status, error.response["Error"]["Code"])
        except BotoCoreError as error:
            raise Unclear(str(error)) from error
        return Outcome(admitted=True, answer="done")

    def administers(self) -> Outcome:
        """Ask for all users."""
        return self._asks("GET", "list-users")

    def makes_a_key(self) -> Outcome:
        """Make a second key of its own; if it can, that is taken away again."""
        name = f"attack{uuid.uuid4().hex[:12]}"
        wish = json.dumps({"accessKey": name, "secretKey": uuid.uuid4().hex}).encode()
        outcome = self._asks("PUT", "add-service-account", minio_user.seal(self.secret, wish))
        if outcome.admitted:
            self._asks("DELETE", f"delete-service-account?accessKey={name}")
        return outcome

    def _asks(self, method: str, path: str, body: bytes = b"") -> Outcome:
        request = AWSRequest(method, f"{self._endpoint}/minio/admin/v3/{path}", data=body)
        if self.key:
            S3SigV4Auth(Credentials(self.key, self.secret), "s3", REGION).add_auth(request)
        session = URLLib3Session(verify=str(self.system.authority("ca1")))
        try:
            answer = session.send(request.prepare())
        except BotoCoreError as error:
            raise Unclear(str(error)) from error
        if answer.status_code < 400:
            return Outcome(admitted=True, answer="done")
        # This interface answers in JSON, where S3 has XML.
        try:
            code = str(json.loads(answer.text)["Code"])
        except (ValueError, KeyError) as error:
            raise Unclear(answer.text) from error
        return _judge(answer.status_code, code)

    @property
    def _endpoint(self) -> str:
        return f"https://{self.system.core}:{PORT}"


def _judge(status: int, code: str) -> Outcome:
    """What an answer shows: any but no is one to who was let in."""
    if code in REFUSED:
        return Outcome(admitted=False, answer=code)
    if status == 403 or status >= 500:
        raise Unclear(code)
    return Outcome(admitted=True, answer=code)


def admitted(system: System) -> dict[str, Outcome]:
    """Who has to get in."""
    return {
        "reader reads": reader(system).tries(reads),
        "job reads": application(system).tries(reads),
        "job writes": application(system).tries(writes),
        "root administers": Client(system, "root", system.secret("s3_root")).administers(),
    }


def table(system: System, maker: Maker) -> Iterator[Attempt]:  # noqa: ARG001 - as others have it
    """All of them."""
    for kind, make in [*_at_the_door(system), *_inside(system)]:
        yield Attempt(f"S3 {PORT}", kind, make, HOST, UNIT, SILENT)
    make = partial(closed, (system.core, CONSOLE))
    yield Attempt(f"S3 {CONSOLE}", "console from another host", make, HOST, UNIT, SILENT)


def reader(system: System) -> Client:
    """The key of people's tools."""
    return Client(system, READER, system.secret("s3_reader"))


def application(system: System) -> Client:
    """The streaming job's key."""
    return Client(system, APPLICATION, system.secret("s3_secret_key"))


Row = tuple[str, Callable[[], Outcome]]


def _at_the_door(system: System) -> Iterator[Row]:
    address = (system.core, PORT)
    yield "without TLS", partial(knock, address, None, ASKS, refusal=IN_PLAIN)
    outdated = Visitor().outdated().context(system.authority("ca1"))
    yield "TLS 1.1", partial(knock, address, outdated, ASKS)
    for kind, act in OF_STRANGERS.items():
        yield f"nobody {kind}", partial(Client(system).tries, act)
    yield "nobody administers", Client(system).administers
    strangers = {
        "wrong secret": Client(system, APPLICATION, "guessed-at-random"),
        "another key's secret": Client(system, APPLICATION, system.secret("s3_reader")),
        "unknown key": Client(system, "nobody", system.secret("s3_secret_key")),
        "MinIO's usual key": Client(system, "minioadmin", "minioadmin"),
    }
    for kind, client in strangers.items():
        yield kind, partial(client.tries, lists)
    yield "root with a wrong password", Client(system, "root", "guessed-at-random").administers


def _inside(system: System) -> Iterator[Row]:
    for name, client, acts in (
        ("reader", reader(system), OF_READERS | OF_ANYBODY),
        ("job", application(system), OF_ANYBODY),
    ):
        for kind, act in acts.items():
            yield f"{name} {kind}", partial(client.tries, act)
        yield f"{name} administers", client.administers
        yield f"{name} makes itself a key", client.makes_a_key
