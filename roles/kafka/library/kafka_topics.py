"""Ansible module: topics of a Kafka cluster as they are declared, without starting a JVM."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule

try:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient, ConfigResource
    from confluent_kafka.cimpl import NewPartitions, NewTopic
except ImportError:
    HAS_CLIENT = False
else:
    HAS_CLIENT = True

DOCUMENTATION = """
module: kafka_topics
short_description: Topics of a Kafka cluster
description:
  - Creates topics, adds partitions and sets topic settings; removes nothing.
  - Settings that are not declared go back to the broker's.
options:
  bootstrap_servers:
    description: Brokers to ask, C(host:port) separated by commas.
    type: str
    required: true
  client:
    description: Further settings of the client by librdkafka's names, such as those of TLS.
    type: dict
    default: {}
  topics:
    description: Topics, each with C(name), C(partitions) and optionally C(replication), C(config).
    type: list
    elements: dict
    required: true
  replication:
    description: Copies of each partition where a topic does not say.
    type: int
    required: true
  timeout:
    description: Seconds to wait for a broker and for each answer.
    type: int
    default: 60
author: The edge-telemetry authors
"""
EXAMPLES = """
- kafka_topics:
    bootstrap_servers: broker:9092
    topics: [{name: sensor.raw, partitions: 4}]
    replication: 1
"""
RETURN = """
leaderless:
  description: Declared partitions without a leader, as C(topic-partition).
  type: list
  returned: success
under_replicated:
  description: Declared partitions with fewer copies in sync than they have.
  type: list
  returned: success
"""
# What DescribeConfigs calls a setting of the topic itself.
DYNAMIC_TOPIC_CONFIG = 1


@dataclass(frozen=True)
class Topics:
    """The cluster's topics, seen and changed through one client; each answer within timeout s."""

    client: AdminClient
    timeout: int

    def wait(self, futures: dict[Any, Any]) -> list[Any]:
        """The answers to a request, or the first error as KafkaException."""
        return [future.result(self.timeout) for future in futures.values()]

    def found(self) -> dict[str, Any]:
        """Metadata by topic; waits until enough time has passed for a broker to come up."""
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                return dict(self.client.list_topics(timeout=5).topics)
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def config(self, name: str) -> dict[str, str]:
        """Settings that the topic itself has."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, name)
        (entries,) = self.wait(self.client.describe_configs([resource]))
        return {k: e.value for k, e in entries.items() if e.source == DYNAMIC_TOPIC_CONFIG}

    def create(self, name: str, partitions: int, replication: int, config: dict[str, str]) -> None:
        """Creates a topic, once as many brokers are up as it has copies."""
        topic = NewTopic(name, partitions, replication, config=config)
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                self.wait(self.client.create_topics([topic]))
            except KafkaException as error:
                # That the run on another broker was faster is no fault.
                if error.args[0].name() == "TOPIC_ALREADY_EXISTS":
                    break
                few = error.args[0].name() == "INVALID_REPLICATION_FACTOR"
                if not few or time.monotonic() > deadline:
                    raise
                time.sleep(1)
            else:
                break
        while name not in self.found() and time.monotonic() < deadline:
            time.sleep(0.2)

    def grow(self, name: str, partitions: int) -> None:
        """Adds partitions."""
        self.wait(self.client.create_partitions([NewPartitions(name, partitions)]))

    def set_config(self, name: str, config: dict[str, str]) -> None:
        """Makes these the topic's own settings, all of them."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, name, set_config=config)
        self.wait(self.client.alter_configs([resource]))


def text(value: object) -> str:
    """A value as Kafka writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def apply(module: AnsibleModule, topics: Topics) -> dict[str, Any]:
    """Compares what is declared with what is there and mends the difference."""
    there = topics.found()
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for topic in module.params["topics"]:
        name, partitions = topic["name"], int(topic["partitions"])
        replication = int(topic.get("replication") or module.params["replication"])
        config = {key: text(value) for key, value in (topic.get("config") or {}).items()}
        after[name] = {"partitions": partitions, "replication": replication, "config": config}
        if name not in there:
            if not module.check_mode:
                topics.create(name, partitions, replication, config)
            continue
        found = there[name].partitions
        before[name] = {
            "partitions": len(found),
            "replication": len(found[0].replicas),
            "config": topics.config(name),
        }
        if len(found) > partitions or len(found[0].replicas) != replication:
            module.fail_json(
                msg=f"topic {name} has {len(found)} partitions in {len(found[0].replicas)} copies, "
                f"declared are {partitions} in {replication}. Partitions cannot be taken away; "
                "copies are changed with kafka-reassign-partitions. Do that, or declare what is."
            )
        if len(found) < partitions and not module.check_mode:
            topics.grow(name, partitions)
        if before[name]["config"] != config and not module.check_mode:
            topics.set_config(name, config)
    return {"changed": before != after, "diff": {"before": before, "after": after}}


def state(topics: Topics, names: list[str]) -> dict[str, list[str]]:
    """Partitions of these topics that nobody leads, and those with copies that lag."""
    result: dict[str, list[str]] = {"leaderless": [], "under_replicated": []}
    there = topics.found()
    for name in names:
        for number, partition in there[name].partitions.items() if name in there else ():
            if partition.leader < 0:
                result["leaderless"].append(f"{name}-{number}")
            if len(partition.isrs) < len(partition.replicas):
                result["under_replicated"].append(f"{name}-{number}")
    return result


def main() -> None:
    """Entry of the module."""
    module = AnsibleModule(
        argument_spec={
            "bootstrap_servers": {"type": "str", "required": True},
            "client": {"type": "dict", "default": {}},
            "topics": {"type": "list", "elements": "dict", "required": True},
            "replication": {"type": "int", "required": True},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    if not HAS_CLIENT:
        module.fail_json(msg="the host needs Debian's package python3-confluent-kafka")
    servers, timeout = module.params["bootstrap_servers"], module.params["timeout"]
    # A broker that is still starting is asked again; librdkafka would say so on standard error.
    own = {"bootstrap.servers": servers, "log_level": 0}
    client = AdminClient({**module.params["client"], **own})
    topics = Topics(client, timeout)
    try:
        result = apply(module, topics)
        result |= state(topics, [topic["name"] for topic in module.params["topics"]])
    except KafkaException as error:
        module.fail_json(msg=f"Kafka at {servers}: {error.args[0].str()} (waited {timeout} s)")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
