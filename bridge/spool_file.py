"""The spool's SQLite file: what is in it, and the statements that read and change it."""

import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bridge.clock import Stamp
from telemetry.headers import ClockQuality

# WAL with synchronous FULL: a commit has returned when its pages are synced to disk.
_OPEN = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA busy_timeout = 10000;
PRAGMA journal_size_limit = 4194304;
"""
_VERSION = 1  # raised when a table changes
_SCHEMA = f"""
PRAGMA user_version = {_VERSION};
CREATE TABLE IF NOT EXISTS message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    topic BLOB NOT NULL,
    payload BLOB NOT NULL,
    packet_id INTEGER NOT NULL,
    received_ns INTEGER NOT NULL,
    uptime_ns INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    quality TEXT NOT NULL,
    offset_ns INTEGER,
    error_ns INTEGER,
    known INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS message_past ON message (seq) WHERE quality = 'past';
CREATE TABLE IF NOT EXISTS covered (device TEXT PRIMARY KEY, ranges BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS state (
    spool_id TEXT NOT NULL,
    forwarded INTEGER NOT NULL,
    claimed INTEGER NOT NULL,
    covered INTEGER NOT NULL,
    last_received_ns INTEGER NOT NULL
);
"""
_COLUMNS = """topic, payload, packet_id, received_ns, uptime_ns, boot_id, quality, offset_ns,
    error_ns, known"""
# Many rows in one statement: Python's module gives up its lock once for each, and waits for it.
_AT_ONCE = (200, 20, 1)
_ROW = f"({', '.join('?' * 10)})"
_INSERT = {
    rows: f"INSERT INTO message ({_COLUMNS}) VALUES {', '.join([_ROW] * rows)}"  # noqa: S608
    for rows in _AT_ONCE
}
_READ = """
SELECT seq, topic, payload, received_ns, quality, offset_ns, error_ns, known
FROM message WHERE seq > ? ORDER BY seq LIMIT ?
"""
# What was written last is read from memory.
_RECENT_GROUPS = 64
_RECENT_MESSAGES = 4000
_RECENT_BYTES = 4 * 1024 * 1024
_LAST = "SELECT packet_id, topic, payload FROM message ORDER BY seq DESC LIMIT ?"
_SAVE = """
UPDATE state SET
    forwarded = ?, claimed = ?, covered = ?, last_received_ns = max(last_received_ns, ?)
"""
# Of messages from before this start only the order is known: they get the microseconds before it.
_RESTAMP = """
UPDATE message SET
    received_ns = CASE boot_id WHEN :boot_id THEN :start_ns + uptime_ns
        ELSE :start_ns - 1000 * (:last - seq + 1) END,
    quality = CASE boot_id WHEN :boot_id THEN 'corrected' ELSE 'estimated' END
WHERE quality = 'past' AND seq > :sent
"""


class Arrival(NamedTuple):
    """A message as MQTT brought it; `packet_id` is 0 with QoS 0."""

    topic: bytes
    payload: bytes
    stamp: Stamp
    packet_id: int
    repeated: bool  # MQTT's DUP flag
    known: bool = False  # the device sent this number before


class Entry(NamedTuple):
    """A message of the spool."""

    seq: int
    topic: bytes
    payload: bytes
    received_ns: int
    quality: ClockQuality
    offset_ns: int | None
    error_ns: int | None
    known: int = False  # the device sent this number before


class _Group(NamedTuple):
    """Messages that were written together, of `size` bytes."""

    first: int
    entries: list[Entry]
    size: int


class SpoolFile:
    """One connection that writes, for one thread, and one that reads, for another.

    Every method but `read` is for the writing thread, and raises `sqlite3.Error` with nothing
    changed where the disk does not do as it should.

    Attributes:
        id: made at random with the file.
        forwarded: Kafka has all messages up to this one.
        claimed: messages up to this one may be in Kafka.
        last_received_ns: newest receive time by a clock that was not in the past.
        last: number of the newest message, 0 if there never was one.
    """

    def __init__(self, path: Path, boot_id: str) -> None:
        """Open the file, or make it; `boot_id` changes with each start of the machine."""
        self._boot_id = boot_id
        self._log = Path(f"{path}-wal")
        self._writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._writer.executescript(_OPEN)
        version = self._number("PRAGMA user_version")
        if version not in {0, _VERSION}:
            message = f"{path} has format {version}, not {_VERSION}: use the bridge that wrote it"
            raise OSError(message)
        self._writer.executescript(_SCHEMA)
        self._writer.execute(
            "INSERT INTO state SELECT ?, 0, 0, 0, 0 WHERE NOT EXISTS (SELECT * FROM state)",
            (uuid.uuid4().hex[:12],),
        )
        self._reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        row = self._writer.execute(
            "SELECT spool_id, forwarded, claimed, covered, last_received_ns FROM state"
        ).fetchone()
        self.id = str(row[0])
        self.forwarded, self.claimed, self._covered, self.last_received_ns = map(int, row[1:])
        self.last = self._number("SELECT max(seq) FROM sqlite_sequence")
        self._recent: tuple[_Group, ...] = ()

    def write(
        self,
        arrivals: Sequence[Arrival],
        forwarded: int,
        claimed: int,
        covered: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Add messages, and save how far sending has come; returns when all of it is synced.

        `covered` is what `Watermarks.take_changed` returned, of all messages before these.
        """
        covered_up_to = self.last if covered else self._covered
        right = [a.stamp.wall_ns for a in arrivals if a.stamp.quality != "past"]
        with self._transaction():
            self._insert(arrivals)
            saved = (forwarded, claimed, covered_up_to, max(right, default=0))
            self._writer.execute(_SAVE, saved)
            self._writer.executemany("INSERT OR REPLACE INTO covered VALUES (?, ?)", covered)
        self.forwarded, self.claimed, self._covered = forwarded, claimed, covered_up_to
        if arrivals:
            self._keep_recent(arrivals)
            self.last += len(arrivals)

    def restamp(self, start_ns: int, sent: int) -> None:
        """Put right the times of messages that came while the clock was in the past.

        Args:
            start_ns: when the machine started, by the clock that is right now.
            sent: number of the last message that was sent, and keeps the time it has.
        """
        values = {"boot_id": self._boot_id, "start_ns": start_ns, "last": self.last, "sent": sent}
        with self._transaction():
            self._writer.execute(_RESTAMP, values)
        self._recent = ()

    def prune(self, before: int, most: int) -> int:
        """Delete the oldest messages up to a number, not more than `most`; return how many."""
        first = self.oldest()
        if first > before:
            return 0
        with self._transaction():
            return self._writer.execute(
                "DELETE FROM message WHERE seq < ? AND seq <= ?", (first + most, before)
            ).rowcount

    def read(self, after: int, limit: int) -> list[Entry]:
        """Return messages behind a number, in order."""
        for group in self._recent:  # the writing thread may put another tuple there
            place = after + 1 - group.first
            if 0 <= place < len(group.entries):
                return group.entries[place : place + limit]
        return [Entry(*row) for row in self._reader.execute(_READ, (after, limit))]

    def oldest(self) -> int:
        """Return the number of the oldest message; that of the next one if there is none."""
        return self._number("SELECT min(seq) FROM message") or self.last + 1

    def newest(self, count: int) -> list[tuple[int, bytes, bytes]]:
        """Return packet id, topic and payload of the newest messages, in the order of receipt."""
        return list(reversed(self._writer.execute(_LAST, (count,)).fetchall()))

    def covered(self) -> list[tuple[str, bytes]]:
        """Return what was last written of each device."""
        return self._writer.execute("SELECT device, ranges FROM covered").fetchall()

    def not_covered(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield topic and payload of the messages that came after that was written."""
        statement = "SELECT topic, payload FROM message WHERE seq > ?"
        yield from self._writer.execute(statement, (self._covered,))

    def received_ns(self, after: int) -> int | None:
        """Return when the first message behind a number was received; None if nobody knows."""
        row = self._writer.execute(_READ, (after, 1)).fetchone()
        entry = None if row is None else Entry(*row)
        return None if entry is None or entry.quality == "past" else entry.received_ns

    def size(self) -> int:
        """Return the bytes of what is in the file, without what is free in it."""
        return self._number("PRAGMA page_count") * self._number("PRAGMA page_size") - self.free()

    def free(self) -> int:
        """Return the bytes that are free in the file, which never shrinks."""
        return self._number("PRAGMA freelist_count") * self._number("PRAGMA page_size")

    def log_size(self) -> int:
        """Return the bytes of the write-ahead log, which the file may still grow by."""
        return self._log.stat().st_size

    def empty_log(self) -> None:
        """Give the room of the write-ahead log back, once nobody reads an older state."""
        self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    @property
    def changes(self) -> int:
        """How many rows this connection has written."""
        return self._writer.total_changes

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
        self._writer.close()

    def _insert(self, arrivals: Sequence[Arrival]) -> None:
        at = 0
        for rows in _AT_ONCE:
            statement = _INSERT[rows]
            while len(arrivals) - at >= rows:
                values: list[Any] = []
                for topic, payload, stamp, packet_id, _, known in arrivals[at : at + rows]:
                    wall_ns, uptime_ns, quality, offset_ns, error_ns = stamp
                    boot_id = self._boot_id if quality == "past" else ""  # of no use to others
                    values += (topic, payload, packet_id, wall_ns, uptime_ns, boot_id)
                    values += (quality, offset_ns, error_ns, known)
                self._writer.execute(statement, values)
                at += rows

    def _keep_recent(self, arrivals: Sequence[Arrival]) -> None:
        """Keep what was written for `read`."""
        written = [
            Entry(seq, topic, payload, stamp[0], stamp[2], stamp[3], stamp[4], known)
            for seq, (topic, payload, stamp, _, _, known) in enumerate(arrivals, self.last + 1)
        ]
        size = sum([len(arrival.payload) for arrival in arrivals])
        recent = [*self._recent, _Group(self.last + 1, written, size)][-_RECENT_GROUPS:]
        count = sum([len(group.entries) for group in recent])
        size = sum([group.size for group in recent])
        while recent and (count > _RECENT_MESSAGES or size > _RECENT_BYTES):
            count -= len(recent[0].entries)
            size -= recent.pop(0).size
        self._recent = tuple(recent)

    def _number(self, statement: str) -> int:
        return int(self._writer.execute(statement).fetchone()[0] or 0)

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._writer)


class _Transaction:
    """BEGIN to COMMIT; the module's own way leaves a failed COMMIT open."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
