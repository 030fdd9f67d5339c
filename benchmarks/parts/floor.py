"""MQTT straight into PostgreSQL: how long it takes with neither Kafka nor Spark between.

`direct` is the least there is: messages that came together are copied into a keyed table, committed
and then acknowledged. Telegraf does the same by its own means.
"""

import io
import json
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psycopg2

from benchmarks import relays
from benchmarks.figures import Figure, percentile
from benchmarks.load import Broker, Publisher, send_from_another_process
from benchmarks.options import Options
from benchmarks.processes import wait_for
from benchmarks.services import MissingError, Service, dsn, mosquitto, postgres
from bridge import mqtt

# Telegraf's names and types: all numbers of JSON are double precision to it.
_TABLE = """
DROP TABLE IF EXISTS mqtt_consumer;
CREATE TABLE mqtt_consumer (
    time timestamp, topic text, device_id text, ts text, seq double precision PRIMARY KEY,
    temperature double precision, humidity double precision
)
"""
_COPY = "COPY mqtt_consumer (topic, device_id, ts, seq, temperature, humidity) FROM STDIN"
_TELEGRAF = """
[[outputs.postgresql]]
connection = "{dsn}"
"""
_RATES = (100, 1000, 5000)
_SECONDS = 10
_FIRST = 1000  # the readings before are a warm-up
_POLL_SECONDS = 0.001

Times = npt.NDArray[np.int64]


def run(options: Options) -> list[Figure]:
    """Return the time from the publisher's send to the committed row."""
    figures: dict[str, list[float]] = {}
    ways: dict[str, Callable[[Path, int, str, int], Times]] = {
        "direct": _direct,
        "telegraf": _telegraf,
    }
    missing: dict[str, str] = {}
    with postgres(options.folder / "postgres") as server:
        for repeat in range(options.repeats):
            for rate in _RATES:
                for name in ways.keys() - missing.keys():
                    folder = options.folder / f"floor-{name}-{rate}-{repeat}"
                    folder.mkdir()
                    try:
                        took = _measure(ways[name], folder, server, rate, options)
                    except MissingError as error:
                        missing[name] = str(error)
                        continue
                    for percent in (50, 99):
                        key = f"floor.{name}_at_{rate}.p{percent}_ms"
                        figures.setdefault(key, []).append(percentile(took, percent))
    found = [Figure(name, "ms", values) for name, values in sorted(figures.items())]
    return found + [Figure(f"floor.{name}", "ms", [], why) for name, why in missing.items()]


def _measure(
    way: Callable[[Path, int, str, int], Times],
    folder: Path,
    server: Service,
    rate: int,
    options: Options,
) -> list[float]:
    """Return how long each reading took, in ms."""
    address = dsn(server)
    with (
        closing(psycopg2.connect(address)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(_TABLE)
    count = options.scaled(rate * _SECONDS)
    with mosquitto(folder / "mosquitto") as broker:
        committed: list[Times] = []
        work = threading.Thread(
            target=lambda: committed.append(way(folder, broker.port, address, count)), daemon=True
        )
        work.start()
        _await_reader(broker.port, address)
        with send_from_another_process(Broker(broker.port), rate, _FIRST, count, folder) as sent:
            sent_at = sent()
            work.join(60)
        if not committed:
            message = f"not all of {count} readings were committed within a minute"
            raise TimeoutError(message)
        took: list[float] = ((committed[0] - sent_at) / 1e6).tolist()
        return took


def _await_reader(port: int, address: str) -> None:
    publisher = Publisher(Broker(port))

    def arrives() -> bool:
        publisher.send_all(publisher.sent, 1)
        with closing(psycopg2.connect(address)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM mqtt_consumer")
            return bool(cursor.fetchall()[0][0])

    wait_for(arrives, "the first row")
    publisher.close()
    time.sleep(1)


def _direct(_folder: Path, port: int, address: str, count: int) -> Times:
    """Copy what comes; return when each reading was committed, ns since the epoch."""
    committed = np.zeros(count, dtype=np.int64)
    with closing(psycopg2.connect(address)) as database, database.cursor() as cursor:
        connection = mqtt.Connection("127.0.0.1", port, mqtt.Login("bench-reader"))
        connection.subscribe("sensors/+/+/telemetry")

        def store(messages: list[mqtt.Message]) -> None:
            rows = [(message.topic.decode(), *_columns(message.payload)) for message in messages]
            lines = "".join("\t".join(map(str, row)) + "\n" for row in rows)
            cursor.copy_expert(_COPY, io.StringIO(lines))
            database.commit()
            now = time.time_ns()
            connection.acknowledge([message.packet_id for message in messages])
            for row in rows:
                if row[3] >= _FIRST:
                    committed[row[3] - _FIRST] = now

        while not committed.all():
            connection.receive(store)
        connection.close()
    return committed


def _columns(payload: bytes) -> tuple[str, str, int, float, float]:
    document = json.loads(payload)
    return tuple(document[name] for name in ("device_id", "ts", "seq", "temperature", "humidity"))


def _telegraf(folder: Path, port: int, address: str, count: int) -> Times:
    """Run Telegraf; return when another connection saw each row, up to 1 ms late."""
    committed = np.zeros(count, dtype=np.int64)
    parser, _ = relays.JSON
    output = _TELEGRAF.format(dsn=address)
    with (
        relays.telegraf(folder, port, output, parser, flush="10ms", batch=100) as measured,
        closing(psycopg2.connect(address)) as database,
        database.cursor() as cursor,
    ):
        database.autocommit = True
        # Rows may be committed out of order: those of some seconds back are looked at again.
        while not committed.all():
            measured.check()
            known = int(np.argmin(committed != 0))
            cursor.execute("SELECT seq FROM mqtt_consumer WHERE seq >= %s", (_FIRST + known,))
            now = time.time_ns()
            seen = np.array([int(row[0]) for row in cursor.fetchall()], dtype=np.int64) - _FIRST
            new = seen[committed[seen] == 0]
            committed[new] = now
            time.sleep(_POLL_SECONDS)
    return committed
