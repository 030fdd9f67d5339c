"""The way out of the spool, into a Kafka that reports when the test says so."""

# ruff: noqa: SLF001

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest
from bridge_bench import NOON, SECOND, Gateway, arrival, settings, wait_for
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from prometheus_client import CollectorRegistry

from bridge.clock import Clock, Stamp, Tracking
from bridge.feeder import Feeder
from bridge.forwarder import Forwarder
from bridge.metrics import Metrics
from bridge.relay import Record
from bridge.spool import Spool


@dataclass
class Sent:
    """A record that was sent, and how to report that it arrived."""

    payload: bytes
    headers: dict[str, bytes]
    settle: Callable[[], None]

    @property
    def seq(self) -> int:
        return int(self.headers["spool_seq"])

    @property
    def resent(self) -> bool:
        return "resent" in self.headers


class Kafka:
    """In the forwarder's place."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def send(self, make: Callable[[], Record], settled: Callable[[], None]) -> None:
        record = make()
        self.sent.append(Sent(record.value, dict(record.headers), settled))


class Run:
    """A run of the bridge on a spool's folder, without its MQTT side."""

    def __init__(self, folder: Path, kafka: Kafka, gateway: Gateway | None = None) -> None:
        host = gateway or Gateway()
        options = settings(folder, replay_seconds=1, spool_max_age_seconds=1e9)
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        self.spool = Spool(options, metrics)
        self.clock = Clock(
            self.spool.last_received_ns,
            60,
            lambda: Tracking(synchronised=False),
            lambda: host.wall,
            lambda: host.uptime,
        )
        self.feeder = Feeder(options, self.spool, cast(Forwarder, kafka), self.clock, metrics)
        self._threads = [
            threading.Thread(target=self.feeder.run),
            threading.Thread(target=self.spool.run, args=[self.feeder.wake]),
        ]
        for thread in self._threads:
            thread.start()

    def put(self, payloads: list[bytes], stamp: Stamp | None = None) -> None:
        settled: list[bytes] = []
        stamp = stamp or Stamp(NOON, 100 * SECOND, "unsynchronised")
        for payload in payloads:
            self.spool.put([arrival(payload, stamp=stamp)], lambda: settled.append(b""))
        wait_for(lambda: len(settled) == len(payloads))

    def end(self) -> None:
        self.feeder.stop()
        self._threads[0].join(5)
        self.spool.close()
        self._threads[1].join(5)
        assert not any(thread.is_alive() for thread in self._threads)


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


@pytest.fixture
def run(tmp_path: Path, kafka: Kafka) -> Iterator[Run]:
    subject = Run(tmp_path, kafka)
    yield subject
    subject.end()


def numbers(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def test_messages_go_in_order_and_say_what_waits_behind_them(run: Run, kafka: Kafka) -> None:
    run.put(numbers(700))
    wait_for(lambda: len(kafka.sent) == 700)
    assert [sent.payload for sent in kafka.sent] == numbers(700)
    assert [sent.seq for sent in kafka.sent] == list(range(1, 701))
    assert not any(sent.resent for sent in kafka.sent)
    assert kafka.sent[-1].headers["spool_waiting"] == b"0"
    assert kafka.sent[0].headers["spool_id"] == run.spool.id.encode()


def test_kafka_has_what_is_before_the_first_gap(run: Run, kafka: Kafka) -> None:
    run.put(numbers(5))
    wait_for(lambda: len(kafka.sent) == 5)
    for position, forwarded in [(1, 0), (4, 0), (0, 2), (2, 3), (3, 5)]:
        kafka.sent[position].settle()
        run.feeder.collect()
        assert run.spool.forwarded_seq == forwarded
    assert run.spool.waiting == 0


def test_no_more_is_under_way_than_agreed(
    run: Run, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.feeder._MOST_UNDER_WAY", 10)
    run.put(numbers(50))
    wait_for(lambda: len(kafka.sent) == 10)
    kafka.sent[9].settle()  # out of order: makes no room
    run.feeder.collect()
    threading.Event().wait(0.7)
    assert len(kafka.sent) == 10
    for sent in kafka.sent[:9]:
        sent.settle()
    run.feeder.collect()
    wait_for(lambda: len(kafka.sent) == 20)


def test_what_kafka_took_back_is_sent_again_and_marked(run: Run, kafka: Kafka) -> None:
    run.put(numbers(3))
    wait_for(lambda: len(kafka.sent) == 3)
    for sent in kafka.sent[:2]:
        sent.settle()
    run.feeder.collect()
    run.feeder.replay()
    wait_for(lambda: len(kafka.sent) == 6)
    assert run.feeder.highest_sent == 3
    run.put([b"3"])
    wait_for(lambda: len(kafka.sent) == 7)
    assert [(sent.seq, sent.resent) for sent in kafka.sent[3:]] == [
        (1, True),
        (2, True),
        (3, True),
        (4, False),
    ]
    assert run.registry.get_sample_value("bridge_resent_total") == 3
    assert run.spool.forwarded_seq == 2, "sending again does not take back what was forwarded"


def test_the_next_run_sends_the_replay_window_again(tmp_path: Path, kafka: Kafka) -> None:
    first = Run(tmp_path, kafka)
    first.put(numbers(3))
    wait_for(lambda: len(kafka.sent) == 3)
    for sent in kafka.sent:
        sent.settle()
    first.feeder.collect()
    first.end()
    second = Run(tmp_path, kafka)
    second.put([b"3"])
    wait_for(lambda: len(kafka.sent) == 7)
    second.end()
    assert [sent.payload for sent in kafka.sent[3:]] == numbers(4)
    assert [sent.resent for sent in kafka.sent] == [False] * 3 + [True] * 3 + [False]


def test_nothing_is_sent_while_the_clock_holds_and_all_in_order_after(
    tmp_path: Path, kafka: Kafka
) -> None:
    gateway = Gateway(wall=SECOND)
    run = Run(tmp_path, kafka, gateway)
    for number in range(3):
        gateway.go_on(1)
        run.put([b"%d" % number], run.clock.stamp())
    threading.Event().wait(0.7)
    assert kafka.sent == []

    gateway.wall = NOON  # as the service does it once the clock is set
    assert run.clock.is_right()
    run.spool.restamp(run.clock.start_ns(), run.feeder.highest_sent)
    run.clock.past = False
    wait_for(lambda: len(kafka.sent) == 3)
    run.end()
    assert [sent.payload for sent in kafka.sent] == numbers(3)
    assert {sent.headers["clock_quality"] for sent in kafka.sent} == {b"corrected"}
    times = [int(sent.headers["received_ns"]) for sent in kafka.sent]
    assert times == [NOON - 2 * SECOND, NOON - SECOND, NOON]


def test_after_the_wait_messages_go_as_they_are_and_stay_so(tmp_path: Path, kafka: Kafka) -> None:
    gateway = Gateway(wall=SECOND)
    run = Run(tmp_path, kafka, gateway)
    run.put([b"0"], run.clock.stamp())
    gateway.go_on(61)
    wait_for(lambda: len(kafka.sent) == 1)
    run.put([b"1"], run.clock.stamp())
    wait_for(lambda: len(kafka.sent) == 2)

    run.feeder.replay()  # has the feeder begin anew, but not forget what it sent
    wait_for(lambda: len(kafka.sent) == 4)
    gateway.wall = NOON
    run.spool.restamp(run.clock.start_ns(), run.feeder.highest_sent)
    run.clock.past = False
    run.feeder.replay()
    wait_for(lambda: len(kafka.sent) == 6)
    run.end()
    assert {sent.headers["clock_quality"] for sent in kafka.sent} == {b"past"}
    for again in (kafka.sent[2:4], kafka.sent[4:]):
        assert [sent.headers["received_ns"] for sent in again] == [
            sent.headers["received_ns"] for sent in kafka.sent[:2]
        ]


def test_a_number_that_the_device_sent_before_is_marked_even_after_a_crash(
    tmp_path: Path,
) -> None:
    kafka = Kafka()
    run = Run(tmp_path, kafka)
    run.put([b'{"seq":1}', b'{"seq":2}', b'{"seq":2}'])
    run.put([b'{"seq":1}', b'{"seq":3}'])
    wait_for(lambda: len(kafka.sent) == 5)
    run.end()
    assert [sent.resent for sent in kafka.sent] == [False, False, True, True, False]
    again = Kafka()
    run = Run(tmp_path, again)
    run.put([b'{"seq":3}', b'{"seq":4}', b'{"no":"number"}'])
    wait_for(lambda: len(again.sent) == 8)
    run.end()
    assert [sent.resent for sent in again.sent[-3:]] == [True, False, False]


class Crashes(RuleBasedStateMachine):
    """Spool and feeder without their threads, step by step, and crashed between any two steps."""

    def __init__(self) -> None:
        super().__init__()
        self.kafka = Kafka()
        self.put: list[bytes] = []
        self.reported = 0  # in this run
        self.here = 0  # where in `kafka.sent` this run begins
        self.ever: set[int] = set()
        self.judged = 0
        self.folder = Path(tempfile.mkdtemp())
        self._open()

    def _open(self) -> None:
        options = settings(self.folder, replay_seconds=1, spool_max_age_seconds=1e9)
        metrics = Metrics(CollectorRegistry())
        self.spool = Spool(options, metrics)
        clock = Clock(0, 0, lambda: Tracking(synchronised=False))
        self.feeder = Feeder(options, self.spool, cast(Forwarder, self.kafka), clock, metrics)
        self.here = self.reported = len(self.kafka.sent)

    @rule(count=st.integers(1, 4))
    def write(self, count: int) -> None:
        settled: list[bytes] = []
        group = []
        for number in range(len(self.put), len(self.put) + count):
            payload = b"%d" % number
            group.append(([arrival(payload)], lambda payload=payload: settled.append(payload)))
        assert self.spool._write(group)
        self.put += [message.payload for (message,), _ in group]

    @rule()
    def keep_house(self) -> None:
        self.spool._kept_house = 0.0
        self.spool._keep_house()

    @rule()
    def send(self) -> None:
        self.feeder._send_some()

    @rule()
    def taken_back(self) -> None:
        self.feeder.replay()

    @precondition(lambda self: self.reported < len(self.kafka.sent))
    @rule(data=st.data())
    def report(self, data: st.DataObject) -> None:
        upto = data.draw(st.integers(self.reported + 1, len(self.kafka.sent)))
        for sent in self.kafka.sent[self.reported : upto]:
            sent.settle()
        self.reported = upto
        self.feeder.collect()

    @rule()
    def crash(self) -> None:
        self.spool._file.close()  # saves nothing: what is not committed is gone
        self._open()

    @invariant()
    def marks_are_exact_enough(self) -> None:
        """What was sent before is marked; a new one of this run is not, unless it was claimed."""
        for position in range(self.judged, len(self.kafka.sent)):
            sent = self.kafka.sent[position]
            assert sent.payload == self.put[sent.seq - 1], "numbers are in the order of receipt"
            assert sent.resent or sent.seq not in self.ever
            if sent.seq > self.spool.claimed_before and sent.seq not in self.ever:
                assert not sent.resent
            self.ever.add(sent.seq)
        self.judged = len(self.kafka.sent)

    @invariant()
    def a_run_leaves_nothing_out(self) -> None:
        seqs = [sent.seq for sent in self.kafka.sent[self.here :]]
        for earlier, later in pairwise(seqs):
            assert later <= earlier + 1, "a hole"

    def teardown(self) -> None:
        # An end without crashes brings all of it to Kafka.
        self.crash()
        for _ in range(100):
            self.spool._kept_house = 0.0
            self.spool._keep_house()
            if not self.feeder._send_some() and self.feeder.highest_sent == self.spool.last_seq:
                break
        self.marks_are_exact_enough()
        assert self.ever == set(range(1, len(self.put) + 1))
        self.spool._file.close()
        shutil.rmtree(self.folder)


TestCrashes = Crashes.TestCase
TestCrashes.settings = hypothesis_settings(max_examples=40, stateful_step_count=30)
