"""What becomes of a message: pure functions, no socket."""

from typing import NamedTuple

from bridge.spool_file import Entry
from telemetry import headers
from telemetry.topics import device_of

KEPT_OF_TOO_LARGE = 64 * 1024  # bytes; enough to tell what the payload was

# As Kafka's client has them.
Headers = list[tuple[str, str | bytes | None]]


class Record(NamedTuple):
    """A Kafka record: key and value in bytes, headers in order."""

    key: bytes
    value: bytes
    headers: Headers


def origin(gateway: str, spool_id: str) -> Headers:
    """Return the headers that all records of a run have alike.

    Args:
        gateway: name of this gateway.
        spool_id: which spool the messages' numbers are of.
    """
    return [(headers.GATEWAY, gateway.encode()), (headers.SPOOL_ID, spool_id.encode())]


def to_record(entry: Entry, alike: Headers, behind: int, *, resent: bool) -> Record:
    """Return the record of a message.

    Args:
        entry: its payload is passed on untouched; it is Spark that judges it.
        alike: what `origin` returned.
        behind: messages that wait behind this one.
        resent: Kafka may have it already.

    The key is the topic's device, or the whole topic if that names none.
    """
    seq, topic, payload, received_ns, quality, offset_ns, error_ns, _ = entry
    told = [
        *alike,
        (headers.MQTT_TOPIC, topic),
        (headers.RECEIVED_NS, b"%d" % received_ns),
        (headers.CLOCK_QUALITY, quality.encode()),
        (headers.SPOOL_SEQ, b"%d" % seq),
        (headers.SPOOL_WAITING, b"%d" % behind),
    ]
    if offset_ns is not None:
        told.append((headers.CLOCK_OFFSET_NS, b"%d" % offset_ns))
    if error_ns is not None:
        told.append((headers.CLOCK_ERROR_NS, b"%d" % error_ns))
    if resent:
        told.append((headers.RESENT, b"1"))
    device = device_of(topic)
    return Record(topic if device is None else device.encode(), payload, told)


def to_dead_letter(record: Record, reason: str, *, too_large: bool) -> Record:
    """Return the dead letter of a record that Kafka will never take.

    It keeps the key, for the record has no offset to be named by; of one that is too large it
    keeps the first `KEPT_OF_TOO_LARGE` bytes.
    """
    return Record(
        key=record.key,
        value=record.value[:KEPT_OF_TOO_LARGE] if too_large else record.value,
        headers=[
            (headers.REASON, reason.encode()),
            (headers.ORIGINAL_SIZE, b"%d" % len(record.value)),
            *record.headers,
        ],
    )
