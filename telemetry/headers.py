"""Names of the Kafka headers. Values are text: ASCII, but for an MQTT topic that is not."""

from typing import Literal

# On every record of the raw topic.
MQTT_TOPIC = "mqtt_topic"
GATEWAY = "gateway"
RECEIVED_NS = "received_ns"  # gateway's clock, nanoseconds since the epoch
CLOCK_QUALITY = "clock_quality"  # one of ClockQuality
SPOOL_ID = "spool_id"  # made at random with the gateway's spool
SPOOL_SEQ = "spool_seq"  # the message's number in that spool, ascending
SPOOL_WAITING = "spool_waiting"  # messages behind this one when it was sent

# Where they are known.
CLOCK_OFFSET_NS = "clock_offset_ns"  # gateway's clock minus true time
CLOCK_ERROR_NS = "clock_error_ns"  # bound of that offset's error

# On a record that may be in Kafka already.
RESENT = "resent"

# How the receive time came about. synchronised and unsynchronised: read from the gateway's clock,
# which followed a time server or did not. corrected: received while the clock was in the past, put
# right when it was set. estimated: the same, but in an earlier run of the machine, of which only
# the order is known. past: read from a clock that is known to be wrong.
ClockQuality = Literal["synchronised", "unsynchronised", "corrected", "estimated", "past"]

# On a dead letter, besides those of the record that was refused.
REASON = "reason"
ORIGIN_TOPIC = "origin_topic"
ORIGIN_PARTITION = "origin_partition"
ORIGIN_OFFSET = "origin_offset"
ORIGINAL_SIZE = "original_size"  # bytes of the payload before it was cut
