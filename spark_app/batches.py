"""One micro-batch: write it to a sink, however long that takes, and account for it."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the customary name

from spark_app.checkpoint import Checkpoint
from spark_app.devices import DeviceTable
from spark_app.schema import CONTROL_COLUMNS, READING_COLUMNS
from spark_app.sinks.outcome import (
    OUTCOME_SCHEMA,
    Outcome,
    PartitionTask,
    SinkFaultError,
    Writer,
)
from spark_app.transforms import add_devices
from telemetry import headers
from telemetry.kafka import KafkaAddress

_FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 30.0

# More than the topic takes: the broker is to decide, not the producer's own limit of 1 MiB, which
# a bad payload may exceed.
_MOST_REQUEST_BYTES = 16 * 1024 * 1024

log = logging.getLogger("job")


class StoppedError(Exception):
    """The job is to stop; the batch is left for the next start."""


class Notebook(Protocol):
    """Who wants to know a batch's figures."""

    def note(self, query: str, number: int, outcome: Outcome) -> None:
        """Take them down; `number` is what Spark calls the batch."""


@dataclass(frozen=True)
class DeadLetters:
    """Sends what is no reading to the dead letter topic."""

    kafka: KafkaAddress
    topic: str

    def send(self, batch: DataFrame, refused: list[tuple[int, int, str]]) -> None:
        """Send the records that have a reason, and those that the sink refused.

        Args:
            batch: decoded records, with `key`, `value` and `headers` as they came.
            refused: partition, offset and reason.
        """
        origin = F.concat_ws("-", "kafka_topic", "kafka_partition", "kafka_offset")
        by_sink = {f"{partition}-{offset}": reason for partition, offset, reason in refused}
        reason_of = F.from_json(F.lit(json.dumps(by_sink)), "map<string, string>")
        place = F.concat_ws("-", "kafka_partition", "kafka_offset")
        added = F.array(
            _header(headers.REASON, F.col("reason")),
            _header(headers.ORIGIN_TOPIC, F.col("kafka_topic")),
            _header(headers.ORIGIN_PARTITION, F.col("kafka_partition")),
            _header(headers.ORIGIN_OFFSET, F.col("kafka_offset")),
        )
        (
            batch.withColumn("reason", F.coalesce("reason", F.try_element_at(reason_of, place)))
            .where(F.col("reason").isNotNull())
            .select(
                origin.alias("key"),
                "value",
                F.concat(added, F.coalesce("headers", F.slice(added, 1, 0))).alias("headers"),
            )
            .write.format("kafka")
            .options(**{f"kafka.{name}": value for name, value in self.kafka.java().items()})
            .option("kafka.max.request.size", _MOST_REQUEST_BYTES)
            .option("topic", self.topic)
            .option("includeHeaders", "true")
            .save()
        )


@dataclass
class BatchHandler:
    """The function that a query calls with each micro-batch, and what its keeper needs.

    Attributes:
        prepare: makes the sink ready, or raises SinkFaultError; called again before each retry.
        find_place: tells where a query without a checkpoint begins: for each partition an offset
            before which the sink has everything, and the number of the next batch.
        is_patient: other queries go first.
        fault: why the last batch was given up, for whoever keeps the query.
    """

    query: str
    checkpoint: Checkpoint
    write: Writer
    prepare: Callable[[], None]
    find_place: Callable[[], tuple[dict[int, int], int]]
    devices: DeviceTable
    notebook: Notebook
    stop: threading.Event
    dead_letters: DeadLetters | None = None
    is_patient: bool = False
    fault: Exception | None = None

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Write a batch of decoded records.

        Raises:
            SinkFaultError: a Python module is missing; only that stops the query.
            StoppedError: the job is to stop.
        """
        try:
            self._handle(batch, batch_id)
        except Exception as error:
            # Spark would hand on no more than its text, within much of its own.
            self.fault = error
            raise

    def _handle(self, batch: DataFrame, number: int) -> None:
        batch_id = self.checkpoint.first_batch + number
        devices = self.devices.frame(batch.sparkSession)
        columns = [name for name in READING_COLUMNS if name != "batch_id"]
        readings = add_devices(batch, devices).select(*columns, *CONTROL_COLUMNS)
        outcome = self._write_until_done(readings, batch_id)
        if self.dead_letters is not None and outcome.rejected:
            self.dead_letters.send(batch, outcome.refused)
        outcome.batch_id = batch_id
        self.notebook.note(self.query, number, outcome)

    def _write_until_done(self, readings: DataFrame, batch_id: int) -> Outcome:
        stored_earlier = Outcome()
        waits = backoff()
        while True:
            outcome = self._write(readings, batch_id)
            outcome.continue_from(stored_earlier)
            if outcome.fault is None:
                return outcome
            stored_earlier = replace(outcome, fault=None)
            self._wait(SinkFaultError(outcome.fault), waits)

    def _write(self, readings: DataFrame, batch_id: int) -> Outcome:
        total = Outcome()
        task = PartitionTask(self.write, batch_id, self.is_patient)
        for row in readings.mapInArrow(task, OUTCOME_SCHEMA).collect():
            total.add(Outcome.from_json(row["outcome"]))
        return total

    def _wait(self, error: SinkFaultError, waits: Iterator[float]) -> None:
        """Return when the sink is ready again."""
        while True:
            if error.fault.kind == "missing_module":
                raise error
            seconds = next(waits)
            log.warning(
                "%s: %s. Trying again in %.0f s; nothing is lost, Kafka keeps the readings",
                self.query,
                error,
                seconds,
            )
            if self.stop.wait(seconds):
                raise StoppedError
            try:
                self.prepare()
            except SinkFaultError as next_error:
                error = next_error
            else:
                log.warning("%s: the sink answers again, going on", self.query)
                return


def backoff() -> Iterator[float]:
    """Yield ever longer waits, in seconds."""
    seconds = _FIRST_WAIT_SECONDS
    while True:
        yield seconds
        seconds = min(seconds * 2, _LONGEST_WAIT_SECONDS)


def _header(name: str, value: Column) -> Column:
    return F.struct(F.lit(name).alias("key"), value.cast("string").cast("binary").alias("value"))
