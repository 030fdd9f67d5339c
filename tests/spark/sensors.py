"""Readings for the streaming job, as the bridge brings them to Kafka, and its dead letters."""

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.services import Service
from benchmarks.store_job import DEAD, RAW, ends


@dataclass
class Sent:
    """What was produced: readings by device and number, and how many of each other kind."""

    readings: set[tuple[str, int]] = field(default_factory=set)
    others: Counter[str] = field(default_factory=Counter)


class Sensors:
    """Produces readings as the bridge does; each has a number of its own."""

    def __init__(self, kafka: Service) -> None:
        """Connect."""
        self._producer = Producer({"bootstrap.servers": kafka.address, "linger.ms": 1})
        self._number = 0
        self.sent = Sent()

    def send(self, count: int, pause: float = 0.0) -> None:
        """Send readings of several devices, with a pause after each."""
        for _ in range(count):
            self._number += 1
            self._send(self._number, {"temperature": 21.5, "humidity": 40.0})
            self._producer.poll(0)
            time.sleep(pause)
        self._producer.flush()

    def send_odd(self, kind: str, **fields: object) -> None:
        """Send one reading with more fields, which is not counted among the good ones."""
        self._number += 1
        self._send(self._number, {"temperature": 21.5} | fields, is_good=False)
        self.sent.others[kind] += 1
        self._producer.flush()

    def send_late(self, seconds: float) -> None:
        """Send a reading that was captured so many seconds ago."""
        self._number += 1
        self._send(self._number, {"temperature": 1.0, "ts": time.time() - seconds})
        self.sent.others["late"] += 1
        self._producer.flush()

    def send_twice(self) -> None:
        """Send one reading in two records."""
        self._number += 1
        again = {"temperature": 20.0, "ts": time.time()}
        for _ in range(2):
            self._send(self._number, again)
        self.sent.others["duplicate"] += 1
        self._producer.flush()

    def send_garbage(self) -> None:
        """Send what is no reading."""
        self._produce("dev0", b"{")
        self.sent.others["rejected"] += 1
        self._producer.flush()

    @contextlib.contextmanager
    def flowing(self) -> Iterator[None]:
        """Send some hundred readings a second while the block runs."""
        stop = threading.Event()

        def run() -> None:
            while not stop.is_set():
                self.send(1, 0.004)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _send(self, number: int, fields: dict[str, object], *, is_good: bool = True) -> None:
        device = f"dev{number % 7}"
        self._produce(
            device, json.dumps({"seq": number, "ts": time.time(), "device_id": device} | fields)
        )
        if is_good:
            self.sent.readings.add((device, number))

    def _produce(self, device: str, value: str | bytes) -> None:
        headers = {
            "mqtt_topic": f"sensors/lab/{device}/telemetry",
            "gateway": "gw1",
            "received_ns": str(time.time_ns()),
            "clock_quality": "synchronised",
            "clock_offset_ns": "1000",
            "spool_seq": str(self._number),
            "spool_waiting": "0",
        }
        self._producer.produce(RAW, value, device, headers=headers)


def dead_letters(kafka: Service) -> list[dict[str, str]]:
    """Return the headers of all dead letters."""
    consumer = Consumer({"bootstrap.servers": kafka.address, "group.id": "dead"})
    wanted = ends(kafka, DEAD)
    consumer.assign([TopicPartition(DEAD, number, 0) for number in wanted])
    letters = [consumer.consume(1, timeout=10)[0] for _ in range(sum(wanted.values()))]
    consumer.close()
    return [{name: value.decode() for name, value in letter.headers()} for letter in letters]
