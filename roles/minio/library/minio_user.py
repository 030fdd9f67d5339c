"""Ansible module: a MinIO user that may read and write some buckets and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

try:
    import boto3
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    from botocore.exceptions import ClientError
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError:
    HAS_LIBRARIES = False
else:
    HAS_LIBRARIES = True

DOCUMENTATION = """
module: minio_user
short_description: A user of a MinIO store
description:
  - Makes a user whose policy, of the user's name, allows to read and write objects of some buckets,
    or only to read them, or only what C(rights) name.
  - Talks to MinIO's administration interface, so that a host needs no client program.
options:
  endpoint: {description: URL of the store., type: str, required: true}
  ca: {description: File with the authorities to trust., type: str, default: ""}
  read_only: {description: Whether it may only list and read., type: bool, default: false}
  region: {description: Region of the store., type: str, default: us-east-1}
  root_user: {description: Name of the administrator., type: str, required: true}
  root_password: {description: Password of the administrator., type: str, required: true}
  access_key: {description: Name of the user., type: str, required: true}
  secret_key: {description: Secret of the user., type: str, required: true}
  buckets: {description: Buckets that it may use., type: list, elements: str, required: true}
  rights:
    description:
      - Patterns of names of objects by what the user may do with them, of C(read), C(write) and
        C(remove); C(list) is whether it may see all names. Nothing else is allowed then.
    type: dict
author: The edge-telemetry authors
"""
EXAMPLES = """
- minio_user:
    endpoint: http://127.0.0.1:9000
    root_user: root
    root_password: "{{ minio_root_password }}"
    access_key: application
    secret_key: "{{ minio_app_secret_key }}"
    buckets: [sensor-archive]
"""
RETURN = """
mended:
  description: What was not as declared, of C(policy), C(user), C(attachment).
  type: list
  returned: success
"""
BUCKET_ACTIONS = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
READ_ACTIONS = ["s3:GetObject"]
RIGHTS = {"read": "s3:GetObject", "write": "s3:PutObject", "remove": "s3:DeleteObject"}
# Not to delete: what is written over is kept as a version.
WRITE_ACTIONS = ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject"]
# Else any user may make further keys for itself, which stay when it is gone.
FORBIDDEN_ACTIONS = ["admin:CreateServiceAccount", "admin:UpdateServiceAccount"]
# MinIO's numbers for what it accepts in encrypted requests: a key by PBKDF2, then AES-GCM.
PBKDF2_AES_GCM = b"\x02"
PBKDF2_ROUNDS = 8192
BLOCK_BYTES = 16384


class AdminError(Exception):
    """MinIO refused a request; the text says which and why."""


def seal(password: str, data: bytes) -> bytes:
    """Encrypts the body of an administrative request, at most one block of it.

    MinIO reads salt, algorithm, nonce, then the blocks of a stream. A block's nonce ends with its
    number; number 0 is the tag over nothing that each later block carries as associated data, the
    last one marked by 0x80.
    """
    if len(data) > BLOCK_BYTES:
        message = f"a request of {len(data)} bytes does not fit one block of {BLOCK_BYTES}"
        raise AdminError(message)
    salt, nonce = os.urandom(32), os.urandom(8)
    cipher = AESGCM(hashlib.pbkdf2_hmac("sha256", password.encode(), salt, PBKDF2_ROUNDS))
    tag = cipher.encrypt(nonce + (0).to_bytes(4, "little"), b"", b"")
    block = cipher.encrypt(nonce + (1).to_bytes(4, "little"), data, b"\x80" + tag)
    return salt + PBKDF2_AES_GCM + nonce + block


@dataclass(frozen=True)
class Admin:
    """The administration interface, as the administrator."""

    endpoint: str
    region: str
    user: str
    password: str
    ca: str | None

    def ask(self, method: str, path: str, body: bytes = b"", **query: str) -> bytes | None:
        """The answer to a request, or None where what it names does not exist."""
        url = f"{self.endpoint}/minio/admin/v3/{path}?{urlencode(query)}"
        request = AWSRequest(method=method, url=url, data=body)
        S3SigV4Auth(Credentials(self.user, self.password), "s3", self.region).add_auth(request)
        try:
            answer = open_url(
                url,
                method=method,
                data=body or None,
                headers=dict(request.headers),
                timeout=30,
                ca_path=self.ca,
            )
        except HTTPError as error:
            reason = error.read().decode(errors="replace")
            if "XMinioAdminNoSuch" in reason:
                return None
            message = f"{method} {path}: {error.code} {reason}"
            raise AdminError(message) from error
        except URLError as error:
            message = f"{self.endpoint} does not answer: {error.reason}"
            raise AdminError(message) from error
        return bytes(answer.read())

    def policy(self, name: str) -> dict[str, Any] | None:
        """A policy, or None."""
        found = self.ask("GET", "info-canned-policy", name=name)
        return None if found is None else dict(json.loads(found))

    def attached(self, user: str) -> str | None:
        """Names of a user's policies, separated by commas, or None where there is no such user."""
        found = self.ask("GET", "user-info", accessKey=user)
        return None if found is None else str(json.loads(found).get("policyName", ""))


@dataclass(frozen=True)
class User:
    """What a user is to be."""

    name: str
    secret: str
    buckets: list[str]
    read_only: bool
    rights: dict[str, Any] | None = None

    def policy(self) -> dict[str, Any]:
        """The policy that allows to use the buckets."""
        on = [f"arn:aws:s3:::{bucket}" for bucket in self.buckets]
        if self.rights is not None:
            return self.narrow(on, self.rights)
        inside = [f"{bucket}/*" for bucket in on]
        actions = READ_ACTIONS if self.read_only else READ_ACTIONS + WRITE_ACTIONS
        return {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": BUCKET_ACTIONS, "Resource": on},
                {"Effect": "Allow", "Action": actions, "Resource": inside},
                {"Effect": "Deny", "Action": FORBIDDEN_ACTIONS},
            ],
        }

    @staticmethod
    def narrow(on: list[str], rights: dict[str, Any]) -> dict[str, Any]:
        """The policy that allows what rights name and nothing else."""
        look = ["s3:GetBucketLocation"] + (["s3:ListBucket"] if rights.get("list") else [])
        return {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": look, "Resource": on},
                *(
                    {
                        "Effect": "Allow",
                        "Action": [action],
                        "Resource": [f"{bucket}/{name}" for bucket in on for name in rights[right]],
                    }
                    for right, action in RIGHTS.items()
                    if rights.get(right)
                ),
                {"Effect": "Deny", "Action": FORBIDDEN_ACTIONS},
            ],
        }


def same(one: dict[str, Any] | None, other: dict[str, Any]) -> bool:
    """Whether two policies say the same; MinIO keeps the order of nothing."""

    def plain(policy: dict[str, Any]) -> list[list[Any]]:
        return sorted(
            [
                statement["Effect"],
                sorted(statement["Action"]),
                sorted(statement.get("Resource", [])),
            ]
            for statement in policy["Statement"]
        )

    return one is not None and plain(one) == plain(other)


def works(admin: Admin, user: User) -> bool:
    """Whether a user's keys open the first bucket."""
    client = boto3.client(
        "s3",
        endpoint_url=admin.endpoint,
        region_name=admin.region,
        aws_access_key_id=user.name,
        aws_secret_access_key=user.secret,
        verify=admin.ca,
    )
    try:
        client.get_bucket_location(Bucket=user.buckets[0])
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in {403, 404}:
            return False
        raise
    return True


def apply(admin: Admin, user: User, *, check: bool) -> list[str]:
    """Mends what is not as declared and says what that was."""
    mended = []
    policy, name = user.policy(), user.name
    if not same(admin.policy(name), policy):
        mended.append("policy")
        if not check:
            admin.ask("PUT", "add-canned-policy", json.dumps(policy).encode(), name=name)
    attached = admin.attached(name)
    if attached is None or not works(admin, user):
        mended.append("user")
        if not check:
            request = json.dumps({"secretKey": user.secret, "status": "enabled"}).encode()
            admin.ask("PUT", "add-user", seal(admin.password, request), accessKey=name)
    if attached != name:
        mended.append("attachment")
        if not check:
            path = "set-user-or-group-policy"
            admin.ask("PUT", path, policyName=name, userOrGroup=name, isGroup="false")
    return mended


def main() -> None:
    """Entry of the module."""
    module = AnsibleModule(
        argument_spec={
            "endpoint": {"type": "str", "required": True},
            "ca": {"type": "str", "default": ""},
            "read_only": {"type": "bool", "default": False},
            "region": {"type": "str", "default": "us-east-1"},
            "root_user": {"type": "str", "required": True},
            "root_password": {"type": "str", "required": True, "no_log": True},
            "access_key": {"type": "str", "required": True, "no_log": False},
            "secret_key": {"type": "str", "required": True, "no_log": True},
            "buckets": {"type": "list", "elements": "str", "required": True},
            "rights": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    if not HAS_LIBRARIES:
        module.fail_json(msg="the host needs Debian's python3-boto3 and python3-cryptography")
    given = module.params
    admin = Admin(
        given["endpoint"],
        given["region"],
        given["root_user"],
        given["root_password"],
        given["ca"] or None,
    )
    user = User(
        given["access_key"],
        given["secret_key"],
        given["buckets"],
        given["read_only"],
        given["rights"],
    )
    try:
        mended = apply(admin, user, check=module.check_mode)
    except (AdminError, ClientError) as error:
        module.fail_json(msg=f"MinIO user {given['access_key']}: {error}")
    module.exit_json(changed=bool(mended), mended=mended)


if __name__ == "__main__":
    main()
