"""The spool: messages on the gateway's disk, from their receipt until Kafka has them for good."""

import logging
import queue
import shutil
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

from bridge import log
from bridge.metrics import Metrics
from bridge.redelivery import PACKETS_KNOWN, Redelivery
from bridge.settings import Settings
from bridge.spool_file import Arrival, Entry, SpoolFile
from bridge.watermarks import Number, Watermarks, read_number

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MOST_IN_GROUP = 1000
_MOST_BYTES_IN_GROUP = 4 * 1024 * 1024
# Batches in memory, each of what one look at the socket brought; MQTT's flow control keeps it far
# below that, but for QoS 0.
_MOST_WAITING = 10_000
_TICK_SECONDS = 0.1
# Each sync costs as much as dozens of messages, on both sides: what comes one by one shares it.
# Where groups are large by themselves nothing is gained by waiting.
_APART_SECONDS = 0.003
_LARGE_GROUP = 100
_HOUSEKEEPING_SECONDS = 1.0
_CLAIM = 20_000
_PRUNED_AT_ONCE = 2000
# What is forwarded can only be deleted, and the spool so get room, on a disk with some left: for
# a group, for the pages that deleting changes, and for what the log and the file both hold.
_FREE_BYTES = 32 * 1024 * 1024

Batch = tuple[Sequence[Arrival], Callable[[], None]]


class Spool:
    """A queue on disk, written by one thread in groups: one sync for all that came meanwhile.

    Whoever calls `put` is told by `settled` once the message is on disk. Messages leave by
    `forwarded`, and stay for the replay window after that: a Kafka broker acknowledges from
    memory, and a power cut there takes its last seconds back.

    At its bounds it takes no more until there is room; the MQTT broker then keeps what comes.

    Attributes:
        id: made at random with the file.
        forwarded_seq: Kafka has all messages up to this one.
        claimed_before: an earlier run of the bridge may have sent messages up to this one.
        last_received_ns: when the newest message was received, by a clock that was right.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Open the file, or make it. One that is damaged is set aside, and the log says so."""
        self._settings = settings
        self._metrics = metrics
        self._queue: queue.Queue[Batch] = queue.Queue(_MOST_WAITING)
        self._stop = threading.Event()
        self._room = log.State()
        self._disk = log.State()
        self._kept_house = 0.0
        self._next_group = 0.0  # not before
        self._is_full = False
        self._restamp: tuple[int, int] | None = None
        self._start_ns: int | None = None  # known once the clock came out of the past
        self._path = Path(settings.spool_dir, "spool.db")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._packets = Redelivery()
        try:
            self._file = self._open()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            _set_aside(self._path, error)
            self._file = self._open()
        self.id = self._file.id
        self.forwarded_seq = self._file.forwarded
        self.last_received_ns = self._file.last_received_ns
        self.claimed_before = min(self._file.claimed, self._file.last)
        # What comes now is not claimed by what was claimed ahead.
        self._claim = self._file.claimed = self.claimed_before
        self._confirm: Callable[[str, bytes], None] | None = None
        self._confirms = settings.confirm
        self._watermarks = Watermarks()
        for device, covered in self._file.covered():
            self._watermarks.restore(device, covered)
        for topic, payload in self._file.not_covered():
            if (number := read_number(topic, payload)) is not None:
                self._watermarks.add(number)
        self._covered: list[tuple[str, bytes]] = []
        # How far Kafka had come, in each second in which it took something. Other seconds do not
        # count: after an outage the last ones before it are those that may be lost.
        self._history = deque([self._file.oldest() - 1], settings.replay_seconds + 1)
        metrics.spool_records.set_function(lambda: self.waiting)

    def _open(self) -> SpoolFile:
        file = SpoolFile(self._path, _boot_id())
        self._packets.clear()
        for packet_id, topic, payload in file.newest(PACKETS_KNOWN):
            self._packets.remember(packet_id, topic, payload)
        return file

    @property
    def last_seq(self) -> int:
        """Number of the newest message."""
        return int(self._file.last)

    @property
    def waiting(self) -> int:
        """How many messages Kafka does not have."""
        return self._file.last - self.forwarded_seq

    # For the receiving thread.

    def put(self, arrivals: Sequence[Arrival], settled: Callable[[], None]) -> None:
        """Hand over messages; `settled` is called by the writing thread once they are on disk.

        Blocks while too much waits in memory. `settled` is not called for what the spool still
        waits to write when it closes.
        """
        while not self._stop.is_set():
            try:
                self._queue.put((arrivals, settled), timeout=0.5)
            except queue.Full:
                continue
            return

    # For the sending thread.

    def read(self, after: int, limit: int) -> list[Entry]:
        """Return messages behind a number, in order: those that may be sent."""
        # What is claimed is on disk as claimed before it is sent: after a crash only messages up
        # to there may be in Kafka already.
        if self._file.claimed - after < _CLAIM // 2:
            self._claim = max(self._claim, after + _CLAIM)
        limit = min(limit, self._file.claimed - after)
        return self._file.read(after, limit) if limit > 0 else []

    def forwarded(self, seq: int) -> None:
        """Note that Kafka has all messages up to this one."""
        self.forwarded_seq = max(self.forwarded_seq, seq)

    def replay_from(self) -> int:
        """Return the number behind which Kafka may have lost messages that it had taken."""
        return self._history[0]

    # For any thread.

    def restamp(self, start_ns: int, sent: int) -> None:
        """Put right the times of messages that came while the clock was in the past.

        Args:
            start_ns: when the machine started, by the clock that is right now.
            sent: number of the last message that was sent, and keeps the time it has.
        """
        self._restamp = (start_ns, sent)

    @property
    def restamping(self) -> bool:
        """Whether that is still to be done."""
        return self._restamp is not None

    def close(self) -> None:
        """Have `run` end once it has written what it took."""
        self._stop.set()

    def set_aside(self, error: sqlite3.DatabaseError) -> None:
        """Close, and keep the damaged file under another name: the next start makes a new one."""
        self.close()
        _set_aside(self._path, error)

    # The writing thread.

    def run(
        self,
        committed: Callable[[], None],
        confirm: Callable[[str, bytes], None] | None = None,
    ) -> None:
        """Write until closed.

        Args:
            committed: called when there is more to read.
            confirm: called about once a second with each device that sent something, and which of
                its numbers are on disk (`{"covered": [[low, high], ...]}`).
        """
        self._confirm = confirm
        while not self._stop.is_set():
            if self._keep_house():
                committed()
            if self._is_full:
                self._stop.wait(_TICK_SECONDS)
                continue
            group = self._take_group()
            if group and self._write(group):
                for _, settled in group:
                    settled()
                committed()
                self._measure()
        self._try(self._save)
        self._file.close()

    def _take_group(self) -> list[Batch]:
        """Take all that is there, or wait a moment for the next; small groups come apart."""
        time.sleep(max(0.0, self._next_group - time.monotonic()))
        group: list[Batch] = []
        count = size = 0
        timeout = _TICK_SECONDS
        try:
            while count < _MOST_IN_GROUP and size < _MOST_BYTES_IN_GROUP:
                batch = self._queue.get(timeout=timeout)
                group.append(batch)
                count += len(batch[0])
                size += sum([len(arrival.payload) for arrival in batch[0]])
                timeout = 0
        except queue.Empty:
            pass
        if group and count < _LARGE_GROUP:
            self._next_group = time.monotonic() + _APART_SECONDS
        return group

    def _write(self, group: list[Batch]) -> bool:
        """Write a group, however long that takes; False if the spool closes before."""
        fresh: list[Arrival] = []
        numbers: set[Number] = set()
        packets, has = self._packets, self._watermarks.has
        for arrival in chain.from_iterable(arrivals for arrivals, _ in group):
            topic, payload, _, packet_id, repeated, _ = arrival
            # The broker delivers again what is on disk: it missed our acknowledgement.
            if repeated and packets.knows(packet_id, topic, payload):
                continue
            packets.remember(packet_id, topic, payload)
            fresh.append(arrival)
            number = read_number(topic, payload) if self._confirms else None
            if number is not None:
                if number in numbers or has(number):
                    fresh[-1] = arrival._replace(known=True)
                numbers.add(number)
        while not self._try(lambda: self._add(fresh)):
            if self._stop.wait(_HOUSEKEEPING_SECONDS):
                return False
            # It may be what is forwarded already that fills the disk.
            self._keep_house()
        for number in numbers:
            self._watermarks.add(number)
        return True

    def _add(self, arrivals: list[Arrival]) -> None:
        self._restamp_if_asked()
        # Only a clock that was in the past leaves something to correct.
        right = arrivals if self._start_ns is None else [self._corrected(a) for a in arrivals]
        self._file.write(right, self.forwarded_seq, self._claim)

    def _keep_house(self) -> bool:
        """Save and delete what is due; tell whether more may be sent than before."""
        self._restamp_if_asked()
        claims = self._claim != self._file.claimed and self._try(self._save)
        now = time.monotonic()
        if now - self._kept_house < _HOUSEKEEPING_SECONDS:
            return claims
        self._kept_house = now
        # Where the window alone fills the spool nothing is forwarded, for nothing is taken.
        if self.forwarded_seq != self._history[-1] or (self._is_full and not self.waiting):
            self._history.append(self.forwarded_seq)
        self._try(self._tidy)
        if self._is_full:  # and so nothing is written that would have the log start anew
            self._try(self._file.empty_log)
        for device, covered in self._covered:
            if self._confirm is not None:
                self._confirm(device, covered)
        self._covered = []
        self._measure()
        return claims

    def _save(self) -> None:
        changed = (self._file.forwarded, self._file.claimed) != (self.forwarded_seq, self._claim)
        if changed or self._covered:
            self._file.write([], self.forwarded_seq, self._claim, self._covered)

    def _tidy(self) -> None:
        self._covered += self._watermarks.take_changed()
        self._save()
        before = self.replay_from()
        while self._file.prune(before, _PRUNED_AT_ONCE) == _PRUNED_AT_ONCE:
            pass

    def _restamp_if_asked(self) -> None:
        asked = self._restamp
        if asked is not None and self._try(lambda: self._file.restamp(*asked)):
            self._start_ns, self._restamp = asked[0], None

    def _corrected(self, arrival: Arrival) -> Arrival:
        """Put right the time of a message that was on its way here when the clock was set."""
        stamp = arrival.stamp
        if self._start_ns is None or stamp.quality != "past":
            return arrival
        right = stamp._replace(wall_ns=self._start_ns + stamp.uptime_ns, quality="corrected")
        return arrival._replace(stamp=right)

    def _measure(self) -> None:
        size = self._file.size()
        free = shutil.disk_usage(self._path.parent).free + self._file.free() - self._file.log_size()
        oldest_ns = self._file.received_ns(self.forwarded_seq)
        age = 0.0 if oldest_ns is None else max(time.time_ns() - oldest_ns, 0) / 1e9
        self._metrics.spool_bytes.set(size)
        self._metrics.oldest_waiting.set(age)
        bounds = (
            (size >= self._settings.spool_max_bytes, "spool_max_bytes"),
            (age >= self._settings.spool_max_age_seconds, "spool_max_age_seconds"),
            (free < _FREE_BYTES, "free_disk"),
        )
        reached = [name for is_reached, name in bounds if is_reached]
        self._is_full = bool(reached)
        if reached:
            self._room.enter(
                logging.ERROR,
                "spool_full",
                bound=reached[0],
                todo="bring Kafka back or make room; the MQTT broker keeps what comes",
            )
        else:
            self._room.enter(logging.INFO, "spool_has_room")

    def _try(self, work: Callable[[], None]) -> bool:
        """Do something with the file; say why where the disk refuses, and tell the caller."""
        before = self._file.changes
        try:
            work()
        except sqlite3.OperationalError as error:
            self._disk.enter(
                logging.ERROR,
                "spool_cannot_write",
                detail=str(error),
                folder=self._settings.spool_dir,
                todo="free space on its disk; nothing is acknowledged meanwhile",
            )
            self._metrics.spool_writable.set(0)
            return False
        if self._file.changes > before:
            self._disk.enter(logging.INFO, "spool_writes", folder=self._settings.spool_dir)
            self._metrics.spool_writable.set(1)
        return True


def _boot_id() -> str:
    return _BOOT_ID.read_text(encoding="ascii").strip()


def _set_aside(path: Path, error: sqlite3.DatabaseError) -> None:
    aside = path.with_suffix(f".damaged-{time.time_ns()}")
    for suffix in ("", "-wal", "-shm"):
        part = Path(f"{path}{suffix}")
        if part.exists():
            part.rename(f"{aside}{suffix}")
    log.event(
        logging.CRITICAL,
        "spool_damaged",
        reason=error,
        kept_as=aside,
        todo="`sqlite3 FILE .recover` may still read it; the bridge goes on with an empty spool",
    )
