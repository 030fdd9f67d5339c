"""What the archive holds: by the names of its objects, and by what is in them."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

ROOT = "sensor_data/"
# A reading's natural key, as in the database.
NATURAL_KEY = ["device_id", "time", "seq"]

_NAME = re.compile(
    r"sensor_data/date=(?P<date>[\d-]+)/hour=(?P<hour>\d\d)/"
    r"(?P<topic>.+)-(?P<partition>\d+)-(?P<low>\d+)-(?P<high>\d+)\.parquet"
)
# A sensor's clock may be ahead of Kafka's by the job's future_tolerance_seconds, or so.
_CLOCKS_DIFFER = timedelta(hours=1)

Key = tuple[Any, ...]


class Store(Protocol):
    """An S3 bucket."""

    def names(self, prefix: str, start_after: str = "") -> Iterator[str]:
        """Yield the names of objects in alphabetical order."""

    def get(self, name: str) -> bytes:
        """Return an object."""


class ArchiveObject(NamedTuple):
    """One object: the records of a partition from offset `low` to `high`, both included."""

    name: str
    hour: datetime
    topic: str
    partition: int
    low: int
    high: int


def parse(name: str) -> ArchiveObject | None:
    """Return what an object's name says; None for one that is not of the archive."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    hour = datetime.strptime(f"{match['date']} {match['hour']}Z", "%Y-%m-%d %HZ").replace(
        tzinfo=UTC
    )
    numbers = (int(match[group]) for group in ("partition", "low", "high"))
    return ArchiveObject(name, hour, match["topic"], *numbers)


def next_offsets(store: Store, topic: str) -> dict[int, int]:
    """Return for each partition that has objects the offset behind the last one."""
    found: dict[int, int] = {}
    for name in store.names(ROOT):
        item = parse(name)
        if item is not None and item.topic == topic:
            found[item.partition] = max(found.get(item.partition, 0), item.high + 1)
    return found


@dataclass(frozen=True)
class Archive:
    """Finds out which readings of a partition were archived before."""

    store: Store

    def without_repeats(self, readings: pa.Table, own_name: str) -> pa.Table:
        """Leave out readings that are marked as sent again and are in the archive, or here.

        Args:
            readings: of one partition, with `resent` and `kafka_topic`, in any order.
            own_name: of the object that they are for, which an earlier try may have written.
        """
        marked = readings.filter(readings["resent"])
        if not marked.num_rows:
            return readings
        readings = readings.sort_by("kafka_offset")
        known = self._archived(marked, own_name)
        kept = []
        rows = zip(readings["resent"].to_pylist(), _keys(readings), strict=True)
        for resent, key in rows:
            kept.append(not (resent and key in known))
            known.add(key)
        return readings.filter(pa.array(kept))

    def _archived(self, marked: pa.Table, own_name: str) -> set[Key]:
        """Return which of the marked readings' keys the archive has."""
        times = (pc.min(marked[name]).as_py() for name in ("time", "received_at"))
        earliest = min(time for time in times if time is not None)
        wanted = set(_keys(marked))
        found: set[Key] = set()
        topic, partition = marked["kafka_topic"][0].as_py(), marked["kafka_partition"][0].as_py()
        for item in self._since(topic, partition, earliest - _CLOCKS_DIFFER):
            if item.name != own_name:
                table = parquet.read_table(
                    io.BytesIO(self.store.get(item.name)), columns=NATURAL_KEY
                )
                found |= wanted.intersection(_keys(table))
        return found

    def _since(self, topic: str, partition: int, start: datetime) -> list[ArchiveObject]:
        """Return the objects with records that Kafka appended since then, and maybe some more.

        An object is filed by its first record. So the last one from before is wanted as well.
        """
        items: list[ArchiveObject] = []
        for days in (1, 30, 100_000):
            first = max(start - timedelta(days=min(days, (start - _EPOCH).days)), _EPOCH)
            after = f"{ROOT}date={first:%Y-%m-%d}/hour={first:%H}"
            parsed = (parse(name) for name in self.store.names(ROOT, after))
            items = [i for i in parsed if i and (i.topic, i.partition) == (topic, partition)]
            items.sort(key=lambda item: item.low)
            earlier = [item for item in items if item.hour < start]
            if earlier:
                return [*earlier[-1:], *(item for item in items if item.hour >= start)]
        return items


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _keys(table: pa.Table) -> Iterator[Key]:
    return zip(*(table[name].to_pylist() for name in NATURAL_KEY), strict=True)
