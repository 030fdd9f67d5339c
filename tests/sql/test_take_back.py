"""Where a Kafka that lost its log's end in a power cut leaves the places in the database."""

from contextlib import closing

import psycopg2
from readings import ask

from spark_app.realtime import take_back


def test_places_behind_kafkas_log_go_back_to_its_end(dsn: str) -> None:
    with closing(psycopg2.connect(dsn)) as connection:
        ask(
            connection,
            "INSERT INTO kafka_position (topic, partition, first_offset, batch_id, next_offset) "
            "VALUES ('raw', 0, 90, 1, 100), ('raw', 1, 70, 1, 100), ('raw', 2, 90, 1, 100), "
            "('other', 0, 90, 1, 100) RETURNING 1",
        )
        ask(
            connection,
            "INSERT INTO ledger_progress (topic, partition, done) "
            "VALUES ('raw', 0, 100), ('raw', 1, 60), ('raw', 2, 95) RETURNING 1",
        )
        take_back(connection, "raw", {0: (0, 80), 1: (0, 80), 2: (0, 100)})
        places = ask(
            connection,
            "SELECT topic, partition, first_offset, next_offset FROM kafka_position ORDER BY 1, 2",
        )
        assert places == [
            ("other", 0, 90, 100),
            ("raw", 0, 80, 80),
            ("raw", 1, 70, 80),
            ("raw", 2, 90, 100),
        ]
        done = ask(connection, "SELECT done FROM ledger_progress ORDER BY partition")
        assert done == [(80,), (60,), (95,)]
