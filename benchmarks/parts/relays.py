"""MQTT to Kafka: readings per second and core, and how long after publishing Kafka has one."""

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, TopicPartition

from benchmarks import relays
from benchmarks.figures import Figure, percentile
from benchmarks.load import Broker, Publisher, Times, send_from_another_process
from benchmarks.options import Options
from benchmarks.processes import Measured, wait_for
from benchmarks.services import MissingError, Service, Tail, create_topic, kafka, mosquitto

Relay = Callable[[Path, int, str, str], AbstractContextManager[Measured]]
RELAYS: dict[str, Relay] = {
    "bridge": relays.bridge,
    "telegraf": relays.telegraf_to_kafka(relays.JSON),
    "telegraf_text": relays.telegraf_to_kafka(relays.TEXT),
    "kcat": relays.kcat,
}
# The same, told to wait for little.
PROMPT: dict[str, Relay] = RELAYS | {
    "telegraf": relays.telegraf_to_kafka(relays.JSON, flush="10ms", batch=100),
    "telegraf_text": relays.telegraf_to_kafka(relays.TEXT, flush="10ms", batch=100),
    "kcat": partial(relays.kcat, prompt=True),
}
WARM_UP = 3000
_READINGS = 200_000
_BEYOND = 100  # readings that push the last ones out of a buffer between two programs
_RATE = 1000
_SECONDS = 20
_SEQ = re.compile(rb'seq\\?"[:=](\d+)')


def run(options: Options) -> list[Figure]:
    """Measure each relay in turn, and all of them again."""
    speed: dict[str, list[dict[str, float]]] = {name: [] for name in RELAYS}
    missing: dict[str, str] = {}
    with kafka(options.folder / "kafka") as broker:
        for repeat in range(options.repeats):
            for name, relay in RELAYS.items():
                if name in missing:
                    continue
                folder = options.folder / f"{name}-{repeat}"
                folder.mkdir()
                try:
                    figures = drain(relay, folder, broker, options.scaled(_READINGS))
                    count = options.scaled(_RATE * _SECONDS)
                    figures |= latency(PROMPT[name], folder, broker, count)
                except MissingError as error:
                    missing[name] = str(error)
                    continue
                speed[name].append(figures)
    return [
        Figure(f"relays.{name}.{key}", unit, [figures[key] for figures in speed[name]], note)
        for name in RELAYS
        for key, unit in _UNITS.items()
        for note in [missing.get(name, "")]
    ]


_UNITS = {
    "readings_per_second": "1/s",
    "readings_per_core_second": "1/s",
    "cpu_us_per_reading": "µs",
    "resident_mb": "MB",
    "written_bytes_per_reading": "B",
    "latency_p50_ms": "ms",
    "latency_p99_ms": "ms",
    "cpu_us_per_reading_when_steady": "µs",
}


def drain(relay: Relay, folder: Path, kafka_: Service, count: int) -> dict[str, float]:
    """Have the relay empty a full queue: nothing else runs but the two brokers.

    It is warm, connected and paused while the broker's queue is filled.
    """
    topic = f"drain-{folder.name}"
    create_topic(kafka_, topic)
    tail = Tail(kafka_, topic)
    with (
        mosquitto(folder / "mosquitto") as broker,
        relay(folder, broker.port, kafka_.address, topic) as measured,
    ):
        publisher = Publisher(Broker(broker.port))
        warm_up(publisher, measured, tail)
        start = tail.count()
        measured.pause()
        publisher.send_all(WARM_UP, count + _BEYOND)
        cpu, written = measured.cpu_seconds(), measured.written_bytes()
        measured.go_on()
        begin = time.monotonic()
        wait_for(lambda: tail.count() - start >= count, f"{count} readings in Kafka", 120)
        seconds = time.monotonic() - begin
        time.sleep(0.5)  # for what is done after the last record
        measured.check()
        cpu = measured.cpu_seconds() - cpu
        written = measured.written_bytes() - written
        resident = measured.resident_bytes()
        publisher.close()
        tail.close()
    return {
        "readings_per_second": count / seconds,
        "readings_per_core_second": count / cpu,
        "cpu_us_per_reading": cpu / count * 1e6,
        "resident_mb": resident / 1e6,
        "written_bytes_per_reading": written / count,
    }


def latency(relay: Relay, folder: Path, kafka_: Service, count: int) -> dict[str, float]:
    """Send at a steady rate; return percentiles of the time until a consumer has it from Kafka."""
    topic = f"latency-{folder.name}"
    create_topic(kafka_, topic)
    tail = Tail(kafka_, topic)
    with (
        mosquitto(folder / "mosquitto-latency") as broker,
        relay(folder, broker.port, kafka_.address, topic) as measured,
    ):
        publisher = Publisher(Broker(broker.port))
        warm_up(publisher, measured, tail)
        publisher.close()
        seen = _Seen(kafka_, topic)
        with send_from_another_process(
            Broker(broker.port), _RATE, WARM_UP, count + _BEYOND, folder
        ) as sent:
            cpu = measured.cpu_seconds()
            arrived = seen.collect(WARM_UP, count, 30 + count / _RATE)
            cpu = measured.cpu_seconds() - cpu
            took = (arrived - sent()[:count]) / 1e6
        tail.close()
    return {
        "latency_p50_ms": percentile(took.tolist(), 50),
        "latency_p99_ms": percentile(took.tolist(), 99),
        "cpu_us_per_reading_when_steady": cpu / count * 1e6,
    }


def warm_up(publisher: Publisher, measured: Measured, tail: Tail) -> None:
    """Send readings until Kafka has some, then wait for the rest of them."""

    # A relay says in no common way when its session is there; before that the broker keeps nothing.
    def arrives() -> bool:
        measured.check()
        publisher.send_all(0, 1)
        return tail.count() > 0

    wait_for(arrives, "the first reading in Kafka")
    before = _settled(tail)
    publisher.send_all(0, WARM_UP)
    wait_for(lambda: tail.count() - before >= WARM_UP, "the warm-up in Kafka")


def _settled(tail: Tail) -> int:
    """Return how many records there are once no more come."""
    last = -1
    while last != (now := tail.count()):
        last = now
        time.sleep(1.5)
    return last


class _Seen:
    """A consumer that notes when it has each reading."""

    def __init__(self, kafka_: Service, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": kafka_.address, "group.id": "seen"})
        partitions = [TopicPartition(topic, number) for number in range(4)]
        for partition in partitions:
            _, partition.offset = self._consumer.get_watermark_offsets(partition, timeout=10)
        self._consumer.assign(partitions)

    def collect(self, first: int, count: int, seconds: float) -> Times:
        """Return when each of so many readings was there, ns since the epoch."""
        arrived = np.zeros(count, dtype=np.int64)
        missing = count
        deadline = time.monotonic() + seconds
        while missing:
            message = self._consumer.poll(1)
            now = time.time_ns()
            if time.monotonic() > deadline:
                text = f"{missing} of {count} readings did not reach Kafka in {seconds:.0f} s"
                raise TimeoutError(text)
            if message is None or message.error() is not None:
                continue
            found = _SEQ.search(message.value() or b"")
            place = int(found[1]) - first if found else -1
            if 0 <= place < count and not arrived[place]:
                arrived[place] = now
                missing -= 1
        self._consumer.close()
        return arrived
