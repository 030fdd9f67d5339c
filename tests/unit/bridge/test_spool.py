"""The spool: real files, real threads, and processes that are killed."""

import contextlib
import logging
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bridge_bench import NOON, ROOT, SECOND, arrival, settings, wait_for
from prometheus_client import CollectorRegistry

from bridge.clock import Stamp
from bridge.metrics import Metrics
from bridge.spool import Spool
from bridge.spool_file import SpoolFile

MEGABYTE = 10**6


class Bench:
    """A spool whose writing thread runs, and what it settled."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.registry = CollectorRegistry()
        self.spool = Spool(settings(folder, **changes), Metrics(self.registry))
        self.settled: list[bytes] = []
        self.committed = 0
        self._thread = threading.Thread(target=self.spool.run, args=[self._note])
        self._thread.start()

    def put(self, payload: bytes, packet_id: int = 0, **options: Any) -> None:
        message = arrival(payload, packet_id, **options)
        self.spool.put([message], partial(self.settled.append, payload))

    def fill(self, payloads: list[bytes]) -> None:
        """Put, and wait until it is on disk."""
        before = len(self.settled)
        for payload in payloads:
            self.put(payload)
        wait_for(lambda: len(self.settled) == before + len(payloads))

    def payloads(self) -> list[bytes]:
        """Read as the feeder does, until there is no more."""
        found: list[bytes] = []
        after = self.spool.replay_from()

        def more() -> bool:
            nonlocal after
            for entry in self.spool.read(after, 1000):
                found.append(entry.payload)
                after = entry.seq
            return after == self.spool.last_seq

        wait_for(more)
        return found

    def metric(self, name: str) -> float:
        return self.registry.get_sample_value(name) or 0.0

    def close(self) -> None:
        self.spool.close()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _note(self) -> None:
        self.committed += 1


@contextmanager
def running(folder: Path, **changes: Any) -> Iterator[Bench]:
    bench = Bench(folder, **changes)
    try:
        yield bench
    finally:
        bench.close()


def on_disk(folder: Path) -> list[bytes]:
    """Read as any other process would."""
    with contextlib.closing(sqlite3.connect(folder / "spool.db")) as file:
        return [row[0] for row in file.execute("SELECT payload FROM message ORDER BY seq")]


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    messages = [record.getMessage() for record in caplog.records]
    return [message for message in messages if f"event={name} " in f"{message} "]


def test_settled_only_when_another_connection_sees_it(tmp_path: Path) -> None:
    seen: list[bool] = []
    with running(tmp_path) as bench:
        for number in range(20):
            payload = b"%d" % number

            def settled(payload: bytes = payload) -> None:
                seen.append(payload in on_disk(tmp_path))

            bench.spool.put([arrival(payload)], settled)
        wait_for(lambda: len(seen) == 20)
    assert all(seen)


def test_each_commit_is_synced(tmp_path: Path) -> None:
    file = SpoolFile(tmp_path / "spool.db", "boot")
    pragmas = {name: file._number(f"PRAGMA {name}") for name in ("synchronous", "fullfsync")}  # noqa: SLF001
    assert pragmas["synchronous"] >= 2
    file.close()


def test_what_comes_one_by_one_shares_a_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.spool._APART_SECONDS", 1.0)
    with running(tmp_path) as bench:
        bench.fill([b"first"])
        before = bench.committed
        bench.fill([b"%d" % number for number in range(50)])
        assert bench.committed - before == 1


def test_order_is_kept_and_survives_the_end(tmp_path: Path) -> None:
    wanted = [b"%d" % number for number in range(3000)]
    with running(tmp_path) as bench:
        bench.fill(wanted)
        assert bench.settled == wanted
        identity = bench.spool.id
        assert bench.committed
    with running(tmp_path) as bench:
        assert bench.payloads() == wanted
        assert (bench.spool.id, bench.spool.last_seq, bench.spool.waiting) == (identity, 3000, 3000)


WRITE_FOR_EVER = """
import itertools, sys, threading
from pathlib import Path
from prometheus_client import CollectorRegistry
from bridge_bench import arrival, settings
from bridge.metrics import Metrics
from bridge.spool import Spool

spool = Spool(settings(Path(sys.argv[1])), Metrics(CollectorRegistry()))
threading.Thread(target=spool.run, args=[lambda: None]).start()
for number in itertools.count(int(sys.argv[2])):
    payload = b"%d" % number
    spool.put([arrival(payload)], lambda number=number: print(number, flush=True))
"""


def test_a_killed_process_leaves_all_that_it_had_settled(tmp_path: Path) -> None:
    said: list[bytes] = []
    for life in range(4):
        command = [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path), str(life * 10**6)]
        paths = {"PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
        with subprocess.Popen(command, env=paths, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            said.append(process.stdout.readline().strip())
            time.sleep(0.1 + 0.07 * life)
            process.kill()
            # The last line may be torn.
            lines = process.stdout.read().split(b"\n")[:-1]
            said += lines
    assert len(said) > 1000
    kept = on_disk(tmp_path)
    assert set(said) <= set(kept)
    assert kept == sorted(kept, key=int), "in the order of receipt"
    assert len(kept) == len(set(kept))


def test_numbers_are_never_used_again(tmp_path: Path) -> None:
    file = SpoolFile(tmp_path / "spool.db", "boot")
    file.write([arrival(b"a"), arrival(b"b")], 2, 2)
    assert file.prune(2, 1) == 1
    assert (file.oldest(), file.prune(2, 100), file.prune(2, 100)) == (2, 1, 0)
    file.close()
    file = SpoolFile(tmp_path / "spool.db", "boot")
    assert (file.last, file.oldest()) == (2, 3)
    file.write([arrival(b"c")], 2, 2)
    assert [entry.seq for entry in file.read(0, 10)] == [3]
    file.close()


def test_what_is_read_from_memory_is_what_is_on_disk(tmp_path: Path) -> None:
    file = SpoolFile(tmp_path / "spool.db", "boot")
    sizes = [3, 1, 230, 1, 4200, 7]  # one group is more than memory keeps
    for size in sizes:
        known = [number % 3 == 0 for number in range(size)]
        file.write([arrival(b"%d" % n)._replace(known=k) for n, k in enumerate(known)], 0, 0)
    other = SpoolFile(tmp_path / "spool.db", "boot")  # which has nothing in memory
    for after in (0, 2, 3, 233, 234, 4434, 4435, 4441, 4442, 9999):
        expected = other.read(after, 10)
        found = file.read(after, 10)
        assert found == expected[: len(found)]
        assert bool(found) == bool(expected)
    stamp = past(60)
    file.write([arrival(b"late", stamp=stamp)], 0, 0)
    file.restamp(NOON, sent=0)
    (restamped,) = file.read(file.last - 1, 1)
    assert (restamped.received_ns, restamped.quality) == (NOON + stamp.uptime_ns, "corrected")
    file.close()
    other.close()


def test_what_kafka_took_stays_for_the_replay_window_and_goes_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.spool._HOUSEKEEPING_SECONDS", 0.2)
    with running(tmp_path, replay_seconds=3) as bench:
        bench.fill([b"%d" % number for number in range(8)])
        started = time.monotonic()
        for number in range(1, 8):
            bench.spool.forwarded(number)
            wait_for(lambda number=number: bench.spool._history[-1] == number)  # type: ignore[misc] # noqa: SLF001
            # Three rounds of housekeeping in which Kafka took something: three messages.
            assert bench.spool.replay_from() == max(number - 3, 0)
        assert time.monotonic() - started > 1
        wait_for(lambda: on_disk(tmp_path) == [b"4", b"5", b"6", b"7"])
        time.sleep(0.5)
        assert len(on_disk(tmp_path)) == 4, "time in which nothing is forwarded does not count"
    with running(tmp_path, replay_seconds=3) as bench:
        assert (bench.spool.forwarded_seq, bench.spool.replay_from()) == (7, 4)


def test_a_claim_is_on_disk_before_what_it_covers_is_handed_out(tmp_path: Path) -> None:
    with running(tmp_path) as bench:
        bench.fill([b"a", b"b"])
        assert bench.spool.claimed_before == 0
        assert bench.spool.read(0, 10) == [], "nothing is claimed yet"
        wait_for(lambda: len(bench.spool.read(0, 10)) == 2)
        with contextlib.closing(sqlite3.connect(tmp_path / "spool.db")) as file:
            assert file.execute("SELECT claimed FROM state").fetchone()[0] >= 2
    # No orderly end: an instance beside the first one's file sees what a crash leaves.
    with running(tmp_path) as bench:
        assert bench.spool.claimed_before == 2
        bench.fill([b"c"])
        assert bench.spool.read(2, 10) == [], "an earlier claim does not cover what came after it"


@pytest.mark.parametrize("bound", ["spool_max_bytes", "spool_max_age_seconds"])
def test_at_its_bounds_it_takes_no_more_until_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("bridge.spool._HOUSEKEEPING_SECONDS", 0.1)
    limit = 2 * MEGABYTE if bound == "spool_max_bytes" else 1.0
    with running(tmp_path, replay_seconds=1, **{bound: limit}) as bench:
        for _ in range(2500 if bound == "spool_max_bytes" else 10):
            bench.put(b"x" * 1000)
        wait_for(lambda: events(caplog, "spool_full"))
        assert f"bound={bound}" in events(caplog, "spool_full")[0]
        before = len(bench.settled)
        bench.put(b"later")
        time.sleep(0.5)
        assert len(bench.settled) == before
        assert len(events(caplog, "spool_full")) == 1
        assert bench.metric("bridge_spool_bytes") > 0
        assert bench.metric("bridge_oldest_waiting_seconds") > 0

        def later_came() -> bool:
            bench.spool.forwarded(bench.spool.last_seq)
            return bench.settled[-1] == b"later"

        wait_for(later_came)
        assert len(events(caplog, "spool_has_room")) > 1  # at the start, and now


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mount a disk of so many megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(megabytes: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        try:
            outcome = subprocess.run(command, check=False, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("there is no mount program")
        if outcome.returncode:
            pytest.skip(f"file systems cannot be mounted: {outcome.stderr.strip()}")
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], check=False, capture_output=True)


def eat(folder: Path) -> Path:
    """Fill the disk to the last byte."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return ballast


def test_a_full_disk_settles_nothing_says_so_once_and_heals(
    small_disk: Callable[[int], Path],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("bridge.spool._HOUSEKEEPING_SECONDS", 0.1)
    monkeypatch.setattr("bridge.spool._FREE_BYTES", 0)  # as if it filled up in an instant
    folder = small_disk(4)
    with running(folder) as bench:
        bench.fill([b"before"])
        ballast = eat(folder)
        for number in range(2000):
            bench.put(b"%d" % number + b"x" * 1000)
        wait_for(lambda: events(caplog, "spool_cannot_write"))
        time.sleep(1)
        stuck = len(bench.settled)
        assert stuck < 2001
        assert bench.metric("bridge_spool_writable") == 0
        time.sleep(0.5)
        assert len(bench.settled) == stuck
        assert len(events(caplog, "spool_cannot_write")) == 1

        ballast.unlink()
        wait_for(lambda: len(bench.settled) > stuck)
        assert bench.metric("bridge_spool_writable") == 1
        told = len(bench.settled)  # more may follow while the disk is read
        assert len(on_disk(folder)) >= told


def test_a_disk_that_the_spool_itself_filled_empties_into_kafka(
    small_disk: Callable[[int], Path],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.spool._HOUSEKEEPING_SECONDS", 0.02)
    folder = small_disk(48)
    with running(folder, replay_seconds=1) as bench:
        wanted = [b"%d" % number + b"x" * 5000 for number in range(12_000)]
        puts = threading.Thread(target=lambda: [bench.put(payload) for payload in wanted])
        puts.start()
        wait_for(lambda: events(caplog, "spool_full"))
        assert "bound=free_disk" in events(caplog, "spool_full")[0]
        assert len(bench.settled) < 12_000
        found: list[bytes] = []
        after = 0

        def drained() -> bool:
            nonlocal after
            for entry in bench.spool.read(after, 500):
                found.append(entry.payload)
                after = entry.seq
            bench.spool.forwarded(after)
            return len(found) == 12_000

        wait_for(drained, 20)
        puts.join(5)
    assert found == wanted
    assert events(caplog, "spool_cannot_write") == []


def test_a_write_ahead_log_that_grew_does_not_keep_the_disk_full(
    small_disk: Callable[[int], Path],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.spool._HOUSEKEEPING_SECONDS", 0.02)
    folder = small_disk(48)
    with running(folder, replay_seconds=1) as bench:
        bench.fill([b"first"])
        with contextlib.closing(sqlite3.connect(folder / "spool.db")) as slow:
            slow.execute("BEGIN")
            slow.execute("SELECT * FROM message").fetchone()  # the log cannot start anew
            payloads = [b"x" * 5000] * 6000
            puts = threading.Thread(target=lambda: [bench.put(payload) for payload in payloads])
            puts.start()
            wait_for(lambda: events(caplog, "spool_full"))

        def all_taken() -> bool:
            bench.spool.forwarded(bench.spool.last_seq)
            return len(bench.settled) == 6001

        wait_for(all_taken)
        puts.join(5)


def test_a_damaged_file_is_set_aside_and_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "spool.db").write_bytes(b"no database at all" * 1000)
    with running(tmp_path) as bench:
        bench.fill([b"a"])
        assert bench.payloads() == [b"a"]
    (aside,) = tmp_path.glob("spool.damaged-*")
    assert aside.read_bytes().startswith(b"no database at all")
    (said,) = events(caplog, "spool_damaged")
    assert str(aside) in said


@pytest.mark.parametrize("kept_on_close", [True, False])
def test_what_is_on_disk_is_settled_and_not_stored_again(
    tmp_path: Path, *, kept_on_close: bool
) -> None:
    with running(tmp_path) as bench:
        bench.put(b"a", 7)
        wait_for(lambda: bench.settled == [b"a"])
        if not kept_on_close:
            bench.put(b"a", 7, repeated=True)
            wait_for(lambda: bench.settled == [b"a", b"a"])
    with running(tmp_path) as bench:
        bench.put(b"a", 7, repeated=True)
        wait_for(lambda: bench.settled == [b"a"])
        assert on_disk(tmp_path) == [b"a"]

        bench.put(b"another", 7, repeated=True)  # the broker gave the packet id to another one
        bench.put(b"a", 8, repeated=True)
        bench.put(b"a", 7)  # a new message that reads like an old one
        bench.put(b"q", 0, repeated=True)
        bench.put(b"q", 0, repeated=True)
        wait_for(lambda: len(bench.settled) == 6)
    assert on_disk(tmp_path) == [b"a", b"another", b"a", b"a", b"q", b"q"]


def test_what_comes_again_before_it_is_on_disk_is_stored_once(tmp_path: Path) -> None:
    spool = Spool(settings(tmp_path), Metrics(CollectorRegistry()))
    settled: list[int] = []
    for number in range(3):  # in one group, for nobody writes yet
        spool.put([arrival(b"a", 7, repeated=number > 0)], partial(settled.append, number))
    thread = threading.Thread(target=spool.run, args=[lambda: None])
    thread.start()
    wait_for(lambda: settled == [0, 1, 2])
    spool.close()
    thread.join(10)
    assert on_disk(tmp_path) == [b"a"]


def past(uptime_seconds: int) -> Stamp:
    return Stamp((86_400 + uptime_seconds) * SECOND, uptime_seconds * SECOND, "past")


def test_times_of_the_past_are_put_right(tmp_path: Path) -> None:
    earlier = SpoolFile(tmp_path / "spool.db", "an earlier start of the machine")
    early = [arrival(b"sent", stamp=past(50)), arrival(b"e1", stamp=past(60))]
    earlier.write([*early, arrival(b"e2", stamp=past(5))], 0, 1)
    assert earlier.last_received_ns == 0, "a clock that is wrong says nothing of the next start"
    earlier.close()
    with running(tmp_path, spool_max_age_seconds=1e9) as bench:
        now = Stamp(NOON, 30 * SECOND, "synchronised", 5, 7)
        bench.put(b"s1", stamp=past(10))
        bench.put(b"s2", stamp=past(20))
        bench.put(b"right", stamp=now)
        wait_for(lambda: len(bench.settled) == 3)
        start = NOON - 30 * SECOND
        bench.spool.restamp(start, sent=1)
        wait_for(lambda: not bench.spool.restamping)
        bench.put(b"on its way", stamp=past(25))
        wait_for(lambda: len(bench.settled) == 4)
        bench.payloads()
        found = {
            entry.payload: (entry.received_ns, entry.quality) for entry in bench.spool.read(0, 10)
        }
        assert found == {
            b"sent": (past(50).wall_ns, "past"),
            b"e1": (start - 5000, "estimated"),
            b"e2": (start - 4000, "estimated"),
            b"s1": (start + 10 * SECOND, "corrected"),
            b"s2": (start + 20 * SECOND, "corrected"),
            b"right": (NOON, "synchronised"),
            b"on its way": (start + 25 * SECOND, "corrected"),
        }
    with running(tmp_path) as bench:
        assert bench.spool.last_received_ns == NOON
