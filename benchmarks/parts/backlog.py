"""Days without an uplink: a million readings in the spool drain while new ones come."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from benchmarks import relays
from benchmarks.figures import Figure
from benchmarks.load import Broker, Publisher, send_from_another_process
from benchmarks.options import Options
from benchmarks.parts.relays import WARM_UP, warm_up
from benchmarks.processes import Measured, wait_for
from benchmarks.services import Tail, create_topic, kafka, mosquitto

_READINGS = 1_000_000
_LIVE_RATE = 1000
_MOST_SECONDS = 300
_TOPIC = "backlog"


def run(options: Options) -> list[Figure]:
    """Fill the spool while Kafka hangs, then have Kafka go on under a live load."""
    count = options.scaled(_READINGS)
    folder = options.folder / "backlog"
    folder.mkdir()
    with kafka(folder / "kafka") as broker, mosquitto(folder / "mosquitto") as mqtt:
        create_topic(broker, _TOPIC)
        tail = Tail(broker, _TOPIC)
        with relays.bridge(folder, mqtt.port, broker.address, _TOPIC) as bridge:
            publisher = Publisher(Broker(mqtt.port))
            warm_up(publisher, bridge, tail)
            already = _spooled(folder)
            broker.measured.pause()
            publisher.send_all(WARM_UP, count)
            wait_for(lambda: _spooled(folder) >= already + count, "the spool", _MOST_SECONDS)
            publisher.close()
            before = bridge.resident_bytes()
            first, enough = WARM_UP + count, _LIVE_RATE * _MOST_SECONDS
            with send_from_another_process(Broker(mqtt.port), _LIVE_RATE, first, enough, folder):
                broker.measured.go_on()
                rate, peak = _drain(bridge, tail, count)
        tail.close()
    note = f"{count:,} readings behind {_LIVE_RATE}/s of new ones, one run"
    return [
        Figure("backlog.drained_per_second", "1/s", [rate], note),
        Figure("backlog.times_the_live_rate", "", [rate / _LIVE_RATE], note),
        Figure("backlog.resident_before_mb", "MB", [before / 1e6], note),
        Figure("backlog.resident_peak_mb", "MB", [peak / 1e6], note),
    ]


def _drain(bridge: Measured, tail: Tail, count: int) -> tuple[float, int]:
    """Return how fast the backlog went, readings/s, and the most memory meanwhile, bytes."""
    already = tail.count()
    wait_for(lambda: tail.count() > already, "Kafka to go on", _MOST_SECONDS)
    peak, begin, end = 0, time.monotonic(), already + count
    # The spool is sent in order: the next `count` records are the backlog, whatever comes behind.
    while (done := tail.count()) < end and time.monotonic() - begin < _MOST_SECONDS:
        bridge.check()
        peak = max(peak, bridge.resident_bytes())
        time.sleep(0.1)
    return (done - already) / (time.monotonic() - begin), peak


def _spooled(folder: Path) -> int:
    with closing(sqlite3.connect(f"file:{folder}/spool/spool.db?mode=ro", uri=True)) as database:
        row = database.execute("SELECT max(seq) FROM sqlite_sequence").fetchone()
    return int(row[0] or 0)
