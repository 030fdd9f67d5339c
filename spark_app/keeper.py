"""Keeps a streaming query running: starts it, says why it ended, starts it again."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from spark_app.batches import backoff
from spark_app.checkpoint import Checkpoint
from spark_app.sinks.outcome import Fault, SinkFaultError, require

MODULE_RETRY_SECONDS = 10.0
# A query that ran so long is started again without delay.
_WELL_AFTER_SECONDS = 60.0
# Parts of Spark's message where Kafka has dropped records, or its log ends before our place; the
# second is what executors say.
_DATA_LOSS = ("KAFKA_DATA_LOSS", "not available in Kafka any more")

log = logging.getLogger("job")

# Two threads at once in Spark's look at the call stack disturb each other before Python 3.14.
_probe_lock = threading.Lock()

Modules = Sequence[tuple[str, str]]


class Handler(Protocol):
    """What a query's keeper asks: see BatchHandler."""

    query: str
    stop: threading.Event
    fault: Exception | None

    @property
    def checkpoint(self) -> Checkpoint:
        """Return the query's checkpoint."""

    @property
    def prepare(self) -> Callable[[], None]:
        """Return the function that makes the sink ready."""


class QueryKeeper(threading.Thread):
    """One query, kept running until the job stops.

    Whatever ends it, its checkpoint holds the offsets: the next start goes on where it was.
    """

    def __init__(
        self,
        start_query: Callable[[], StreamingQuery],
        handler: Handler,
        spark: SparkSession,
        modules: Modules,
        report_up: Callable[[int], None],
    ) -> None:
        """Keep what is needed; `start()` begins.

        Args:
            start_query: starts the query from its checkpoint.
            handler: the query's, asked for its last fault.
            spark: to look on the executors for modules.
            modules: Python modules that executors need for the sink, each with the package that has
                it.
            report_up: told 1 when the query starts, 0 when it has ended.
        """
        super().__init__(name=f"keeper-{handler.query}", daemon=True)
        self._start_query = start_query
        self._handler = handler
        self._spark = spark
        self._modules = modules
        self._report_up = report_up

    def run(self) -> None:
        """Start the query again and again until the job stops or Spark is gone."""
        name, stop = self._handler.query, self._handler.stop
        self._report_up(0)
        waits = backoff()
        module_missing = False
        while not stop.is_set():
            began = time.monotonic()
            try:
                self._require_modules()
                self._handler.prepare()
                query = self._start_query()
                if module_missing:
                    log.warning("%s: the module is there, catching up", name)
                module_missing = False
                log.info("%s: running", name)
                self._report_up(1)
                if self._watch(query):
                    waits = backoff()
            except Exception as error:  # noqa: BLE001 - whatever it was, the query is to go on
                # If Spark itself is gone, the main thread sees it too, and ends the job.
                if stop.is_set() or not is_alive(self._spark):
                    return
                cause = self._handler.fault or error
                self._handler.fault = None
                missing = isinstance(cause, SinkFaultError) and cause.fault.kind == "missing_module"
                if not (missing and module_missing):
                    self._say(cause)
                if any(sign in f"{cause} {error}" for sign in _DATA_LOSS):
                    self._handler.checkpoint.set_aside()
                module_missing = missing
                if time.monotonic() - began > _WELL_AFTER_SECONDS:
                    waits = backoff()
                stop.wait(MODULE_RETRY_SECONDS if missing else next(waits))
            finally:
                self._report_up(0)

    def _watch(self, query: StreamingQuery) -> bool:
        """Wait for the query's end; say whether it had done something by then."""
        while not self._handler.stop.is_set():
            # Raises what ended the query.
            if query.awaitTermination(1):
                break
        else:
            query.stop()
        return query.lastProgress is not None

    def _require_modules(self) -> None:
        """Look for the modules here and on the executors.

        Raises:
            SinkFaultError: one is missing.
        """
        if not self._modules:
            return
        for module, package in self._modules:
            require(module, package)
        slots = self._spark.sparkContext.defaultParallelism
        probe = self._spark.sparkContext.parallelize(range(slots), slots)
        modules = self._modules
        with _probe_lock:
            faults = probe.map(lambda _: _missing(modules)).collect()
        for fault in faults:
            if fault is not None:
                raise SinkFaultError(fault)

    def _say(self, cause: Exception) -> None:
        name = self._handler.query
        if isinstance(cause, SinkFaultError) and cause.fault.kind == "missing_module":
            log.error(
                "%s is off: %s. Looking for it every %.0f s; the other queries go on, and "
                "nothing is lost, Kafka keeps the readings",
                name,
                cause,
                MODULE_RETRY_SECONDS,
            )
        else:
            log.error(
                "%s does not run: %s. Trying again; nothing is lost, it goes on where it was",
                name,
                explain(cause),
                # What nobody foresaw is shown in full.
                exc_info=None if isinstance(cause, (SinkFaultError, PySparkException)) else cause,
            )


def is_alive(spark: SparkSession) -> bool:
    """Say whether Spark can still be spoken to and runs."""
    try:
        return not spark.sparkContext._jsc.sc().isStopped()  # noqa: SLF001 - no public way
    except Exception:  # noqa: BLE001 - a dead JVM shows in several ways
        return False


def explain(error: Exception) -> str:
    """Put what ended a query into one line."""
    text = str(error)
    if isinstance(error, SinkFaultError):
        return text
    if isinstance(error, PySparkException):
        known = (
            ("UnknownTopicOrPartitionException", "Kafka does not have the topic (JOB_RAW_TOPIC)"),
            ("TimeoutException", "Kafka (JOB_KAFKA_BOOTSTRAP_SERVERS) does not answer"),
            ("No resolvable bootstrap urls", "JOB_KAFKA_BOOTSTRAP_SERVERS cannot be resolved"),
            *((sign, "Kafka does not have the records that are next") for sign in _DATA_LOSS),
        )
        for sign, meaning in known:
            if sign in text:
                return meaning
        # Of the real-time writer, within much of Spark's own.
        _, is_writer, rest = text.partition("cannot store: ")
        if is_writer:
            return f"TimescaleDB: {rest.splitlines()[0]}"[:500]
    # Of a Python traceback the last line says what it was; the JVM's own frames follow it.
    _, traceback, rest = text.partition("Traceback (most recent call last):")
    lines = [line.strip() for line in (rest or text).split("\n\n")[0].splitlines() if line.strip()]
    line = (lines or [""])[-1 if traceback else 0]
    return f"{type(error).__name__}: {line}"[:500]


def _missing(modules: Modules) -> Fault | None:
    try:
        for module, package in modules:
            require(module, package)
    except SinkFaultError as error:
        return error.fault
    return None
