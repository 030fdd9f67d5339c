"""Topic names, on MQTT and on Kafka."""

import functools
from typing import NamedTuple

RAW_TOPIC = "sensor.raw"
DEAD_LETTER_TOPIC = "sensor.dead_letter"
ANOMALY_TOPIC = "sensor.anomalies"
SUBSCRIPTION = "sensors/+/+/telemetry"

_MAX_TOPIC_BYTES = 65_535
_MOST_REMEMBERED = 10_000  # topics; a device has one


class TopicParts(NamedTuple):
    """Where a reading comes from, as its MQTT topic says."""

    site: str
    device: str


def telemetry_topic(site: str, device: str) -> str:
    """Return the MQTT topic on which a device publishes its readings.

    Raises:
        ValueError: a name is empty or holds a character that MQTT gives a meaning to.
    """
    for what, name in (("site", site), ("device", device)):
        if not _is_level(name):
            message = f"{what} {name!r} cannot be part of a topic: use 1 or more characters, "
            raise ValueError(message + "none of them '/', '+', '#' or NUL")
    topic = f"sensors/{site}/{device}/telemetry"
    if len(topic.encode()) > _MAX_TOPIC_BYTES:
        message = f"topic of device {device[:40]!r}... is longer than {_MAX_TOPIC_BYTES} bytes"
        raise ValueError(message)
    return topic


def parse_topic(topic: str) -> TopicParts | None:
    """Return site and device of a telemetry topic, None if it has another shape."""
    match topic.split("/"):
        case ["sensors", site, device, "telemetry"] if _is_level(site) and _is_level(device):
            return TopicParts(site, device)
    return None


@functools.lru_cache(_MOST_REMEMBERED)
def device_of(topic: bytes) -> str | None:
    """Return the device of a telemetry topic as MQTT brought it, None if it has another shape."""
    try:
        parts = parse_topic(topic.decode())
    except UnicodeDecodeError:
        return None
    return None if parts is None else parts.device


def ack_topic(device: str) -> str:
    """Return the MQTT topic on which the bridge tells which readings of a device are safe."""
    return f"ack/{device}"


def parse_ack_topic(topic: str) -> str | None:
    """Return the device of such a topic, None if it has another shape."""
    match topic.split("/"):
        case ["ack", device] if _is_level(device):
            return device
    return None


def _is_level(name: str) -> bool:
    return bool(name) and not any(character in name for character in "/+#\0")
