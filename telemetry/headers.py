"""Names of the Kafka headers. Values are text: ASCII, but for an MQTT topic that is not."""

# On every record of the raw topic.
MQTT_TOPIC = "mqtt_topic"
GATEWAY = "gateway"
RECEIVED_NS = "received_ns"  # gateway's clock, nanoseconds since the epoch

# On a dead letter, besides those of the record that was refused.
REASON = "reason"
ORIGIN_TOPIC = "origin_topic"
ORIGIN_PARTITION = "origin_partition"
ORIGIN_OFFSET = "origin_offset"
ORIGINAL_SIZE = "original_size"  # bytes of the payload before it was cut
