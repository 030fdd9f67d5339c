"""The streaming job's entry: `spark-submit spark_app/job.py`. Wiring only."""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import start_http_server
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from spark_app.batches import BatchHandler, DeadLetters
from spark_app.checkpoint import CHECKPOINT_FILES, Checkpoint
from spark_app.decode import decode
from spark_app.devices import DeviceTable
from spark_app.executors import PATIENCE_SECONDS, ExecutorWatch, count_executors
from spark_app.keeper import Handler, Modules, QueryKeeper, is_alive
from spark_app.metrics import QUERY_UP, Ledger, count_anomalies, follow_figures
from spark_app.positions import KAFKA_MODULE, kafka_ends, of_database, starting_offsets
from spark_app.realtime import RealTimeStore
from spark_app.settings import PREFIX, JobSettings
from spark_app.sinks.anomalies import AnomalySink
from spark_app.sinks.archive import ArchiveWriter
from spark_app.sinks.archived import next_offsets
from spark_app.sinks.outcome import Fault, SinkFaultError, require
from spark_app.sinks.timescaledb import Database, TimescaleWriter
from spark_app.stores import database_of, kafka_of, objects_of
from spark_app.transforms import enrich
from telemetry.settings import SettingsError, load

if TYPE_CHECKING:
    from spark_app.detect import Detect

STORE_MODULES = (
    ("psycopg2", "psycopg2-binary"),
    ("pyarrow", "pyarrow"),
    ("numpy", "numpy"),
    KAFKA_MODULE,
)
MIGRATION_MODULES = (("yoyo", "yoyo-migrations"),)
ARCHIVE_MODULES = (("boto3", "boto3"), ("pyarrow", "pyarrow"), KAFKA_MODULE)

_STOP_SECONDS = 20.0
_NICENESS = 15

log = logging.getLogger("job")


def main() -> int:
    """Run until SIGTERM or until Spark is gone; the exit status is then 0 or 1."""
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    log.setLevel(logging.INFO)
    try:
        settings = load(JobSettings, PREFIX)
    except SettingsError as error:
        log.critical("%s", error)
        return 2
    stop = threading.Event()
    if settings.store_mode == "real-time":
        _let_others_go_first()
    spark = _session(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    start_http_server(settings.metrics_port, settings.metrics_address)
    keepers = _keepers(spark, settings, stop)
    for keeper in keepers:
        keeper.start()
    executors = ExecutorWatch(partial(count_executors, spark))
    while not stop.wait(1):
        if not is_alive(spark):
            log.critical(
                "Spark is gone (its log says why); ending, so that systemd starts us again"
            )
            # The way out would talk to Spark.
            os._exit(1)
        if executors.is_hopeless():
            log.critical(
                "Spark has given us no executor for %.0f s (is spark-worker up?); ending, so that "
                "systemd starts us again. Nothing is lost, Kafka keeps the readings",
                PATIENCE_SECONDS,
            )
            os._exit(1)
    for keeper in keepers:
        keeper.join(_STOP_SECONDS)
    spark.stop()
    return 0


def _let_others_go_first() -> None:
    """Have the driver's JVM and this process, which only plan and judge, yield to what stores.

    Where the kernel shares processors among sessions, the niceness of a process counts only within
    its own. Elsewhere the unit's CPUWeight says it.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(_NICENESS), encoding="ascii")


def _session(settings: JobSettings) -> SparkSession:
    builder = (
        SparkSession.builder.appName("streaming-job")
        .config("spark.sql.session.timeZone", "UTC")
        # A long batch of one query leaves task slots to the others.
        .config("spark.scheduler.mode", "FAIR")
        .config(*CHECKPOINT_FILES)
        # So much goes to Python at a time, and a patient task rests after each; a TCP socket would
        # hold a batch as a whole.
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", 1000)
        .config("spark.python.unix.domain.socket.enabled", "true")
    )
    if settings.store_mode == "real-time":
        # A task that Spark starts again reads its whole batch; a query, what is not stored yet.
        builder = builder.config("spark.task.maxFailures", 1)
    spark: SparkSession = builder.getOrCreate()
    # At INFO each batch writes some hundred lines, which costs time as well.
    spark.sparkContext.setLogLevel("WARN")
    return spark


def _keepers(
    spark: SparkSession, settings: JobSettings, stop: threading.Event
) -> list[QueryKeeper]:
    database, objects = database_of(settings), objects_of(settings)
    checkpoints = Path(settings.checkpoint_dir)
    checkpoints.mkdir(parents=True, exist_ok=True)
    devices = DeviceTable(
        partial(database.connect, "streaming-job devices"),
        checkpoints / "devices.json",
        settings.device_refresh_seconds,
    )
    ledger = Ledger(partial(database.connect, "streaming-job metrics"))
    spark.streams.addListener(ledger)
    threading.Thread(target=ledger.write_forever, daemon=True).start()
    threading.Thread(target=devices.refresh_forever, daemon=True).start()
    topic = settings.raw_topic
    store = _store(settings, database, devices, ledger, stop)
    archive = BatchHandler(
        "archive",
        Checkpoint(checkpoints / "archive"),
        ArchiveWriter(objects),
        objects.ensure_bucket,
        lambda: (next_offsets(objects, topic), 0),
        devices,
        ledger,
        stop,
        # With micro-batches the same Python processes also store.
        is_patient=settings.store_mode == "real-time",
    )
    if isinstance(store, RealTimeStore):
        start_store = partial(store.start, spark, partial(_records, spark, settings))
        figures = partial(follow_figures, partial(database.connect, "streaming-job figures"))
        threading.Thread(target=figures, daemon=True).start()
    else:
        pace = settings.store_trigger, settings.max_offsets_per_trigger
        start_store = partial(_start, spark, settings, store, *pace)
    pace = settings.archive_trigger, settings.archive_max_offsets_per_trigger
    start_archive = partial(_start, spark, settings, archive, *pace)
    queries: list[tuple[Callable[[], StreamingQuery], Handler, Modules]] = [
        (start_store, store, STORE_MODULES),
        (start_archive, archive, ARCHIVE_MODULES),
    ]
    store_runs = threading.Event()
    if settings.detect:
        detect = _detect(settings, database, ledger, stop, store_runs)
        start_detect = partial(detect.start, partial(_records, spark, settings))
        # In this process, which needs no looking for modules.
        queries.append((start_detect, detect, ()))

    def report(query: str, up: int) -> None:
        QUERY_UP.labels(query).set(up)
        if query == store.query and up:
            store_runs.set()

    return [
        QueryKeeper(start, handler, spark, modules, partial(report, handler.query))
        for start, handler, modules in queries
    ]


def _detect(
    settings: JobSettings,
    database: Database,
    ledger: Ledger,
    stop: threading.Event,
    store_runs: threading.Event,
) -> "Detect":
    # Needs pandas, which takes memory: only where it is wanted.
    from spark_app.detect import Detect  # noqa: PLC0415

    sink = AnomalySink(database, kafka_of(settings), settings.anomaly_topic)
    folder = Path(settings.checkpoint_dir) / "detect"

    def prepare() -> None:
        # What is stored comes first, at a start as well; then the tables are there, too.
        while not (stop.is_set() or store_runs.wait(1)):
            pass

    detect = Detect(settings, folder, sink, prepare, count_anomalies, stop)
    ledger.on_idle = detect.pass_time
    return detect


def _store(
    settings: JobSettings,
    database: Database,
    devices: DeviceTable,
    ledger: Ledger,
    stop: threading.Event,
) -> BatchHandler | RealTimeStore:
    checkpoints = Path(settings.checkpoint_dir)
    prepare = partial(_migrate, database)
    connect = partial(database.connect, "streaming-job positions")
    find_place = partial(of_database, connect, settings.raw_topic)
    if settings.store_mode == "real-time":
        return RealTimeStore(settings, database, checkpoints, prepare, find_place, stop)
    return BatchHandler(
        "store",
        Checkpoint(checkpoints / "store"),
        TimescaleWriter(database, settings.late_after_seconds),
        prepare,
        find_place,
        devices,
        ledger,
        stop,
        DeadLetters(kafka_of(settings), settings.dead_letter_topic),
    )


def _start(
    spark: SparkSession,
    settings: JobSettings,
    handler: BatchHandler,
    trigger: str,
    most_records: int,
) -> StreamingQuery:
    starting = "earliest"
    if handler.checkpoint.is_new:
        stored, first_batch = handler.find_place()
        ends = kafka_ends(kafka_of(settings), settings.raw_topic)
        starting = starting_offsets(ends, settings.raw_topic, stored)
        handler.checkpoint.begin(first_batch)
    # No minPartitions: a Kafka partition of a batch is one task, and one archive object.
    limit = {"maxOffsetsPerTrigger": str(most_records)}
    return (
        _records(spark, settings, handler.query, starting, limit)
        .writeStream.queryName(handler.query)
        .foreachBatch(handler)
        .option("checkpointLocation", handler.checkpoint.address)
        .trigger(processingTime=trigger)
        .start()
    )


def _records(
    spark: SparkSession,
    settings: JobSettings,
    query: str,
    starting: str,
    more: Mapping[str, str] | None = None,
) -> DataFrame:
    """Return the decoded and enriched records of the raw topic, for one query."""
    # A pool of its own: the thread that starts a query passes this on to it.
    spark.sparkContext.setLocalProperty("spark.scheduler.pool", query)
    records = (
        spark.readStream.format("kafka")
        .options(**{f"kafka.{name}": value for name, value in kafka_of(settings).java().items()})
        .option("kafka.request.timeout.ms", 10_000)
        .option("kafka.default.api.timeout.ms", 15_000)
        # Else a task waits two minutes for records that a broker without power has lost.
        .option("kafkaConsumer.pollTimeoutMs", 20_000)
        .option("subscribe", settings.raw_topic)
        .option("startingOffsets", starting)
        .option("failOnDataLoss", "true")
        .option("includeHeaders", "true")
        .options(**(more or {}))
        .load()
    )
    return enrich(decode(records, timedelta(seconds=settings.future_tolerance_seconds)))


def _migrate(database: Database) -> None:
    """Apply what migrations are missing.

    Raises:
        SinkFaultError: a module is missing, the database cannot be reached or not be migrated.
    """
    for module, package in (STORE_MODULES[0], *MIGRATION_MODULES):
        require(module, package)
    psycopg2 = require("psycopg2", STORE_MODULES[0][1])
    migrate = require("sql.migrate", MIGRATION_MODULES[0][1])
    try:
        for name in migrate.migrate(database.dsn("streaming-job migrations")):
            log.info("migration %s applied to %s", name, database.name)
    except psycopg2.Error as error:
        raise SinkFaultError(database.fault(error)) from error
    except migrate.MigrationError as error:
        raise SinkFaultError(Fault("unavailable", f"{database.name}: {error}")) from error


if __name__ == "__main__":
    sys.exit(main())
