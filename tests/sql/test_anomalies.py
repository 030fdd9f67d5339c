"""Anomalies in the database: each once, by thresholds that people set, beside those of a room."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import psycopg2
import pytest
from psycopg2.extensions import parse_dsn
from readings import ask

from spark_app.anomalies.fleet import COLUMNS
from spark_app.sinks.anomalies import AnomalySink
from spark_app.sinks.outcome import Fault, SinkFaultError
from spark_app.sinks.timescaledb import Database

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


class Sink(AnomalySink):
    """Without Kafka: keeps what it would send, or refuses."""

    def __init__(self, dsn: str) -> None:
        where = parse_dsn(dsn)
        super().__init__(
            Database(
                where["host"], int(where.get("port", 5432)),
                *(where[k] for k in ("dbname", "user", "password")),
            ),
            "", "",
        )  # fmt: skip
        self.sent: list[tuple[str, str]] = []
        self.refuses = False

    def _send(self, messages: list[tuple[str, str]]) -> None:
        if self.refuses:
            raise SinkFaultError(Fault("unavailable", "no Kafka"))
        self.sent += messages


@pytest.fixture
def connection(dsn: str) -> Iterator[Any]:
    """A connection to a migrated database with two rooms of devices."""
    made = psycopg2.connect(dsn, options="-c timezone=UTC")
    made.autocommit = True
    with made.cursor() as cursor:
        cursor.execute(
            "INSERT INTO devices (device_id, site, room, model) VALUES ('a', 's', 'r1', 'SHT45'), "
            "('b', 's', 'r1', 'DHT22'), ('c', 's', 'r1', 'SHT45'), ('d', 's', 'r2', 'SHT45')"
        )
    yield made
    made.close()


@pytest.fixture
def sink(dsn: str) -> Sink:
    return Sink(dsn)


def anomaly(device: str = "a", kind: str = "outlier", score: float = 1.0, **other: Any) -> Any:
    row = {
        "time": NOON, "device_id": device, "gateway": "gw1", "quantity": "temperature",
        "kind": kind, "value": 30.5, "expected_low": 20.0, "expected_high": 22.0, "score": score,
        "detector_version": 2,
    }  # fmt: skip
    return pd.DataFrame([{**row, **other}], columns=list(COLUMNS))


def stored(connection: Any) -> list[Any]:
    return ask(connection, "SELECT device_id, kind, score FROM anomalies ORDER BY 1, 2, time")


def test_what_is_told_again_changes_nothing(connection: Any, sink: Sink) -> None:
    both = pd.concat([anomaly(), anomaly("b", gateway="", value=float("nan"))])
    assert sink.deliver(both) == {"outlier": 2}
    assert sink.deliver(both) == {}
    assert sink.deliver(pd.concat([both, anomaly(kind="stuck")])) == {"stuck": 1}
    assert stored(connection) == [("a", "outlier", 1.0), ("a", "stuck", 1.0), ("b", "outlier", 1.0)]
    assert [device for device, _ in sink.sent] == ["a", "b", "a"]
    assert ask(connection, "SELECT time, gateway FROM anomalies WHERE kind = 'stuck'") == [
        (NOON, "gw1")
    ]
    assert ask(connection, "SELECT gateway, value FROM anomalies WHERE device_id = 'b'") == [
        (None, None)
    ]


def test_message_says_what_and_where(connection: Any, sink: Sink) -> None:
    sink.deliver(anomaly())
    (message,) = ask(connection, "SELECT %s::jsonb", sink.sent[0][1])[0]
    assert message == {
        "time": "2026-03-01T12:00:00.123456+00:00", "device_id": "a", "gateway": "gw1",
        "quantity": "temperature", "kind": "outlier", "value": 30.5, "expected_low": 20,
        "expected_high": 22, "score": 1, "detector_version": 2, "site": "s", "room": "r1",
    }  # fmt: skip


def test_what_kafka_does_not_take_is_not_stored_either(connection: Any, sink: Sink) -> None:
    sink.refuses = True
    with pytest.raises(SinkFaultError):
        sink.deliver(anomaly())
    assert stored(connection) == []
    sink.refuses = False
    assert sink.deliver(anomaly()) == {"outlier": 1}


def test_a_lost_connection_is_a_fault_and_the_next_try_works(connection: Any, sink: Sink) -> None:
    sink.deliver(anomaly())
    ask(
        connection,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'streaming-job anomalies' AND datname = current_database()",
    )
    with pytest.raises(SinkFaultError):
        sink.deliver(anomaly("b"))
    assert sink.deliver(anomaly("b")) == {"outlier": 1}


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ({"device_id": "a"}, {"b", "d"}),
        ({"room": "r1"}, {"d"}),
        ({"model": "SHT45"}, {"b"}),
        ({"kind": "outlier"}, set()),
        ({"kind": "stuck"}, {"a", "b", "d"}),
        ({"quantity": "humidity"}, {"a", "b", "d"}),
        ({"room": "r1", "model": "SHT45", "kind": "outlier"}, {"b", "d"}),
    ],
    ids=str,
)
def test_threshold_of_device_room_and_model(
    connection: Any, sink: Sink, where: dict[str, str], kept: set[str]
) -> None:
    # A running query sees it at its next anomaly: nothing is kept of it.
    sink.deliver(anomaly(time=NOON - timedelta(days=1)))
    columns = ", ".join(where)
    values = ", ".join(["%s"] * len(where))
    ask(
        connection,
        f"INSERT INTO anomaly_threshold ({columns}, factor) VALUES ({values}, 3) RETURNING 1",  # noqa: S608
        *where.values(),
    )
    for device in "abd":
        sink.deliver(anomaly(device, score=2.9))
    found = ask(connection, "SELECT DISTINCT device_id FROM anomalies WHERE time = %s", NOON)
    assert {device for (device,) in found} == kept
    for device in "abd":
        sink.deliver(anomaly(device, score=3.1, time=NOON + timedelta(days=1)))
    later = "SELECT count(*) FROM anomalies WHERE time > %s"
    assert ask(connection, later, NOON) == [(3,)]


def test_weak_ones_count_only_where_the_threshold_is_low(connection: Any, sink: Sink) -> None:
    ask(
        connection,
        "INSERT INTO anomaly_threshold (device_id, factor) VALUES ('b', 0.6) RETURNING 1",
    )
    sink.deliver(pd.concat([anomaly("a", score=0.7), anomaly("b", score=0.7)]))
    assert stored(connection) == [("b", "outlier", 0.7)]


def test_false_alarm_raises_the_devices_threshold_of_its_kind(connection: Any, sink: Sink) -> None:
    sink.deliver(anomaly(score=2.0))
    mark = "SELECT mark_false_alarm('a', 'temperature', 'outlier', %s)"
    assert ask(connection, mark, NOON) == [(pytest.approx(2.2),)]
    assert ask(connection, mark, NOON + timedelta(days=1)) == [(None,)], "there is none"
    assert ask(connection, "SELECT verdict FROM anomalies") == [("false_alarm",)]
    next_day = {"time": NOON + timedelta(days=1)}
    assert sink.deliver(anomaly(score=2.1, **next_day)) == {}
    assert sink.deliver(anomaly(score=2.3, **next_day)) == {"outlier": 1}
    assert sink.deliver(anomaly(kind="stuck", **next_day)) == {"stuck": 1}
    assert sink.deliver(anomaly("b", **next_day)) == {"outlier": 1}


def test_neighbours_that_deviate_too(connection: Any, sink: Sink) -> None:
    soon = {"time": NOON + timedelta(minutes=9)}
    for row in (
        anomaly(kind="level_shift"),
        anomaly("b", kind="level_shift", **soon),
        anomaly("c", kind="level_shift", quantity="humidity"),
        anomaly("d", kind="level_shift"),
    ):
        sink.deliver(row)
    found = ask(
        connection,
        "SELECT device_id, room, neighbours, agreeing FROM anomalies_in_rooms ORDER BY 1",
    )
    assert found == [("a", "r1", 2, 1), ("b", "r1", 2, 1), ("c", "r1", 2, 0), ("d", "r2", 0, 0)]
