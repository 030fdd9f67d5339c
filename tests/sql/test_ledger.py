"""The ledger, from what the streaming job's own writer stores."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.extensions import parse_dsn
from readings import ask

from spark_app.schema import CONTROL_COLUMNS, READING_COLUMNS
from spark_app.sinks import timescaledb
from spark_app.sinks.timescaledb import Database, TimescaleWriter
from sql.ledger import update_ledger
from sql.rollups import refresh_readings

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TIMES = ("time", "sensor_ts", "received_at", "appended_at", "read_at")
TYPES: dict[str, pa.DataType] = {
    **dict.fromkeys(TIMES, pa.timestamp("us", "UTC")),
    **dict.fromkeys(("seq", "batch_id", "kafka_offset", "spool_seq"), pa.int64()),
    **dict.fromkeys(("clock_offset_us", "clock_error_us", "spool_waiting"), pa.int64()),
    **dict.fromkeys(("kafka_partition", "payload_bytes"), pa.int32()),
    **dict.fromkeys(("clock_believed", "resent"), pa.bool_()),
    **dict.fromkeys(("temperature", "humidity", "dew_point", "absolute_humidity"), pa.float64()),
    "quality_flags": pa.list_(pa.string()),
}


class Store:
    """The job's writer, and the ledger behind it."""

    def __init__(self, dsn: str) -> None:
        where = parse_dsn(dsn)
        database = Database(
            where["host"], int(where.get("port", 5432)), *(where[k] for k in ("dbname", "user")),
            where["password"],
        )  # fmt: skip
        # Databases come and go under other names on the same address.
        timescaledb._connections.clear()  # noqa: SLF001
        self.write = TimescaleWriter(database, late_after_seconds=600)
        self.connection = psycopg2.connect(dsn, options="-c timezone=UTC")
        self.offset = 0
        self.batch = 0

    def batch_of(self, rows: Sequence[dict[str, Any]]) -> pa.Table:
        """Make a batch of the job, with the next offsets."""
        named = []
        for row in rows:
            named.append(
                dict.fromkeys([*READING_COLUMNS, *CONTROL_COLUMNS])
                | {"device_id": "a", "time": NOON, "appended_at": row.get("time", NOON)}
                | {"read_at": NOON, "seq": -1, "measurements": "{}", "quality_flags": []}
                | {"kafka_topic": "sensor.raw", "kafka_partition": 0, "payload_bytes": 9}
                | {"clock_believed": True, "resent": False, "batch_id": self.batch}
                | {"kafka_offset": self.offset}
                | row
            )
            self.offset += 1
        self.batch += 1
        columns = [*READING_COLUMNS, *CONTROL_COLUMNS]
        return pa.table(
            {
                name: pa.array([row[name] for row in named], TYPES.get(name, pa.string()))
                for name in columns
            }
        )

    def store(self, *rows: dict[str, Any]) -> None:
        assert self.write(self.batch_of(rows)).fault is None

    def numbers(self, *seqs: int, start: datetime = NOON, device: str = "a") -> None:
        """Store readings that come in this order, each a second after the one before."""
        self.store(
            *(
                {"device_id": device, "seq": seq, "time": start + position * SECOND}
                for position, seq in enumerate(seqs)
            )
        )

    def gaps(self) -> list[tuple[Any, ...]]:
        update_ledger(self.connection)
        return ask(
            self.connection,
            "SELECT life, first_seq, last_seq, closed_at IS NOT NULL FROM ledger_gap "
            "ORDER BY life, first_seq",
        )


@pytest.fixture
def store(dsn: str) -> Iterator[Store]:
    made = Store(dsn)
    yield made
    made.connection.close()
    timescaledb._close(made.write.database)  # noqa: SLF001


def test_gaps_open_and_close_as_ranges(store: Store) -> None:
    store.numbers(0, 1, 5, 6, 9)
    assert store.gaps() == [(0, 2, 4, False), (0, 7, 8, False)]
    assert store.gaps() == [(0, 2, 4, False), (0, 7, 8, False)], "nothing is new"
    store.numbers(3, start=NOON + 20 * SECOND)  # late, and stamped by the gateway
    assert store.gaps() == [(0, 2, 2, False), (0, 3, 3, True), (0, 4, 4, False), (0, 7, 8, False)]
    store.numbers(2, 4, 7, 8, 10, start=NOON + 30 * SECOND)
    assert [gap[3] for gap in store.gaps()] == [True] * 4
    assert len(store.gaps()) == 4


def test_a_counter_that_begins_anew_is_a_new_life(store: Store) -> None:
    store.numbers(100, 101, 102)
    store.numbers(0, 1, 4, start=NOON + 60 * SECOND)
    assert store.gaps() == [(1, 2, 3, False)]
    store.numbers(103, start=NOON + 3 * SECOND)  # late, of the first life
    store.numbers(0, 1, start=NOON + 120 * SECOND)
    assert store.gaps() == [(1, 2, 3, False)]
    lives = ask(store.connection, "SELECT life, seen::text FROM device_life ORDER BY 1")
    assert lives == [(0, "{[100,104)}"), (1, "{[0,2),[4,5)}"), (2, "{[0,2)}")]


def test_the_ledger_counts_by_device_and_hour(store: Store) -> None:
    hour = timedelta(hours=1)
    store.store(
        *({"seq": seq, "time": NOON + seq * SECOND} for seq in (0, 1, 4)),
        {"seq": 1, "time": NOON + SECOND},  # a copy in the same batch
        {"seq": 5, "time": NOON + hour, "appended_at": NOON + 2 * hour},
        {"time": NOON, "reason": "not_json"},
        {"device_id": "x" * 300, "time": NOON, "reason": "name_too_long"},
        {"device_id": None, "time": NOON, "reason": "topic_malformed"},
    )
    store.store({"seq": 0, "time": NOON}, {"seq": 0, "time": NOON + SECOND * 0})
    store.store({"time": NOON, "reason": "empty"})  # a batch without any reading
    store.gaps()
    refresh_readings(store.connection)
    rows = ask(
        store.connection,
        "SELECT hour, expected, seen, duplicate, late, rejected, missing FROM ledger ORDER BY hour",
    )
    assert rows == [(NOON, 5, 3, 3, 0, 2, 2), (NOON + hour, 1, 1, 0, 1, 0, 0)]


def test_a_batch_that_runs_again_counts_once(store: Store) -> None:
    table = store.batch_of([{"seq": 0}, {"seq": 0}, {"reason": "empty"}])
    store.write(table)
    store.write(table)
    notes = ask(store.connection, "SELECT kind, readings FROM ledger_note ORDER BY 1")
    assert notes == [("duplicate", 1), ("rejected", 1)]


def test_a_log_that_went_back_is_read_again(store: Store) -> None:
    store.numbers(0, 1, 2, 3)
    assert store.gaps() == []
    store.offset = 2  # Kafka lost its end; other readings got these offsets
    store.numbers(7, start=NOON + 60 * SECOND)
    assert store.gaps() == [(0, 4, 6, False)]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=10), min_size=1, max_size=6))
def test_gaps_are_what_never_came(store: Store, batches: list[list[int]]) -> None:
    device = f"d{store.batch}"
    came: set[int] = set()
    for batch in batches:
        # Each number once, at its own time: no restart, whatever the order of arrival.
        fresh = [seq for seq in dict.fromkeys(batch) if seq not in came]
        came.update(fresh)
        if fresh:
            store.store(
                *({"device_id": device, "seq": seq, "time": NOON + seq * SECOND} for seq in fresh)
            )
            update_ledger(store.connection)
    rows = ask(
        store.connection,
        "SELECT first_seq, last_seq FROM ledger_gap WHERE device_id = %s AND closed_at IS NULL",
        device,
    )
    missing = {seq for low, high in rows for seq in range(low, high + 1)}
    assert missing == set(range(min(came), max(came) + 1)) - came
