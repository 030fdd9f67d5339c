"""The Kafka side: sends records and tells when each one is safe there."""

import json
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from bridge import log
from bridge.metrics import Metrics
from bridge.relay import Record, to_dead_letter
from bridge.settings import Settings

# What is wrong with the record itself. Anything else that librdkafka does not retry by itself is
# wrong with the set-up (a topic missing, no right to write), and ends the program.
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE})
_REFUSED = _TOO_LARGE | {
    KafkaError.INVALID_MSG,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_TIMESTAMP,
}
_GATHER_SECONDS = 0.01  # reports that are fetched together cost half as much
_FULL_SECONDS = 0.02  # between tries while the producer's queue is full
_TOPIC_MISSING_SECONDS = 300  # how long records wait for a topic that is yet to be created


class Forwarder:
    """Sends to Kafka with an idempotent producer that retries for ever.

    A broker that comes back after a power cut has lost what it had not yet written to disk, though
    it had acknowledged it. It shows as a connection made again, or a log that ends before what
    was acknowledged; `taken_back` is then called.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        fail: Callable[[str], None],
        taken_back: Callable[[], None],
    ) -> None:
        """Make the producer; `fail` ends the program and is given the reason."""
        self._taken_back = taken_back
        self._settings = settings
        self._metrics = metrics
        self._fail = fail
        self._reached = log.State()
        self._trouble = log.State()
        self._closing = False
        self._log_ends: dict[tuple[str | None, int | None], int] = {}
        self._delivered = 0  # since the last look
        self._connects = 0
        self._producer = Producer(
            {
                **settings.kafka.librdkafka(),
                "client.id": settings.session_id,
                "enable.idempotence": True,
                "acks": "all",
                "message.timeout.ms": 0,
                # The spool hands over in groups; this is for the last few of one.
                "linger.ms": 1,
                "compression.type": "lz4",
                # Only the Kafka broker is to judge what is too large. A batch stays within
                # batch.size, which every broker takes by default.
                "message.max.bytes": 16 * 1024 * 1024,
                "queue.buffering.max.kbytes": 32 * 1024,
                "topic.metadata.propagation.max.ms": _TOPIC_MISSING_SECONDS * 1000,
                "reconnect.backoff.max.ms": 5000,
                # A router on the way that forgets a connection says nothing to either end; with
                # the default all waits for a minute. Not less: a slow uplink needs its time.
                "socket.timeout.ms": 20_000,
                "socket.keepalive.enable": True,
                "statistics.interval.ms": 5000,
                "stats_cb": self._on_statistics,
                "error_cb": self._on_error,
                "log_level": 2,  # _on_error says the same once
            }
        )

    def send(self, make: Callable[[], Record], settled: Callable[[], None]) -> None:
        """Send a record; `settled` is called, by another thread, when Kafka has it for good.

        `make` is called once more if Kafka refuses the record: kept until Kafka's report, its many
        small parts would cost more than to make it.

        Blocks while the producer's queue is full. Does not call `settled` when the program ends
        before.
        """
        self._produce(self._settings.kafka_topic, make(), partial(self._on_report, make, settled))

    def serve(self, seconds: float) -> None:
        """Deliver Kafka's reports, waiting for the first of them up to so long."""
        time.sleep(_GATHER_SECONDS)
        try:
            self._producer.poll(seconds)
            self._count()
        except KafkaException as problem:
            # A broker that lost its log's end finds our numbers out of order; a new start has
            # a producer with new ones, and the spool.
            self._fail(f"kafka producer cannot go on: {problem.args[0].str()}")

    def check(self) -> bool:
        """Tell whether a broker answers and has both topics. Takes a second at most."""
        settings = self._settings
        try:
            present = self._producer.list_topics(timeout=1).topics
        except KafkaException as problem:
            self._unreachable(problem.args[0].str())
            return False
        wanted = {settings.kafka_topic, settings.kafka_dead_letter_topic}
        if missing := sorted(wanted - present.keys()):
            self._reached.enter(
                logging.ERROR,
                "kafka_topic_missing",
                topics=",".join(missing),
                todo="create them; the bridge waits",
            )
            return False
        self._reachable()
        return True

    def drain(self, seconds: float) -> int:
        """Wait so long for what is under way, take no more; return how many records are left."""
        deadline = time.monotonic() + seconds
        self._closing = True
        try:
            left = self._producer.flush(seconds)
            self._count()
            # A report may have sent a dead letter.
            return (
                self._producer.flush(max(0.0, deadline - time.monotonic())) if left == 0 else left
            )
        except KafkaException:  # the one that ended the program
            return len(self._producer)

    def _produce(
        self,
        topic: str,
        record: Record,
        report: Callable[[KafkaError | None, Message | None], None],
    ) -> None:
        while True:
            try:
                self._producer.produce(
                    topic, record.value, record.key, headers=record.headers, on_delivery=report
                )
            except BufferError:
                if self._closing:
                    return
                time.sleep(_FULL_SECONDS)  # the main thread serves reports meanwhile
            except KafkaException as problem:
                report(problem.args[0], None)
                return
            else:
                return

    def _on_report(
        self,
        make: Callable[[], Record],
        settled: Callable[[], None],
        error: KafkaError | None,
        message: Message | None,
    ) -> None:
        """Take Kafka's report on a record."""
        if error is None and message is not None:
            self._watch_log_end(message)
            self._delivered += 1
            settled()
        elif error is not None and error.code() in _REFUSED:
            self._bury(make(), error, settled)
        elif error is not None:
            self._give_up(self._settings.kafka_topic, error)

    def _count(self) -> None:
        delivered, self._delivered = self._delivered, 0
        self._metrics.forwarded.inc(delivered)

    def _watch_log_end(self, message: Message) -> None:
        partition = message.topic(), message.partition()
        offset = message.offset()
        if offset is None:  # Kafka had it from an earlier try, and does not say where
            return
        if offset <= self._log_ends.get(partition, -1):
            log.event(
                logging.WARNING,
                "kafka_lost_records",
                topic=partition[0],
                partition=partition[1],
                offset=offset,
                expected=f"more than {self._log_ends[partition]}",
            )
            self._taken_back()
        self._log_ends[partition] = offset

    def _bury(self, record: Record, error: KafkaError, settled: Callable[[], None]) -> None:
        """Send a record that Kafka will never take to the dead letters."""
        too_large = error.code() in _TOO_LARGE
        letter = to_dead_letter(record, f"kafka: {error.str()}", too_large=too_large)
        log.event(
            logging.WARNING,
            "dead_letter",
            key=record.key.decode(),
            size=len(record.value),
            kept=len(letter.value),
            reason=error.str(),
        )

        def report(error: KafkaError | None, message: Message | None) -> None:
            if error is not None:
                self._give_up(self._settings.kafka_dead_letter_topic, error)
            elif message is not None:
                self._watch_log_end(message)
                self._metrics.dead_letters.inc()
                settled()

        self._produce(self._settings.kafka_dead_letter_topic, letter, report)

    def _give_up(self, topic: str, error: KafkaError) -> None:
        self._fail(f"kafka does not take records for {topic}: {error.name()}: {error.str()}")

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fail(f"kafka producer cannot go on: {error.str()}")
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
            self._unreachable("all brokers are down")
        else:
            self._trouble.enter(
                logging.WARNING, "kafka_trouble", code=error.name(), detail=error.str()
            )

    def _on_statistics(self, text: str) -> None:
        brokers: dict[str, Any] = json.loads(text, strict=False)["brokers"]
        connects = sum(broker["disconnects"] for broker in brokers.values())
        if connects > self._connects and any(b["state"] == "UP" for b in brokers.values()):
            self._connects = connects
            self._taken_back()
        if any(broker["state"] == "UP" for broker in brokers.values()):
            self._reachable()
        else:
            self._unreachable("no broker is connected")

    def _reachable(self) -> None:
        self._metrics.kafka_connected.set(1)
        self._reached.enter(
            logging.INFO, "kafka_reached", servers=self._settings.kafka_bootstrap_servers
        )

    def _unreachable(self, reason: str) -> None:
        self._metrics.kafka_connected.set(0)
        self._reached.enter(
            logging.WARNING,
            "kafka_unreachable",
            servers=self._settings.kafka_bootstrap_servers,
            detail=reason,
        )
