"""Keep the ledger: which numbered readings of each device arrived, and which are missing."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from telemetry.ranges import Range, Ranges, common, without

_MOST_OFFSETS = 500_000
_RANGE = re.compile(r"\[(\d+),(\d+)\)")

_STEPS = """
SELECT k.topic, k.partition, k.first_offset, k.next_offset, coalesce(p.done, 0)
FROM kafka_position AS k LEFT JOIN ledger_progress AS p USING (topic, partition)
WHERE k.next_offset IS NOT NULL AND k.next_offset <> coalesce(p.done, 0)
ORDER BY 1, 2
"""
_FRESH = """
SELECT device_id, seq, time FROM sensor_data
WHERE kafka_partition = %s AND kafka_offset >= %s AND kafka_offset < %s AND seq >= 0
ORDER BY time, seq
"""
_PROGRESS = """
INSERT INTO ledger_progress (topic, partition, done) VALUES (%s, %s, %s)
ON CONFLICT (topic, partition) DO UPDATE SET done = excluded.done
"""
_LIVES = """
SELECT device_id, life, begin_time, newest_time, seen::text FROM device_life
WHERE device_id = ANY (%s) ORDER BY device_id, life
"""
_SAVE_LIFE = """
INSERT INTO device_life (device_id, life, begin_time, newest_time, seen)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (device_id, life) DO UPDATE
SET begin_time = excluded.begin_time, newest_time = excluded.newest_time, seen = excluded.seen
"""
_OPEN_GAPS = """
DELETE FROM ledger_gap WHERE device_id = %s AND life = %s AND closed_at IS NULL
RETURNING first_seq, last_seq, hour, opened_at
"""
_SAVE_GAP = """
INSERT INTO ledger_gap (device_id, life, first_seq, last_seq, hour, opened_at, closed_at)
VALUES (%s, %s, %s, %s, %s, coalesce(%s, now()), CASE WHEN %s THEN now() END)
"""


@dataclass
class Life:
    """A device's readings from one start of its counter on.

    Attributes:
        hours: of numbers that came in this run, the hour of capture.
    """

    number: int
    begin: datetime
    newest: datetime
    seen: Ranges
    hours: dict[int, datetime] = field(default_factory=dict)
    is_changed: bool = False

    def takes(self, seq: int, time: datetime) -> bool:
        """Tell whether a reading belongs here, and not to a new life.

        A number that was there before, or is below all, and comes later than all: the device has
        begun anew. One that was not there fills a gap, whatever its time.
        """
        lowest = self.seen.lowest
        is_known = seq in self.seen or (lowest is not None and seq < lowest)
        return time <= self.newest or not is_known

    def add(self, seq: int, time: datetime) -> None:
        """Take in a reading."""
        self.begin = min(self.begin, time)
        self.newest = max(self.newest, time)
        self.seen.add(seq)
        self.hours[seq] = _hour(time)
        self.is_changed = True


def update_ledger(connection: Any) -> int:  # noqa: ANN401 - psycopg2 and its pools alike
    """Take in the readings that were stored since the last run.

    Args:
        connection: as the owner of the tables, no transaction open, no other run at the same time.

    Returns:
        How many readings there were.
    """
    with connection, connection.cursor() as cursor:
        cursor.execute(_STEPS)
        steps = cursor.fetchall()
    count = 0
    for topic, partition, first, end, done in steps:
        # Kafka's log went back: what is stored anew has lower offsets than before.
        place = first if end < done else done
        while place < end:
            upto = min(place + _MOST_OFFSETS, end)
            with connection, connection.cursor() as cursor:
                cursor.execute(_FRESH, (partition, place, upto))
                count += _take_in(cursor, cursor.fetchall())
                cursor.execute(_PROGRESS, (topic, partition, upto))
            place = upto
    return count


def _take_in(cursor: Any, readings: list[tuple[str, int, datetime]]) -> int:  # noqa: ANN401
    lives = _lives(cursor, sorted({device for device, _, _ in readings}))
    for device, seq, time in readings:
        of_device = lives.setdefault(device, [])
        # The last one that had begun by then; before them all, the first.
        begun = [life for life in of_device if life.begin <= time] or of_device[:1]
        life = begun[-1] if begun else None
        if life is None or (life is of_device[-1] and not life.takes(seq, time)):
            life = Life(len(of_device), time, time, Ranges())
            of_device.append(life)
        life.add(seq, time)
    for device, of_device in lives.items():
        for life in of_device:
            if life.is_changed:
                _save(cursor, device, life)
    return len(readings)


def _lives(cursor: Any, devices: list[str]) -> dict[str, list[Life]]:  # noqa: ANN401
    cursor.execute(_LIVES, (devices,))
    lives: dict[str, list[Life]] = {}
    for device, number, begin, newest, seen in cursor.fetchall():
        lives.setdefault(device, []).append(Life(number, begin, newest, Ranges(_parse(seen))))
    return lives


def _save(cursor: Any, device: str, life: Life) -> None:  # noqa: ANN401
    which = (device, life.number)
    seen = "{" + ",".join(f"[{low},{high}]" for low, high in life.seen.to_list()) + "}"
    cursor.execute(_SAVE_LIFE, (*which, life.begin, life.newest, seen))
    cursor.execute(_OPEN_GAPS, which)
    known = cursor.fetchall()
    gaps, seen_ranges = life.seen.gaps(), life.seen.to_list()
    rows = [
        (*part, hour, opened, is_closed)
        for low, high, hour, opened in known
        for is_closed, ranges in ((False, gaps), (True, seen_ranges))
        for part in common((low, high), ranges)
    ]
    opened_before = sorted((low, high) for low, high, *_ in known)
    rows += [
        (low, high, life.hours.get(high + 1, _hour(life.begin)), None, False)
        for gap in gaps
        for low, high in without(gap, opened_before)
    ]
    for row in rows:
        cursor.execute(_SAVE_GAP, (*which, *row))


def _parse(seen: str) -> list[Range]:
    """Read a multirange of whole numbers: `{[0,5),[7,9)}`."""
    return [(int(low), int(end) - 1) for low, end in _RANGE.findall(seen)]


def _hour(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
