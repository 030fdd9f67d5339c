"""Where a query begins that has no checkpoint: behind what its sink has already."""

import json
import logging
from collections.abc import Callable
from typing import Any

from spark_app.sinks.outcome import Fault, SinkFaultError, require
from telemetry.kafka import KafkaAddress

KAFKA_MODULE = ("confluent_kafka", "confluent-kafka")

_TIMEOUT_SECONDS = 10

log = logging.getLogger("job")


def of_database(connect: Callable[[], Any], topic: str) -> tuple[dict[int, int], int]:
    """Return for each partition where the last stored batch began, and the next batch's number.

    Raises:
        SinkFaultError: the database cannot be reached.
    """
    connection = connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT partition, first_offset FROM kafka_position WHERE topic = %s", (topic,)
            )
            offsets = dict(cursor.fetchall())
            cursor.execute("SELECT coalesce(max(batch_id) + 1, 0) FROM kafka_position")
            return offsets, cursor.fetchone()[0]
    finally:
        connection.close()


def starting_offsets(ends: dict[int, tuple[int, int]], topic: str, stored: dict[int, int]) -> str:
    """Return Spark's option `startingOffsets`.

    Args:
        ends: for each partition the first and the next offset that Kafka has.
        topic: its name.
        stored: where to begin; a partition that is not in it begins with what Kafka has first.

    A place that Kafka does not have any more is moved to the nearest that it has: dropped records
    are gone, and a log that ends earlier than we had read lost its end in a power cut, which the
    gateways send again.
    """
    places = {
        partition: min(max(stored.get(partition, first), first), end)
        for partition, (first, end) in ends.items()
    }
    for partition, place in places.items():
        wanted = stored.get(partition, place)
        if place != wanted:
            log.error(
                "Kafka has no offset %d in partition %d of %s: beginning at %d instead. Before it "
                "records were dropped before they were read (keep them longer in Kafka); behind it "
                "they were lost in a power cut, and the gateways send them again",
                wanted,
                partition,
                topic,
                place,
            )
    return json.dumps({topic: {str(partition): place for partition, place in places.items()}})


def kafka_ends(address: KafkaAddress, topic: str) -> dict[int, tuple[int, int]]:
    """Return for each partition the first offset that Kafka has, and the next one it will give.

    Raises:
        SinkFaultError: a module is missing, or Kafka does not answer or has no such topic.
    """
    kafka = require(*KAFKA_MODULE)
    consumer = kafka.Consumer({**address.librdkafka(), "group.id": "positions"})
    try:
        topics = consumer.list_topics(topic, timeout=_TIMEOUT_SECONDS).topics
        partitions = topics[topic].partitions
        if not partitions:
            text = f"Kafka {address.servers} does not have the topic {topic}: create it"
            raise SinkFaultError(Fault("unavailable", text))
        return {
            number: consumer.get_watermark_offsets(
                kafka.TopicPartition(topic, number), timeout=_TIMEOUT_SECONDS
            )
            for number in partitions
        }
    except kafka.KafkaException as error:
        text = f"Kafka {address.servers} does not answer: {error.args[0].str()}"
        raise SinkFaultError(Fault("unavailable", text)) from error
    finally:
        consumer.close()
