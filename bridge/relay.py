"""What becomes of a message: pure functions, no socket."""

from typing import NamedTuple

from bridge.spool_file import Entry
from telemetry import headers
from telemetry.topics import parse_topic

KEPT_OF_TOO_LARGE = 64 * 1024  # bytes; enough to tell what the payload was


class Record(NamedTuple):
    """A Kafka record: key and value in bytes, headers in order."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def to_record(entry: Entry, gateway: str, spool_id: str, behind: int, *, resent: bool) -> Record:
    """Return the record of a message.

    Args:
        entry: its payload is passed on untouched; it is Spark that judges it.
        gateway: name of this gateway.
        spool_id: which spool the entry's number is of.
        behind: messages that wait behind this one.
        resent: Kafka may have it already.

    The key is the topic's device, or the whole topic if that names none.
    """
    parts = parse_topic(entry.topic.decode())
    known = (
        (headers.CLOCK_OFFSET_NS, entry.offset_ns),
        (headers.CLOCK_ERROR_NS, entry.error_ns),
        (headers.RESENT, 1 if resent else None),
    )
    return Record(
        key=parts.device.encode() if parts else entry.topic,
        value=entry.payload,
        headers=(
            (headers.MQTT_TOPIC, entry.topic),
            (headers.GATEWAY, gateway.encode()),
            (headers.RECEIVED_NS, b"%d" % entry.received_ns),
            (headers.CLOCK_QUALITY, entry.quality.encode()),
            (headers.SPOOL_ID, spool_id.encode()),
            (headers.SPOOL_SEQ, b"%d" % entry.seq),
            (headers.SPOOL_WAITING, b"%d" % behind),
            *((name, b"%d" % value) for name, value in known if value is not None),
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
