"""Send again what was refused, archived, or is still in Kafka: `python -m spark_app.replay`.

Nothing becomes twice by it: the database and the archive know what they have.
"""

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from spark_app.audit_kafka import Kafka, record_headers
from spark_app.schema import CONTROL_COLUMNS, READING_COLUMNS
from spark_app.settings import PREFIX, JobSettings
from spark_app.sinks.archived import ROOT, parse
from spark_app.sinks.outcome import Outcome, SinkFaultError, require
from spark_app.sinks.timescaledb import TimescaleWriter
from spark_app.stores import database_of, kafka_of, objects_of
from telemetry import headers
from telemetry.settings import SettingsError, load

_OWN = {
    headers.REASON,
    headers.ORIGIN_TOPIC,
    headers.ORIGIN_PARTITION,
    headers.ORIGIN_OFFSET,
    headers.ORIGINAL_SIZE,
    headers.RESENT,
}
_FLUSH_SECONDS = 60.0
# The ledger has to read again what came with offsets that it is beyond.
_LEDGER = """
UPDATE ledger_progress SET done = least(done, %s) WHERE topic = %s AND partition = %s
"""
_REWIND = """
INSERT INTO kafka_position (topic, partition, first_offset, batch_id)
SELECT %s, %s, %s, coalesce(max(batch_id), -1) FROM kafka_position
ON CONFLICT (topic, partition) DO UPDATE SET first_offset = excluded.first_offset
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one kind of replay, and return the exit status: 1 if it failed, 2 for wrong settings."""
    options = _parser().parse_args(arguments)
    try:
        settings = load(JobSettings, PREFIX)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        sys.stdout.write(f"{options.run(settings, options)}\n")
    except (SinkFaultError, TimeoutError) as error:
        sys.stderr.write(f"spark_app.replay: {error}\n")
        return 1
    return 0


def dead_letters(settings: JobSettings, options: argparse.Namespace) -> str:
    """Send dead letters to the raw topic again, as they came; the job judges them anew."""
    kafka = Kafka(kafka_of(settings), settings.raw_topic, settings.dead_letter_topic)
    producer = require("confluent_kafka", "confluent-kafka").Producer(
        {
            **kafka_of(settings).librdkafka(),
            "enable.idempotence": True,
            "message.max.bytes": 16 * 1024 * 1024,
        }
    )
    sent = cut = 0
    for record in kafka.all_dead_letters():
        known = record_headers(record)
        if not known.get(headers.REASON, "").startswith(options.reason):
            continue
        if int(known.get(headers.ORIGINAL_SIZE, 0)) > len(record.value() or b""):
            cut += 1
            continue
        topic = known.get(headers.MQTT_TOPIC, "").split("/")
        again = [(name, value) for name, value in record.headers() if name not in _OWN]
        producer.produce(
            settings.raw_topic,
            key=(topic[2] if len(topic) > 2 else "/".join(topic)).encode(),  # noqa: PLR2004
            value=record.value(),
            headers=[*again, (headers.RESENT, b"1")],
        )
        sent += 1
        producer.poll(0)
    if left := producer.flush(_FLUSH_SECONDS):
        message = f"Kafka did not take {left} of {sent} records: is it up?"
        raise TimeoutError(message)
    return f"sent {sent} dead letters again" + (f"; {cut} are cut, and stay" if cut else "")


def archive(settings: JobSettings, options: argparse.Namespace) -> str:
    """Store archived readings whose capture is in a span of time."""
    writer = TimescaleWriter(database_of(settings), settings.late_after_seconds)
    total = Outcome()
    places: dict[tuple[str, int], int] = {}
    for topic, table in _objects(settings):
        captured = table["time"]
        inside = pc.and_(
            pc.greater_equal(captured, options.since), pc.less(captured, options.until)
        )
        readings = table.filter(inside)
        if readings.num_rows:
            total.add(writer.restore(_with_controls(readings, topic)))
            place = topic, readings["kafka_partition"][0].as_py()
            low = pc.min(readings["kafka_offset"]).as_py()
            places[place] = min(low, places.get(place, low))
    _execute(settings, _LEDGER, [(low, *place) for place, low in places.items()])
    present = total.rows_in - total.inserted
    return f"stored {total.inserted} of {total.rows_in} archived readings; {present} were there"


def offsets(settings: JobSettings, options: argparse.Namespace) -> str:
    """Have the query store begin at a time of Kafka's; for a job that is stopped."""
    kafka = Kafka(kafka_of(settings), settings.raw_topic, settings.dead_letter_topic)
    places = kafka.offsets_at(options.since)
    _execute(settings, _REWIND, [(settings.raw_topic, *place) for place in places.items()])
    return f"store begins at {places} once its checkpoint is set aside"


def _execute(settings: JobSettings, statement: str, values: list[tuple[object, ...]]) -> None:
    with (
        closing(database_of(settings).connect("replay")) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.executemany(statement, values)


def _objects(settings: JobSettings) -> Iterator[tuple[str, pa.Table]]:
    objects = objects_of(settings)
    for name in objects.names(ROOT):
        item = parse(name)
        if item is not None:
            yield item.topic, parquet.read_table(io.BytesIO(objects.get(name)))


def _with_controls(readings: pa.Table, topic: str) -> pa.Table:
    """Return readings as the job's writer takes them; they count for no latency."""
    columns: dict[str, Any] = {name: readings[name] for name in READING_COLUMNS}
    columns |= {name: pa.nulls(readings.num_rows, pa.int64()) for name in CONTROL_COLUMNS}
    constants = {
        "kafka_topic": pa.scalar(topic),
        "reason": pa.scalar(None, pa.string()),
        "payload_bytes": pa.scalar(0, pa.int32()),
        "clock_believed": pa.scalar(value=False),
        "resent": pa.scalar(value=True),
    }
    columns |= {name: pa.repeat(value, readings.num_rows) for name, value in constants.items()}
    return pa.table(columns)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m spark_app.replay", description=__doc__)
    kinds = parser.add_subparsers(required=True)
    letters = kinds.add_parser("dead-letters", help="dead letters, to the raw topic")
    letters.add_argument("--reason", default="", help="only those whose reason begins so")
    letters.set_defaults(run=dead_letters)
    archived = kinds.add_parser("archive", help="the archive, into the database")
    archived.add_argument("--since", type=_moment, required=True, help="captured from then on")
    archived.add_argument("--until", type=_moment, required=True, help="and before that")
    archived.set_defaults(run=archive)
    rewind = kinds.add_parser("offsets", help="from Kafka, into the database")
    rewind.add_argument("--since", type=_moment, required=True, help="appended from then on")
    rewind.set_defaults(run=offsets)
    return parser


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        message = f"{text!r}: expected a time with its zone, such as 2026-03-01T06:00:00Z"
        raise argparse.ArgumentTypeError(message)
    return moment


if __name__ == "__main__":
    sys.exit(main())
