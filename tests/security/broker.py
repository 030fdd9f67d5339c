"""Attempts at Kafka: by whom it does not know, and by whom it knows at what they may not do.

Where an attempt can be made without consequences it is: what is only checked, or changes nothing.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from tests.security.attempts import Attempt
from tests.security.certificates import Identity, Maker
from tests.security.doors import Outcome, Unclear, Visitor, closed, knock
from tools.hops import System

CLIENTS, CONTROLLERS, METRICS = 9092, 9093, 9404
HOST, UNIT = "core1", "kafka"
RAW, ANOMALIES = "sensor.raw", "sensor.anomalies"
PARTITIONS = range(4)
UNPROVEN = r"Failed authentication with"
# A certificate that is good, for a name by which nobody is known.
NAMELESS = r"Failed to map name"
# Whoever asks for the list of topics gets the part that he may see, which is no refusal.
SILENT = ""
# ApiVersions, which anyone may ask who is let in: length, key, version, number, no client's name.
ASKS = struct.pack(">ihhih", 10, 18, 0, 1, -1)
JOB_READS = (ResourceType.TOPIC, RAW, ResourcePatternType.LITERAL, "User:job", "*")
_SECONDS = 15
_TRIES_SECONDS = 8

Settings = dict[str, str | int | float | bool]
Act = Callable[[Settings], object]


def admitted(system: System) -> dict[str, Outcome]:
    """Who has to get in, and sees the readings' topic."""
    found = {}
    for name in ("bridge-gw1", "job", "monitor"):
        try:
            seen = topics(_client(system, name))
        except KafkaException as error:
            found[name] = Outcome(admitted=False, answer=str(error))
        else:
            found[name] = Outcome(RAW in seen, f"sees {seen}")
    found["administrator"] = _sees(_client(system, "admin"), rights)
    found["job reads"] = _outcome(_client(system, "job"), read)
    return found


def table(system: System, maker: Maker) -> Iterator[Attempt]:
    """All of them."""
    for kind, make, logged in [*_at_the_door(system, maker), *_inside(system)]:
        yield Attempt(f"Kafka {CLIENTS}", kind, make, HOST, UNIT, logged)
    for port, kind in ((CONTROLLERS, "controllers"), (METRICS, "metrics")):
        make = partial(closed, (system.core, port))
        yield Attempt(f"Kafka {port}", f"{kind} from another host", make, HOST, UNIT, SILENT)


Row = tuple[str, Callable[[], Outcome], str]


def _at_the_door(system: System, maker: Maker) -> Iterator[Row]:
    """Who shows no certificate of Kafka's own authority; `admin` may do all."""
    authorities = system.authority("kafka1")
    own = Identity.beside(authorities)
    others = {
        "another kind of client": Identity.beside(system.authority("publishers")),
        "a host": Identity.beside(system.authority("ca1")),
    }
    visitors = {
        kind: Visitor(identity=identity)
        for kind, identity in maker.refusable("admin", own, others).items()
    }
    visitors["TLS 1.1"] = Visitor(identity=maker.signed("admin", own)).outdated()
    address = (system.core, CLIENTS)
    yield "without TLS", partial(knock, address, None, ASKS), UNPROVEN
    for kind, visitor in visitors.items():
        yield kind, partial(knock, address, visitor.context(authorities), ASKS), UNPROVEN
    nameless = Visitor(identity=maker.signed("admin,OU=x", own)).context(authorities)
    yield "name of another form", partial(knock, address, nameless, ASKS), NAMELESS


def _inside(system: System) -> Iterator[Row]:
    """Who is known, or has a good certificate for an unknown name, at what is not his."""
    acts: list[tuple[str, str, Act, str]] = [
        ("bridge-gw1", "reads readings", read, "READ"),
        ("bridge-gw1", "writes anomalies", partial(write, topic=ANOMALIES), "DESCRIBE"),
        ("bridge-gw1", "deletes records", cut, "DELETE"),
        ("bridge-gw1", "takes the job's positions", position, "DESCRIBE"),
        ("bridge-gw9", "writes readings", partial(write, topic=RAW), "DESCRIBE"),
        ("job", "makes a topic", create, "CREATE"),
        ("job", "deletes a topic", delete, "DELETE"),
        ("job", "deletes records", cut, "DELETE"),
        ("job", "changes a topic's settings", configure, "ALTER_CONFIGS"),
        ("job", "gives itself rights", grant, "ALTER"),
        ("monitor", "writes readings", partial(write, topic=RAW), "WRITE"),
        ("monitor", "reads readings", read, "READ"),
        ("monitor", "takes the job's positions", position, "DESCRIBE"),
        ("monitor", "makes a topic", create, "CREATE"),
    ]
    for name, kind, act, operation in acts:
        make = partial(_outcome, _client(system, name), act)
        yield f"{name} {kind}", make, _denied(name, operation)
    for name in ("job", "monitor"):
        make = partial(_sees, _client(system, name), rights)
        yield f"{name} lists rights", make, _denied(name, "DESCRIBE")
    yield "unknown name lists topics", partial(_sees, _client(system, "stranger"), topics), SILENT


def _denied(name: str, operation: str) -> str:
    return rf"Principal = User:{name} is Denied operation = {operation} "


def _client(system: System, name: str) -> Settings:
    # Nothing on the terminal of what is expected to fail.
    return {**system.kafka(name), "log_level": 0}


def _outcome(client: Settings, act: Act) -> Outcome:
    try:
        act(client)
    except KafkaException as error:
        said = error.args[0]
        if said.name().endswith("AUTHORIZATION_FAILED"):
            return Outcome(admitted=False, answer=said.name())
        raise Unclear(str(said)) from error
    return Outcome(admitted=True, answer="done")


def _sees(client: Settings, look: Callable[[Settings], list[str]]) -> Outcome:
    try:
        seen = look(client)
    except (KafkaException, TimeoutError) as error:
        raise Unclear(str(error)) from error
    return Outcome(bool(seen), f"sees {seen}")


def topics(client: Settings) -> list[str]:
    """The topics that are shown."""
    return sorted(AdminClient(client).list_topics(timeout=_SECONDS).topics)


def rights(client: Settings) -> list[str]:
    """The right of the job to read that is shown; the library takes a refusal for none."""
    wanted = AclBindingFilter(*JOB_READS, AclOperation.READ, AclPermissionType.ALLOW)
    admin = AdminClient(client)
    return [str(right) for right in admin.describe_acls(wanted).result(_SECONDS)]


def read(client: Settings) -> None:
    """Read a record from any of the topic's partitions.

    Raises:
        KafkaException: the broker refuses.
        Unclear: none came.
    """
    consumer = Consumer({**client, "group.id": "attack", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(RAW, number, OFFSET_BEGINNING) for number in PARTITIONS])
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            message = consumer.poll(1)
            error = message and message.error()
            # The library asks for a group, which reading needs not.
            if error and error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
                raise KafkaException(error)
            if message and not error:
                return
    finally:
        consumer.close()
    reason = f"nothing came of {RAW} in {_SECONDS} s"
    raise Unclear(reason)


def write(client: Settings, topic: str) -> None:
    """Write a record, which would go to the dead letters."""
    errors = []
    limits = {
        "delivery.timeout.ms": _TRIES_SECONDS * 1000,
        "topic.metadata.propagation.max.ms": 3000,
    }
    producer = Producer({**client, **limits})
    producer.produce(topic, b"attack", on_delivery=lambda error, _: errors.append(error))
    if producer.flush(_SECONDS):
        reason = f"no answer to a record for {topic} in {_SECONDS} s"
        raise Unclear(reason)
    if errors[0]:
        raise KafkaException(errors[0])


def create(client: Settings) -> None:
    """Make a topic, which the broker is only to check."""
    wanted = [NewTopic("attack", 1, 1)]
    _ask(client, lambda admin: admin.create_topics(wanted, validate_only=True))


def delete(client: Settings) -> None:
    """Delete a topic; only of one that is there is it said whether one may."""
    _ask(client, lambda admin: admin.delete_topics([ANOMALIES]))


def cut(client: Settings) -> None:
    """Delete the records before the first."""
    _ask(client, lambda admin: admin.delete_records([TopicPartition(RAW, 0, 0)]))


def configure(client: Settings) -> None:
    """Change how long a topic's records are kept, which the broker is only to check."""
    entry = ConfigEntry("retention.ms", "1000", incremental_operation=AlterConfigOpType.SET)
    wanted = [ConfigResource(ResourceType.TOPIC, RAW, incremental_configs=[entry])]
    _ask(client, lambda admin: admin.incremental_alter_configs(wanted, validate_only=True))


def grant(client: Settings) -> None:
    """Allow the job to read what it may read already."""
    right = AclBinding(*JOB_READS, AclOperation.READ, AclPermissionType.ALLOW)
    _ask(client, lambda admin: admin.create_acls([right]))


def position(client: Settings) -> None:
    """Set how far the job's group has come, by which its lag is told."""
    group = ConsumerGroupTopicPartitions("positions", [TopicPartition(RAW, 0, 0)])
    _ask(client, lambda admin: admin.alter_consumer_group_offsets([group]))


def _ask(client: Settings, ask: Callable[[AdminClient], Mapping[Any, Future[Any]]]) -> None:
    # It has to stay until the answer is there.
    admin = AdminClient(client)
    for what, future in ask(admin).items():
        try:
            future.result(_SECONDS)
        except TimeoutError as error:
            reason = f"no answer about {what} in {_SECONDS} s"
            raise Unclear(reason) from error
