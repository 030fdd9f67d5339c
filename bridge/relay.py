"""What becomes of a message: pure functions, no socket."""

from typing import NamedTuple

from telemetry import headers
from telemetry.topics import parse_topic

KEPT_OF_TOO_LARGE = 64 * 1024  # bytes; enough to tell what the payload was


class Record(NamedTuple):
    """A Kafka record: key and value in bytes, headers in order."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def to_record(topic: str, payload: bytes, received_ns: int, gateway: str) -> Record:
    """Return the record of an MQTT message.

    Args:
        topic: MQTT topic; its device is the key, the whole topic if it names none.
        payload: passed on untouched; it is Spark that judges it.
        received_ns: gateway's clock at receipt, ns since the epoch.
        gateway: name of this gateway.
    """
    parts = parse_topic(topic)
    return Record(
        key=(parts.device if parts else topic).encode(),
        value=payload,
        headers=(
            (headers.MQTT_TOPIC, topic.encode()),
            (headers.GATEWAY, gateway.encode()),
            (headers.RECEIVED_NS, b"%d" % received_ns),
        ),
    )


def to_dead_letter(record: Record, reason: str, *, too_large: bool) -> Record:
    """Return the dead letter of a record that Kafka will never take.

    It keeps the key, for the record has no offset to be named by; of one that is too large it
    keeps the first `KEPT_OF_TOO_LARGE` bytes.
    """
    return Record(
        key=record.key,
        value=record.value[:KEPT_OF_TOO_LARGE] if too_large else record.value,
        headers=(
            (headers.REASON, reason.encode()),
            (headers.ORIGINAL_SIZE, b"%d" % len(record.value)),
            *record.headers,
        ),
    )
