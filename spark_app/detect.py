"""The query *detect* as the job runs it: where it begins, and where its anomalies go.

Batches are judged in the driver's own Python process, by one Fleet. What it has learnt, with the
places in Kafka up to which it has, is one file that is written now and then; each start takes both
from there, with a Spark checkpoint that is new. What is read again tells the same, and the table
has each anomaly once.
"""

import logging
import math
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the customary name
from pyspark.sql.streaming.query import StreamingQuery

from spark_app.anomalies.fleet import READING_COLUMNS, Fleet
from spark_app.batches import StoppedError, backoff
from spark_app.checkpoint import Checkpoint
from spark_app.positions import kafka_ends, starting_offsets
from spark_app.settings import JobSettings
from spark_app.sinks.anomalies import AnomalySink
from spark_app.sinks.outcome import SinkFaultError
from spark_app.stores import kafka_of

QUERY = "detect"

_SAVE_SECONDS = 300.0
# Nothing has to come for so long before devices can be silent by that: gateways may be on their way
# back. Then time passes from look to look; the time that the job is away is none.
_GRACE_SECONDS = 60.0
_LONGEST_STEP_SECONDS = 30.0

log = logging.getLogger("job.detect")


@dataclass
class Detect:
    """The query, and what its keeper needs; the counterpart of a BatchHandler.

    Attributes:
        folder: for the checkpoint and for what was learnt.
        prepare: returns when the query may start.
        note: told how many anomalies of each kind were new.
        fault: why the last batch was given up.
    """

    settings: JobSettings
    folder: Path
    sink: AnomalySink
    prepare: Callable[[], None]
    note: Callable[[Mapping[str, int]], None]
    stop: threading.Event
    clock: Callable[[], float] = time.monotonic
    query: str = QUERY
    fault: Exception | None = None
    _fleet: Fleet = field(default_factory=Fleet)
    # Of the batch that is under way, or of an idle moment.
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _run: str = ""
    _saved: float = 0.0
    _busy: float = 0.0
    _looked: float = 0.0

    @property
    def checkpoint(self) -> Checkpoint:
        """Return the query's; Spark's part of it lasts only as long as the query runs."""
        return Checkpoint(self.folder)

    @property
    def memory(self) -> Path:
        """Return the file with what was learnt."""
        return self.folder.with_name(f"{self.folder.name}.learnt")

    def start(self, records: Callable[[str, str, Mapping[str, str]], DataFrame]) -> StreamingQuery:
        """Start the query behind what was learnt.

        Args:
            records: from the query's name, Spark's option `startingOffsets` and further options of
                the source to decoded records.

        Raises:
            SinkFaultError: Kafka does not answer.
        """
        settings = self.settings
        ends = kafka_ends(kafka_of(settings), settings.raw_topic)
        self.begin()
        starting = starting_offsets(ends, settings.raw_topic, self._fleet.places)
        shutil.rmtree(self.folder, ignore_errors=True)
        limit = {"maxOffsetsPerTrigger": str(settings.detect_max_offsets_per_trigger)}
        query = (
            to_judge(records(self.query, starting, limit))
            .writeStream.queryName(self.query)
            .foreachBatch(self)
            .option("checkpointLocation", self.checkpoint.address)
            .trigger(processingTime=settings.detect_trigger)
            .start()
        )
        self._run = str(query.runId)
        return query

    def begin(self) -> None:
        """Go back to what the file says."""
        self._fleet = self._read()
        self._busy = self._looked = self.clock()
        # What nobody has learnt before may be a week of readings.
        self._saved = self._busy if self._fleet.places else -math.inf

    def __call__(self, batch: DataFrame, _number: int) -> None:
        """Judge a batch and deliver what it tells.

        Raises:
            StoppedError: the job is to stop.
        """
        try:
            self.judge(batch.toArrow().to_pandas())
        except Exception as error:
            # Spark would hand on no more than its text, within much of its own.
            self.fault = error
            raise

    def judge(self, readings: pd.DataFrame) -> None:
        """Judge readings, deliver what they tell, and sometimes write down what was learnt.

        Args:
            readings: as of `to_judge`.
        """
        with self._lock:
            self._deliver(self._fleet.observe(readings))
            ends = readings.groupby("kafka_partition")["kafka_offset"].max() + 1
            self._fleet.places |= {int(p): int(end) for p, end in ends.items()}
            self._busy = self._looked = self.clock()
            if self._busy - self._saved >= _SAVE_SECONDS:
                self._write()

    def pass_time(self, run: str) -> None:
        """Take note that this run of a query has read all that there is, and nothing comes."""
        with self._lock:
            now = self.clock()
            if run == self._run and now - self._busy >= _GRACE_SECONDS:
                step = min(now - self._looked, _LONGEST_STEP_SECONDS)
                self._deliver(self._fleet.pass_time(step))
            self._looked = now

    def _deliver(self, anomalies: pd.DataFrame) -> None:
        """Return when they are stored and sent, however long that takes."""
        waits = backoff()
        while not anomalies.empty:
            try:
                self.note(self.sink.deliver(anomalies))
            except SinkFaultError as error:
                seconds = next(waits)
                log.warning("detect: %s. Trying again in %.0f s", error, seconds)
                if self.stop.wait(seconds):
                    raise StoppedError from error
            else:
                return

    def _read(self) -> Fleet:
        try:
            return Fleet.from_bytes(self.memory.read_bytes())
        except FileNotFoundError:
            log.info("detect: nothing was learnt before; reading all that Kafka has")
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("detect: %s cannot be read (%s): learning anew", self.memory, error)
        return Fleet()

    def _write(self) -> None:
        part = self.memory.with_suffix(".part")
        part.write_bytes(self._fleet.to_bytes())
        part.replace(self.memory)
        self._saved = self.clock()


def to_judge(records: DataFrame) -> DataFrame:
    """Return of decoded and enriched records what `Detect.judge` takes; no refused ones."""
    return records.where(F.col("reason").isNull()).select(*READING_COLUMNS, "kafka_offset")
