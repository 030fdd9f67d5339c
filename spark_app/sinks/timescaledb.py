"""Store readings in TimescaleDB, each once: by COPY, or where one was there before, by INSERT."""

import io
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from spark_app.histogram import Histogram
from spark_app.schema import CLOCK_METRICS, COMMITTED, READING_COLUMNS, STAGES
from spark_app.sinks.outcome import Fault, Outcome, SinkFaultError, require

PACKAGE = "psycopg2-binary"

_COLUMNS = ", ".join(READING_COLUMNS)
_STAGING = """
CREATE TEMPORARY TABLE staging ON COMMIT DELETE ROWS
AS SELECT * FROM sensor_data WITH NO DATA
"""
_COPY = f"COPY {{}} ({_COLUMNS}) FROM STDIN (FORMAT csv)"
_INSERT = f"""
INSERT INTO sensor_data ({_COLUMNS}) SELECT {_COLUMNS} FROM staging
ON CONFLICT (device_id, time, seq) DO NOTHING
RETURNING kafka_partition, kafka_offset
"""  # noqa: S608 - constants of this project only
# Rows that this batch put there, now or in an earlier run of it, are no duplicates.
_COUNT_OWN = """
SELECT count(*) FROM staging AS s INNER JOIN sensor_data AS d
    ON d.device_id = s.device_id AND d.time = s.time AND d.seq = s.seq
    AND d.kafka_partition = s.kafka_partition AND d.kafka_offset = s.kafka_offset
"""

# Where a job that lost its checkpoint begins. With the batch's first offset, since its dead letters
# are sent only after this.
_POSITION = """
INSERT INTO kafka_position (topic, partition, first_offset, next_offset, batch_id)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (topic, partition) DO UPDATE
SET first_offset = excluded.first_offset, next_offset = excluded.next_offset,
    batch_id = excluded.batch_id
"""
# For the ledger. A batch that runs again finds what it noted.
_NOTE = """
INSERT INTO ledger_note (device_id, hour, kind, readings, batch_id, kafka_partition)
VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_NOTE_DUPLICATES = """
INSERT INTO ledger_note (device_id, hour, kind, readings, batch_id, kafka_partition)
SELECT s.device_id, date_trunc('hour', s.time, 'UTC'), 'duplicate', count(*), s.batch_id,
    s.kafka_partition
FROM staging AS s INNER JOIN sensor_data AS d
    ON d.device_id = s.device_id AND d.time = s.time AND d.seq = s.seq
WHERE (d.kafka_partition, d.kafka_offset) <> (s.kafka_partition, s.kafka_offset)
GROUP BY s.device_id, date_trunc('hour', s.time, 'UTC'), s.batch_id, s.kafka_partition
ON CONFLICT DO NOTHING
"""

# Connections outlive a batch: a Python worker serves many.
_connections: dict[str, Any] = {}


Statement = tuple[str, tuple[object, ...]]


@dataclass(frozen=True)
class Database:
    """How to reach the database; `name` is what messages call it.

    Attributes:
        authority: file with the authorities that vouch for the server; empty: without TLS.
    """

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    authority: str = ""

    @property
    def name(self) -> str:
        """Return the database's name for people."""
        return f"TimescaleDB {self.host}:{self.port}/{self.database}"

    @property
    def tls(self) -> dict[str, str]:
        """Return the options that libpq and JDBC share for a server that has to prove itself."""
        if not self.authority:
            return {}
        return {"sslmode": "verify-full", "sslrootcert": self.authority}

    def dsn(self, application: str) -> str:
        """Return a libpq connection string; a dead peer is noticed within about 20 s."""
        make_dsn = require("psycopg2.extensions", PACKAGE).make_dsn
        return str(
            make_dsn(
                host=self.host,
                port=self.port,
                dbname=self.database,
                user=self.user,
                password=self.password,
                application_name=application,
                connect_timeout=5,
                keepalives_idle=5,
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=20_000,
                options="-c timezone=UTC",
                **self.tls,
            )
        )

    def connect(self, application: str) -> Any:  # noqa: ANN401 - psycopg2 may be missing
        """Open a connection.

        Raises:
            SinkFaultError: psycopg2 is missing, or the database does not let us in.
        """
        psycopg2 = require("psycopg2", PACKAGE)
        try:
            return psycopg2.connect(self.dsn(application))
        except psycopg2.Error as error:
            raise SinkFaultError(self.fault(error)) from error

    def fault(self, error: Exception) -> Fault:
        """Put a driver's error into one line."""
        return Fault("unavailable", f"{self.name}: {' '.join(str(error).split())}")


@dataclass(frozen=True)
class TimescaleWriter:
    """Writes a partition of readings (READING_COLUMNS and CONTROL_COLUMNS)."""

    database: Database
    late_after_seconds: float

    def __call__(self, table: pa.Table) -> Outcome:
        """Store the accepted rows in one transaction.

        Raises:
            SinkFaultError: psycopg2 is missing or the database cannot take the rows now.
        """
        readings = table.filter(pc.is_null(table["reason"]))
        besides = [
            *((_POSITION, position) for position in _positions(table)),
            *((_NOTE, note) for note in _rejected(table)),
        ]
        outcome = Outcome(
            rows_in=table.num_rows,
            rejected=table.num_rows - readings.num_rows,
            payload_bytes=pc.sum(table["payload_bytes"]).as_py(),
            committed_ns=time.time_ns(),
            spools=_spools(table),
        )
        if table.num_rows:
            self._store_with_retry(readings, besides, outcome)
        return outcome

    def restore(self, readings: pa.Table) -> Outcome:
        """Store readings that are not from Kafka now, and no place in it is noted.

        Raises:
            SinkFaultError: psycopg2 is missing or the database cannot take the rows now.
        """
        outcome = Outcome(rows_in=readings.num_rows)
        self._store_with_retry(readings, [], outcome)
        return outcome

    def _store_with_retry(
        self, readings: pa.Table, besides: list[Statement], outcome: Outcome
    ) -> None:
        psycopg2 = require("psycopg2", PACKAGE)
        kept = self.database.name in _connections
        try:
            self._store(readings, besides, outcome)
        except psycopg2.DataError:
            # Should not happen after validation; one row must not hold up all others.
            self._store_without_refused(readings, outcome)
            self._store(readings.slice(0, 0), besides, outcome)
        except psycopg2.Error as error:
            _close(self.database)
            # A kept connection may only have been older than the database's last restart.
            if not kept:
                raise SinkFaultError(self.database.fault(error)) from error
            self._store_with_retry(readings, besides, outcome)

    def _store_without_refused(self, readings: pa.Table, outcome: Outcome) -> None:
        """Halve until the rows that the database refuses are alone."""
        psycopg2 = require("psycopg2", PACKAGE)
        middle = readings.num_rows // 2
        for part in (readings.slice(0, middle), readings.slice(middle)):
            try:
                self._store(part, [], outcome)
            except psycopg2.DataError as error:
                if part.num_rows > 1:
                    self._store_without_refused(part, outcome)
                else:
                    _note_refused(part, error, outcome)

    def _store(self, readings: pa.Table, besides: list[Statement], outcome: Outcome) -> None:
        """Store readings, and do what goes into the same transaction."""
        connection = _connection(self.database)
        try:
            with connection.cursor() as cursor:
                is_new, own = _insert(cursor, readings)
                new = readings.filter(pa.array(is_new))
                late = new.filter(pa.array(self._is_late(new)))
                for statement, values in [*((_NOTE, note) for note in _late(late)), *besides]:
                    cursor.execute(statement, values)
            connection.commit()
        except Exception:
            # Closed: nothing to roll back.
            if not connection.closed:
                connection.rollback()
            raise
        outcome.committed_ns = time.time_ns()
        outcome.stored += own
        outcome.inserted += new.num_rows
        outcome.duplicate += readings.num_rows - own
        outcome.late += late.num_rows
        _measure(new, outcome)

    def _is_late(self, readings: pa.Table) -> npt.NDArray[np.bool_]:
        age = _micros(readings, "appended_at") - _micros(readings, "time")
        believed: npt.NDArray[np.bool_] = readings["clock_believed"].to_numpy()
        return (age > self.late_after_seconds * 1e6) & believed


def _insert(cursor: Any, readings: pa.Table) -> tuple[npt.NDArray[np.bool_], int]:  # noqa: ANN401
    """Insert what is new, at the beginning of a transaction.

    Returns:
        For each reading whether it is new, and how many readings are in the table by their own
        record, these and those of an earlier run.
    """
    text = _csv(readings)
    try:
        # Half the work of what follows; the key refuses all if one of them was stored before.
        cursor.copy_expert(_COPY.format("sensor_data"), text)
    except require("psycopg2.errors", PACKAGE).UniqueViolation:
        cursor.connection.rollback()
    else:
        return np.ones(readings.num_rows, dtype=np.bool_), readings.num_rows
    text.seek(0)
    cursor.copy_expert(_COPY.format("staging"), text)
    cursor.execute(_INSERT)
    inserted = np.array(cursor.fetchall(), dtype=np.int64).reshape(-1, 2)
    own = len(inserted)
    if own < readings.num_rows:
        cursor.execute(_COUNT_OWN)
        own = int(cursor.fetchone()[0])
        cursor.execute(_NOTE_DUPLICATES)
    return _is_in(readings, inserted), own


def _measure(new: pa.Table, outcome: Outcome) -> None:
    """Count the stages' latencies; a clock that is not believed spoils no figure."""
    believed = new["clock_believed"].to_numpy()
    times = {name: _micros(new, name) for name in ("time", "appended_at", "read_at")}
    times[COMMITTED] = np.full(new.num_rows, outcome.committed_ns // 1000)
    for stage in STAGES:
        latency = times[stage.end] - times[stage.start]
        counted = Histogram.of(latency[believed] if stage.start == "time" else latency)
        outcome.latencies.setdefault(stage.metric_name, Histogram()).add(counted)
    for gateway in pc.unique(new["gateway"].drop_null()):
        of_gateway = new.filter(pc.equal(new["gateway"], gateway))
        outcome.note_clocks(
            gateway.as_py(),
            {
                metric: Histogram.of(of_gateway[column].drop_null().to_numpy())
                for metric, column in CLOCK_METRICS.items()
            },
        )


def _connection(database: Database) -> Any:  # noqa: ANN401 - psycopg2 may be missing
    connection = _connections.get(database.name)
    if connection is None:
        connection = database.connect("streaming-job store")
        with connection.cursor() as cursor:
            cursor.execute(_STAGING)
        connection.commit()
        _connections[database.name] = connection
    return connection


def _close(database: Database) -> None:
    connection = _connections.pop(database.name, None)
    if connection is not None:
        connection.close()


def _csv(readings: pa.Table) -> io.BytesIO:
    columns = []
    for name in READING_COLUMNS:
        column = readings[name]
        if name == "quality_flags":
            # The flags are this project's own words: nothing in them needs quoting.
            column = pc.binary_join_element_wise(
                "{", pc.binary_join(column.cast(pa.list_(pa.string())), ","), "}", ""
            )
        columns.append(column)
    target = io.BytesIO()
    csv.write_csv(
        pa.table(columns, names=list(READING_COLUMNS)),
        target,
        csv.WriteOptions(include_header=False),
    )
    target.seek(0)
    return target


def _is_in(readings: pa.Table, inserted: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Say for each reading whether its partition and offset are among the inserted ones."""
    partitions = readings["kafka_partition"].to_numpy().astype(np.int64)
    offsets = readings["kafka_offset"].to_numpy()
    found = np.zeros(readings.num_rows, dtype=np.bool_)
    for partition in np.unique(partitions):
        here = partitions == partition
        found[here] = np.isin(offsets[here], inserted[inserted[:, 0] == partition, 1])
    return found


def _micros(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    values: npt.NDArray[np.int64] = table[name].cast(pa.int64()).to_numpy()
    return values


def _positions(records: pa.Table) -> list[tuple[object, ...]]:
    """Return values of _POSITION."""
    by_partition = records.group_by(["kafka_topic", "kafka_partition"])
    found = by_partition.aggregate(
        [("kafka_offset", "min"), ("kafka_offset", "max"), ("batch_id", "min")]
    )
    return [
        (
            row["kafka_topic"],
            row["kafka_partition"],
            row["kafka_offset_min"],
            row["kafka_offset_max"] + 1,
            row["batch_id_min"],
        )
        for row in found.sort_by("kafka_partition").to_pylist()
    ]


def _rejected(records: pa.Table) -> list[tuple[object, ...]]:
    """Return values of _NOTE for records that are no readings, of devices that are known."""
    refused = records.filter(pc.and_(pc.is_valid(records["reason"]), _has_device(records)))
    return _notes(refused, "rejected", "appended_at")


def _late(readings: pa.Table) -> list[tuple[object, ...]]:
    """Return values of _NOTE for late readings."""
    return _notes(readings, "late", "time")


def _has_device(records: pa.Table) -> pa.ChunkedArray:
    # A name that is too long, or has a NUL, is one of the reasons.
    return pc.less_equal(pc.fill_null(pc.binary_length(records["device_id"]), 1_000), 255)


def _notes(records: pa.Table, kind: str, time: str) -> list[tuple[object, ...]]:
    hours = pc.floor_temporal(records[time], unit="hour")
    keys = ["device_id", "hour", "batch_id", "kafka_partition"]
    groups = records.append_column("hour", hours).group_by(keys).aggregate([([], "count_all")])
    return [
        (row["device_id"], row["hour"], kind, row["count_all"], *(row[key] for key in keys[2:]))
        for row in groups.to_pylist()
    ]


def _spools(records: pa.Table) -> dict[str, tuple[int, int]]:
    """Return the state of each gateway's spool, as its newest record tells it."""
    known = records.select(["gateway", "spool_seq", "spool_waiting"]).drop_null()
    newest = known.sort_by("spool_seq").to_pylist()
    return {row["gateway"]: (row["spool_seq"], row["spool_waiting"]) for row in newest}


def _note_refused(row: pa.Table, error: Exception, outcome: Outcome) -> None:
    reason = "refused_by_database: " + " ".join(str(error).split())[:200]
    partition = row["kafka_partition"][0].as_py()
    offset = row["kafka_offset"][0].as_py()
    outcome.refused.append((partition, offset, reason))
    outcome.rejected += 1
