"""The Kafka side: against librdkafka's own mock cluster, and a fake where errors cannot be forced.

`FakeProducer` answers each record with the error that the test has planned for its topic.
"""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from bridge_bench import DEAD, NOON, RAW, entry, read_all
from confluent_kafka import KafkaError, KafkaException
from prometheus_client import CollectorRegistry

from bridge import forwarder as forwarder_module
from bridge.forwarder import Forwarder
from bridge.metrics import Metrics
from bridge.relay import KEPT_OF_TOO_LARGE, Record, origin, to_record
from bridge.settings import Settings


@dataclass(frozen=True)
class Report:
    """Of a delivery report, what the forwarder reads."""

    end: int | None

    def topic(self) -> str:
        return RAW

    def partition(self) -> int:
        return 0

    def offset(self) -> int | None:
        return self.end


class FakeProducer:
    """Keeps what is produced until `poll` reports on it."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.configuration = configuration
        self.produced: list[tuple[str, bytes, dict[str, bytes]]] = []
        self.errors: dict[str, deque[KafkaError]] = {RAW: deque(), DEAD: deque()}
        self.full = 0
        self.offsets: deque[int | None] = deque()
        self._waiting: deque[tuple[str, Callable[..., None]]] = deque()

    def produce(
        self,
        topic: str,
        value: bytes,
        key: bytes,
        *,
        headers: list[tuple[str, bytes]],
        on_delivery: Callable[..., None],
    ) -> None:
        assert key
        if self.full:
            self.full -= 1
            raise BufferError
        if len(value) > self.configuration["message.max.bytes"]:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        self.produced.append((topic, value, dict(headers)))
        self._waiting.append((topic, on_delivery))

    def poll(self, _seconds: float) -> None:
        while self._waiting:
            topic, report = self._waiting.popleft()
            errors = self.errors[topic]
            end = self.offsets.popleft() if self.offsets else len(self.produced)
            report(errors.popleft() if errors else None, Report(end))

    def flush(self, _seconds: float) -> int:
        return len(self._waiting)


def record(payload: bytes, seq: int = 1) -> Record:
    return to_record(entry(payload, seq), origin("gw1", "spool"), 0, resent=False)


class Bench:
    """A forwarder with its fake producer, and what came of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(forwarder_module, "Producer", FakeProducer)
        self.failures: list[str] = []
        self.settled: list[int] = []
        self.taken_back = 0
        self.registry = CollectorRegistry()
        self.forwarder = Forwarder(
            Settings("m", "gw1", "k:9092"),
            Metrics(self.registry),
            self.failures.append,
            self._take_back,
        )
        producer: object = self.forwarder._producer  # noqa: SLF001
        assert isinstance(producer, FakeProducer)
        self.producer = producer

    def send(self, payload: bytes, number: int = 0) -> None:
        self.forwarder.send(lambda: record(payload), lambda: self.settled.append(number))

    def _take_back(self) -> None:
        self.taken_back += 1

    def count(self, name: str) -> float | None:
        return self.registry.get_sample_value(name)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_settled_only_by_the_delivery_report(bench: Bench) -> None:
    bench.send(b"{}")
    assert bench.settled == []
    bench.forwarder.serve(0)
    assert bench.settled == [0]
    assert bench.count("bridge_forwarded_total") == 1


def test_the_producer_is_idempotent_and_never_gives_up(bench: Bench) -> None:
    wanted = {"enable.idempotence": True, "acks": "all", "message.timeout.ms": 0}
    assert wanted.items() <= bench.producer.configuration.items()


@pytest.mark.parametrize("code", [KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE])
def test_what_kafka_finds_too_large_goes_cut_to_the_dead_letters(bench: Bench, code: int) -> None:
    bench.producer.errors[RAW].append(KafkaError(code))
    bench.send(b"x" * 2_000_000)
    bench.forwarder.serve(0)
    topic, value, headers = bench.producer.produced[-1]
    assert (topic, value) == (DEAD, b"x" * KEPT_OF_TOO_LARGE)
    assert headers["original_size"] == b"2000000"
    assert headers["reason"].startswith(b"kafka: ")
    assert headers["mqtt_topic"] == b"sensors/s/d/telemetry"
    bench.forwarder.serve(0)
    assert bench.settled == [0]
    assert bench.count("bridge_dead_letters_total") == 1
    assert bench.count("bridge_forwarded_total") == 0
    assert bench.failures == []


def test_what_the_producer_itself_finds_too_large_is_a_dead_letter_too(bench: Bench) -> None:
    bench.send(b"x" * 17_000_000)
    bench.forwarder.serve(0)
    assert [topic for topic, _, _ in bench.producer.produced] == [DEAD]
    assert bench.settled == [0]


def test_an_invalid_record_is_a_dead_letter_as_it_is(bench: Bench) -> None:
    bench.producer.errors[RAW].append(KafkaError(KafkaError.INVALID_RECORD))
    bench.send(b"x" * 100_000)
    bench.forwarder.serve(0)
    assert bench.producer.produced[-1][:2] == (DEAD, b"x" * 100_000)


@pytest.mark.parametrize(
    "code",
    [KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._UNKNOWN_TOPIC, KafkaError._FATAL],  # noqa: SLF001
)
def test_a_fault_of_the_set_up_ends_the_program_and_settles_nothing(
    bench: Bench, code: int
) -> None:
    bench.producer.errors[RAW].append(KafkaError(code))
    bench.send(b"{}")
    bench.forwarder.serve(0)
    assert bench.settled == []
    assert len(bench.failures) == 1
    assert "sensor.raw" in bench.failures[0]


def test_a_dead_letter_that_cannot_be_sent_ends_the_program(bench: Bench) -> None:
    bench.producer.errors[RAW].append(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
    bench.producer.errors[DEAD].append(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    bench.send(b"x")
    bench.forwarder.serve(0)
    bench.forwarder.serve(0)
    assert bench.settled == []
    assert "sensor.dead_letter" in bench.failures[0]


def test_a_producer_that_cannot_go_on_ends_the_program_in_order(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KafkaException(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, fatal=True))

    bench.send(b"{}")
    monkeypatch.setattr(FakeProducer, "poll", broken)
    monkeypatch.setattr(FakeProducer, "flush", broken)
    monkeypatch.setattr(FakeProducer, "__len__", lambda _: 1, raising=False)
    bench.forwarder.serve(0)
    assert bench.forwarder.drain(0) == 1
    assert bench.settled == []
    assert "cannot go on" in bench.failures[0]


def test_a_full_queue_is_waited_for(bench: Bench) -> None:
    bench.producer.full = 3
    bench.send(b"{}")
    assert bench.producer.full == 0
    bench.forwarder.serve(0)
    assert bench.settled == [0]


def test_a_full_queue_does_not_hold_up_the_end(bench: Bench) -> None:
    bench.forwarder.drain(0)
    bench.producer.full = 10**9
    bench.send(b"{}")
    assert bench.settled == []


@pytest.mark.parametrize(
    ("offsets", "taken_back"),
    [
        ([4, 5, 6], 0),
        ([4, 5, 5], 1),
        ([4, 5, 0, 1], 1),  # the log began anew, and goes on from there
        ([4, None, 5], 0),  # Kafka had it from an earlier try, and does not tell the offset
    ],
)
def test_a_log_that_ends_before_what_was_acknowledged_is_taken_back(
    bench: Bench, offsets: list[int | None], taken_back: int
) -> None:
    bench.producer.offsets.extend(offsets)
    for number in range(len(offsets)):
        bench.send(b"{}", number)
        bench.forwarder.serve(0)
    assert bench.taken_back == taken_back
    assert bench.settled == list(range(len(offsets)))


def test_a_connection_made_again_is_taken_back_once_it_stands(bench: Bench) -> None:
    tell = bench.producer.configuration["stats_cb"]

    def broker(state: str, disconnects: int) -> str:
        return json.dumps({"brokers": {"b": {"state": state, "disconnects": disconnects}}})

    heard = []
    for state, disconnects in [("UP", 0), ("UP", 0), ("DOWN", 1), ("UP", 1), ("UP", 1)]:
        tell(broker(state, disconnects))
        heard.append(bench.taken_back)
    assert heard == [0, 0, 0, 1, 1]


def test_records_arrive_in_kafka_as_they_are(cluster: str) -> None:
    failures: list[str] = []
    settled: list[int] = []
    forwarder = Forwarder(
        Settings("m", "gw1", cluster), Metrics(CollectorRegistry()), failures.append, pytest.fail
    )
    assert forwarder.check()
    payloads = [b"", b"\x00\xff", b'{"seq":1}', b"x" * 1_500_000]
    for number, payload in enumerate(payloads):
        settle: Callable[[], None] = partial(settled.append, number)
        forwarder.send(partial(record, payload, number), settle)
    assert forwarder.drain(10) == 0
    messages = read_all(cluster, RAW, len(payloads))
    assert [message.value() for message in messages] == payloads
    assert {message.key() for message in messages} == {b"d"}
    assert messages[2].headers() == [
        ("gateway", b"gw1"),
        ("spool_id", b"spool"),
        ("mqtt_topic", b"sensors/s/d/telemetry"),
        ("received_ns", b"%d" % NOON),
        ("clock_quality", b"unsynchronised"),
        ("spool_seq", b"2"),
        ("spool_waiting", b"0"),
    ]
    assert sorted(settled) == [0, 1, 2, 3]
    assert failures == []


def test_kafka_absent_settles_nothing_and_is_no_failure() -> None:
    failures: list[str] = []
    settled: list[int] = []
    forwarder = Forwarder(
        Settings("m", "gw1", "127.0.0.1:1"),
        Metrics(CollectorRegistry()),
        failures.append,
        pytest.fail,
    )
    forwarder.send(lambda: record(b"{}"), lambda: settled.append(1))
    assert not forwarder.check()
    assert forwarder.drain(0.5) == 1
    assert (settled, failures) == ([], [])


def test_a_missing_topic_is_no_readiness(cluster: str) -> None:
    settings = Settings("m", "gw1", cluster, kafka_dead_letter_topic="absent")
    metrics = Metrics(CollectorRegistry())
    assert not Forwarder(settings, metrics, pytest.fail, pytest.fail).check()
