"""Ansible module: how long buckets of an S3 store keep what was written over or deleted."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

try:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    HAS_LIBRARIES = False
else:
    HAS_LIBRARIES = True

DOCUMENTATION = """
module: minio_lifecycle
short_description: How long a store keeps old versions
description:
  - Sets the one lifecycle rule of each bucket, by which versions go that are not the newest.
options:
  endpoint: {description: URL of the store., type: str, required: true}
  ca: {description: File with the authorities to trust., type: str, default: ""}
  region: {description: Region of the store., type: str, default: us-east-1}
  root_user: {description: Name of the administrator., type: str, required: true}
  root_password: {description: Password of the administrator., type: str, required: true}
  buckets: {description: Names of the buckets., type: list, elements: str, required: true}
  days: {description: Days that old versions are kept., type: int, required: true}
author: The edge-telemetry authors
"""
EXAMPLES = """
- minio_lifecycle:
    endpoint: http://127.0.0.1:9000
    root_user: root
    root_password: "{{ minio_root_password }}"
    buckets: [sensor-archive]
    days: 30
"""
RETURN = """
"""


def days_of(client: Any, bucket: str) -> int | None:  # noqa: ANN401 - boto3 has no types
    """Days that a bucket keeps old versions, or None where its rules are not one of ours."""
    try:
        rules = client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchLifecycleConfiguration":
            return None
        raise
    if len(rules) != 1 or rules[0].get("Status") != "Enabled":
        return None
    days: int | None = rules[0].get("NoncurrentVersionExpiration", {}).get("NoncurrentDays")
    return days


def rule(days: int) -> dict[str, Any]:
    """The lifecycle rule."""
    return {
        "ID": "old-versions",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": days},
    }


def main() -> None:
    """Entry of the module."""
    module = AnsibleModule(
        argument_spec={
            "endpoint": {"type": "str", "required": True},
            "ca": {"type": "str", "default": ""},
            "region": {"type": "str", "default": "us-east-1"},
            "root_user": {"type": "str", "required": True},
            "root_password": {"type": "str", "required": True, "no_log": True},
            "buckets": {"type": "list", "elements": "str", "required": True},
            "days": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    if not HAS_LIBRARIES:
        module.fail_json(msg="the host needs Debian's python3-boto3")
    given = module.params
    client = boto3.client(
        "s3",
        endpoint_url=given["endpoint"],
        region_name=given["region"],
        aws_access_key_id=given["root_user"],
        aws_secret_access_key=given["root_password"],
        verify=given["ca"] or None,
    )
    try:
        wrong = [name for name in given["buckets"] if days_of(client, name) != given["days"]]
        for name in [] if module.check_mode else wrong:
            client.put_bucket_lifecycle_configuration(
                Bucket=name, LifecycleConfiguration={"Rules": [rule(given["days"])]}
            )
    except (BotoCoreError, ClientError) as error:
        module.fail_json(msg=f"lifecycle of {', '.join(given['buckets'])}: {error}")
    module.exit_json(changed=bool(wrong))


if __name__ == "__main__":
    main()
