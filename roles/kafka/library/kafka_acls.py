"""Ansible module: rights in a Kafka cluster as they are declared, by the tool kafka-acls."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: kafka_acls
short_description: Who may do what in a Kafka cluster
description:
  - Gives the rights that are declared and takes away all others.
  - Runs C(kafka-acls), since Debian's library for Python is too old to ask for rights.
options:
  bootstrap_servers:
    description: Brokers to ask, C(host:port) separated by commas.
    type: str
    required: true
  acls:
    description:
      - Each with C(principal) and optionally C(read), C(write), C(describe) (topics) and C(groups).
      - A name that ends in C(*) is the beginning of many.
    type: list
    elements: dict
    required: true
author: The edge-telemetry authors
"""
EXAMPLES = """
- kafka_acls:
    bootstrap_servers: broker:9092
    acls: [{principal: bridge, write: [sensor.raw]}]
"""
RETURN = """
"""
OPERATIONS = {
    "read": ("TOPIC", "READ"),
    "write": ("TOPIC", "WRITE"),
    "describe": ("TOPIC", "DESCRIBE"),
    "groups": ("GROUP", "READ"),
}
RESOURCE = re.compile(r"resourceType=(\w+), name=(.+), patternType=(\w+)\)")
ENTRY = re.compile(r"principal=User:(.+), host=\*, operation=(\w+), permissionType=ALLOW")


class Right(NamedTuple):
    """Something that a principal may do with a resource; `pattern` is LITERAL or PREFIXED."""

    principal: str
    operation: str
    pattern: str
    resource: str
    name: str


def declared(acls: list[dict[str, Any]]) -> set[Right]:
    """The rights that the play wants."""
    rights = set()
    for acl in acls:
        for kind, (resource, operation) in OPERATIONS.items():
            for name in acl.get(kind) or []:
                # A star alone is Kafka's own word for all.
                prefixed = name.endswith("*") and name != "*"
                pattern = "PREFIXED" if prefixed else "LITERAL"
                plain = name[:-1] if prefixed else name
                rights.add(Right(acl["principal"], operation, pattern, resource, plain))
    return rights


def parse(listing: str) -> set[Right]:
    """The rights that `kafka-acls --list` shows."""
    rights = set()
    resource = name = pattern = ""
    for line in listing.splitlines():
        if found := RESOURCE.search(line):
            resource, name, pattern = found.groups()
        elif found := ENTRY.search(line):
            rights.add(Right(found[1], found[2], pattern, resource, name))
    return rights


def commands(action: str, rights: set[Right]) -> list[list[str]]:
    """As few calls of the tool as do it: each takes a second of a JVM."""
    together = defaultdict(list)
    for right in sorted(rights):
        together[right[:3]].append((right.resource.lower(), right.name))
    calls = []
    for (principal, operation, pattern), resources in together.items():
        call = [action, "--allow-principal", f"User:{principal}", "--operation", operation]
        call += ["--resource-pattern-type", pattern.lower()]
        for kind, name in resources:
            call += [f"--{kind}", name]
        calls.append(call)
    return calls


def main() -> None:
    """Entry of the module."""
    module = AnsibleModule(
        argument_spec={
            "bootstrap_servers": {"type": "str", "required": True},
            "acls": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    tool = ["/usr/local/bin/kafka-acls", "--bootstrap-server", module.params["bootstrap_servers"]]
    _, listing, _ = module.run_command([*tool, "--list"], check_rc=True)
    before, after = parse(listing), declared(module.params["acls"])
    if not module.check_mode:
        for call in commands("--add", after - before):
            module.run_command([*tool, *call], check_rc=True)
        for call in commands("--remove", before - after):
            module.run_command([*tool, *call, "--force"], check_rc=True)
    shown = {"before": sorted(map(str, before)), "after": sorted(map(str, after))}
    module.exit_json(changed=before != after, diff=shown)


if __name__ == "__main__":
    main()
