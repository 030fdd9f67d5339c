"""Time what noting minutes adds to an INSERT: `python -m benchmarks.insert_notes --dsn DSN`.

Readings go in as the job's sink stores them: from a staging table, each statement a transaction.
"""

import argparse
from contextlib import closing
from typing import Any

import psycopg2

from benchmarks.scratch import database, milliseconds, say, summary, versions

_STAGING = "CREATE TEMPORARY TABLE staging AS SELECT * FROM sensor_data WITH NO DATA"
_FILL = """
INSERT INTO staging (time, device_id, seq, temperature, humidity, dew_point, absolute_humidity,
    measurements, quality_flags, site, room, model, gateway, received_at, appended_at, read_at,
    batch_id, kafka_partition, kafka_offset)
SELECT date_trunc('minute', now()) - %(age)s::interval, 'device-' || n %% %(devices)s, n, 21.5,
    45.25, 9.1, 8.5, '{}', '{}', 'site', 'room', 'model', 'gw1', now(), now(), now(), 1, 0, n
FROM generate_series(1, %(rows)s) AS n
"""
_INSERT = """
INSERT INTO sensor_data SELECT * FROM staging
ON CONFLICT (device_id, time, seq) DO NOTHING RETURNING kafka_partition, kafka_offset
"""
# So that the rows of the next turn are new.
_ADVANCE = "UPDATE staging SET seq = seq + 1000000"
# Taking turns evens out what else the machine does.
_TURNS = 10


def measure(cursor: Any, statements: int, load: dict[str, object]) -> None:  # noqa: ANN401
    """Print a table row for one kind of load, without and with the trigger."""
    cursor.execute("TRUNCATE staging, sensor_data, sensor_data_changed")
    cursor.execute(_FILL, load)
    took: dict[str, list[float]] = {"DISABLE": [], "ENABLE": []}
    for turn in range(2 * _TURNS):
        state = list(took)[turn % 2]
        cursor.execute(f"ALTER TABLE sensor_data {state} TRIGGER note_changed")
        for _ in range(statements // _TURNS):
            cursor.execute(_ADVANCE)
            took[state].extend(milliseconds(lambda: cursor.execute(_INSERT), 1))
    cells = " | ".join(summary(times) for times in took.values())
    say(f"| {load['rows']} | {load['devices']} | {load['age']} | {cells} |")


def main() -> None:
    """Measure statements of several sizes, of the running minute and late."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.insert_notes", description=__doc__)
    parser.add_argument("--dsn", required=True, help="role that may create databases, extensions")
    parser.add_argument("--statements", type=int, default=200, help="timed statements of each kind")
    arguments = parser.parse_args()
    with (
        database(arguments.dsn) as dsn,
        closing(psycopg2.connect(dsn)) as connection,
        connection.cursor() as cursor,
    ):
        connection.autocommit = True
        say(versions(cursor))
        say("\n| rows | devices | age | without, median ms | p95 | with, median ms | p95 |")
        say("|---|---|---|---|---|---|---|")
        cursor.execute(_STAGING)
        for rows, devices, age in (
            (5, 5, "0 minutes"),
            (1000, 10, "0 minutes"),
            (1000, 1000, "0 minutes"),
            (1000, 10, "7 days"),
            (1000, 1000, "7 days"),
        ):
            load = {"rows": rows, "devices": devices, "age": age}
            measure(cursor, arguments.statements, load)


if __name__ == "__main__":
    main()
