"""Compare Kafka, TimescaleDB and the archive, hour by hour: `python -m spark_app.reconcile`.

Every record in Kafka is a row of the database, or a copy of one, or a dead letter; and the archive
has the readings that the database has. Ends with 1 and names what differs where that is not so.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pandas as pd

from spark_app.audit import Span, archived, of_hours, only_in, stored, unexplained
from spark_app.audit_kafka import Kafka
from spark_app.settings import PREFIX, JobSettings
from spark_app.sinks.outcome import SinkFaultError
from spark_app.stores import database_of, kafka_of, objects_of
from telemetry.settings import SettingsError, load

_MOST_SHOWN = 20
_ROW = "{:17} {:>10} {:>10} {:>10}   {}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, show, and return the exit status: 1 for a difference, 2 for wrong settings."""
    parser = argparse.ArgumentParser(prog="python -m spark_app.reconcile", description=__doc__)
    parser.add_argument("--hours", type=int, default=2, help="hours back, by Kafka's time")
    parser.add_argument(
        "--grace", type=float, default=180, help="leave out what is newer, in seconds"
    )
    options = parser.parse_args(arguments)
    try:
        settings = load(JobSettings, PREFIX)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    now = datetime.now(UTC)
    start = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=options.hours - 1)
    well = True
    try:
        for line, is_fault in compare(
            settings, Span(start, now - timedelta(seconds=options.grace))
        ):
            well = well and not is_fault
            sys.stdout.write(line + "\n")
    except (SinkFaultError, TimeoutError) as error:
        sys.stderr.write(f"spark_app.reconcile: {error}\n")
        return 1
    return 0 if well else 1


def compare(settings: JobSettings, span: Span) -> Iterator[tuple[str, bool]]:
    """Yield lines of a table and of what differs, each with whether it is a fault."""
    kafka = Kafka(kafka_of(settings), settings.raw_topic, settings.dead_letter_topic)
    with closing(database_of(settings).connect("reconcile")) as connection:
        in_database = stored(connection, span)
        in_archive = archived(objects_of(settings), settings.raw_topic, span)
        records = kafka.offsets(span)
        letters = kafka.dead_letters()
        rest = kafka.read(records.difference(_places(in_database)).difference(letters))
        missing = unexplained(connection, rest)
        not_archived = only_in(in_database, in_archive)
        not_stored = unexplained(connection, only_in(in_archive, in_database))
    yield _ROW.format("hour (UTC)", "Kafka", "database", "archive", "checksum"), False
    appended, sides = kafka.hours(span), [of_hours(in_database), of_hours(in_archive)]
    for hour, count in appended.items():
        (rows, rows_sum), (archive_rows, archive_sum) = (side.get(hour, (0, 0)) for side in sides)
        equal = (rows, rows_sum) == (archive_rows, archive_sum)
        figures = (f"{hour:%Y-%m-%d %H:%M}", count, rows, archive_rows)
        yield _ROW.format(*figures, "equal" if equal else "differs"), False
    parts = (
        f"{len(in_database)} stored",
        f"{len(rest) - len(missing)} copies of these",
        f"{len(records.intersection(letters))} dead letters",
        f"{len(missing)} missing",
    )
    yield f"Kafka: {len(records)} records = {' + '.join(parts)}", False
    for what, frame in (
        ("in Kafka, neither stored nor refused", missing),
        ("stored, not archived", not_archived),
        ("archived, not stored", not_stored),
    ):
        yield from _difference(what, frame)


def _difference(what: str, frame: pd.DataFrame) -> Iterator[tuple[str, bool]]:
    if frame.empty:
        return
    yield f"{len(frame)} readings are {what}:", True
    for row in frame.head(_MOST_SHOWN).itertuples():
        place = f"partition {row.kafka_partition}, offset {row.kafka_offset}"
        yield f"  {row.device_id} seq {row.seq} at {row.time} ({place})", True
    if len(frame) > _MOST_SHOWN:
        yield f"  and {len(frame) - _MOST_SHOWN} more", True


def _places(frame: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(frame[["kafka_partition", "kafka_offset"]])


if __name__ == "__main__":
    sys.exit(main())
