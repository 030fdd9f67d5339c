"""The store query in Real-Time Mode: rows go to a writer in the JVM (jvm/) as they arrive.

Spark's checkpoint of such a query is worth little, since its batches are minutes long: each start
begins where the database says that the last transaction did, with a checkpoint that is new.
"""

import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the customary name
from pyspark.sql.streaming.query import StreamingQuery

from spark_app.checkpoint import Checkpoint
from spark_app.positions import kafka_ends, starting_offsets
from spark_app.settings import JobSettings
from spark_app.sinks.outcome import Fault, SinkFaultError
from spark_app.sinks.timescaledb import Database
from spark_app.stores import kafka_of

QUERY = "store"

_TIMES = ("time", "sensor_ts", "received_at", "appended_at", "read_at")
# In the order in which Reading.java takes them.
WRITER_COLUMNS = (
    "time",
    "device_id",
    "seq",
    "temperature",
    "humidity",
    "dew_point",
    "absolute_humidity",
    "measurements",
    "topic_site",
    "gateway",
    "quality_flags",
    "sensor_ts",
    "received_at",
    "appended_at",
    "read_at",
    "kafka_topic",
    "kafka_partition",
    "kafka_offset",
    "reason",
    "payload_bytes",
    "clock_believed",
    "clock_offset_us",
    "clock_error_us",
    "spool_seq",
    "spool_waiting",
    "value",
    "headers",
)

# Where Kafka's log ends before the place, its end was lost in a power cut: what is sent again gets
# the lost records' offsets, and is new to the store and to the ledger.
_TAKE_BACK = (
    """
    UPDATE kafka_position
    SET next_offset = %(end)s, first_offset = least(first_offset, %(end)s)
    WHERE topic = %(topic)s AND partition = %(partition)s AND next_offset > %(end)s
    """,
    """
    UPDATE ledger_progress SET done = %(end)s
    WHERE topic = %(topic)s AND partition = %(partition)s AND done > %(end)s
    """,
)


@dataclass
class RealTimeStore:
    """The query, and what its keeper needs; the counterpart of a BatchHandler.

    Attributes:
        checkpoints: folder of all queries' checkpoints.
        prepare: makes the sink ready, or raises SinkFaultError.
        find_place: as that of a BatchHandler.
        fault: None: what ends the query is in Spark's own error.
    """

    settings: JobSettings
    database: Database
    checkpoints: Path
    prepare: Callable[[], None]
    find_place: Callable[[], tuple[dict[int, int], int]]
    stop: threading.Event
    query: str = QUERY
    fault: Exception | None = None

    @property
    def checkpoint(self) -> Checkpoint:
        """Return the one of this mode."""
        return Checkpoint(self.checkpoints / "store-real-time")

    def start(
        self, spark: SparkSession, records: Callable[[str, str], DataFrame]
    ) -> StreamingQuery:
        """Start the query.

        Args:
            spark: with the jar of spark_app/jvm.
            records: from the query's name and Spark's option `startingOffsets` to decoded records.

        Raises:
            SinkFaultError: Kafka or the database does not answer, or there are too few task slots.
            RuntimeError: Spark does not have that jar.
        """
        topic = self.settings.raw_topic
        ends = kafka_ends(kafka_of(self.settings), topic)
        require_slots(spark.sparkContext.defaultParallelism, len(ends))
        stored, first_batch = self.find_place()
        connection = self.database.connect("streaming-job positions")
        try:
            take_back(connection, topic, ends)
        finally:
            connection.close()
        # The other mode's checkpoint would be out of date when it is wanted again.
        for folder in (self.checkpoint.folder, self.checkpoints / "store"):
            shutil.rmtree(folder, ignore_errors=True)
        # First the decoder, which says so if the jar is missing.
        rows = for_writer(records(self.query, starting_offsets(ends, topic, stored)))
        jvm: Any = spark._jvm  # noqa: SLF001
        writer = jvm.edge.telemetry.store.StoreWriter(self._writer_settings(), first_batch)
        stream = (
            rows.writeStream.queryName(self.query)
            .outputMode("update")
            .option("checkpointLocation", self.checkpoint.address)
            .trigger(realTime=self.settings.store_batch)  # type: ignore[call-overload]
        )
        # PySpark's own foreach would send each row to a Python process.
        return StreamingQuery(stream._jwrite.foreach(writer).start())  # noqa: SLF001

    def _writer_settings(self) -> dict[str, str]:
        database, settings = self.database, self.settings
        return {
            "url": f"jdbc:postgresql://{database.host}:{database.port}/{database.database}?"
            + urlencode(database.tls),
            "user": database.user,
            "password": database.password,
            **{f"kafka.{name}": value for name, value in kafka_of(settings).java().items()},
            "raw_topic": settings.raw_topic,
            "dead_letter_topic": settings.dead_letter_topic,
            "late_after_seconds": str(settings.late_after_seconds),
            "device_refresh_seconds": str(settings.device_refresh_seconds),
            "group_ms": str(settings.store_group_ms),
            "buffer_rows": str(settings.store_buffer_rows),
        }


def for_writer(readings: DataFrame) -> DataFrame:
    """Return decoded and enriched records as the writer takes them: times in µs, flags as text."""
    return (
        readings.withColumns({name: F.unix_micros(name) for name in _TIMES})
        .withColumn("quality_flags", F.array_join("quality_flags", ","))
        .select(*WRITER_COLUMNS)
    )


def require_slots(slots: int, partitions: int) -> None:
    """Check that a task per Kafka partition leaves room for the archive.

    Raises:
        SinkFaultError: there are too few task slots, or not all executors are there yet.
    """
    if slots < partitions + 1:
        text = (
            f"real-time mode holds a task slot for each of the {partitions} Kafka partitions, and "
            f"the archive needs one more; Spark has {slots}: raise spark_worker_cores and "
            "streaming_job_cores_max, or set JOB_STORE_MODE=micro-batch"
        )
        raise SinkFaultError(Fault("unavailable", text))


def take_back(connection: Any, topic: str, ends: Mapping[int, tuple[int, int]]) -> None:  # noqa: ANN401
    """Move the places in the database back to where Kafka's log ends now.

    Args:
        connection: of psycopg2.
        topic: its name.
        ends: for each partition the first and the next offset that Kafka has.
    """
    with connection, connection.cursor() as cursor:
        for partition, (_, end) in ends.items():
            for statement in _TAKE_BACK:
                cursor.execute(statement, {"topic": topic, "partition": partition, "end": end})
