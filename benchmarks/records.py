"""Readings straight into Kafka, as the bridge would write them.

`python -m benchmarks.records --topic T --rate R --count N`, in a process of its own, as it takes a
processor's fifth at 5,000 readings/s; rate 0 is as fast as it can. Its standard input says how to
reach Kafka, as JSON with settings of librdkafka: no list of processes shows a key.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping

from confluent_kafka import Producer

from benchmarks.load import DEVICES
from benchmarks.services import ROOT

_FULL_SECONDS = 0.01


def produce(kafka: Mapping[str, str], topic: str, rate: float, count: int, fleet: str) -> None:
    """Send so many readings of a fleet's devices, and wait until Kafka has them.

    Args:
        kafka: settings of librdkafka, by which a broker is reached.
        topic: of raw messages.
        rate: readings per second; 0: no limit.
        count: of readings.
        fleet: what the devices' names begin with; each counts from 0.
    """
    producer = Producer({**kafka, "linger.ms": 1, "acks": "all"})
    start = time.time()
    for number in range(count):
        due = start + number / rate if rate else 0
        while (left := due - time.time()) > 0:
            producer.poll(0)
            time.sleep(min(left, 0.001))
        device, value, headers = record(number, fleet)
        while True:
            try:
                producer.produce(topic, value, device, headers=headers)
                break
            except BufferError:
                producer.poll(_FULL_SECONDS)
    producer.flush()


@contextlib.contextmanager
def from_another_process(
    kafka: Mapping[str, str], topic: str, rate: float, count: int, fleet: str
) -> Iterator[subprocess.Popen[str]]:
    """Send while the block goes on; at its end, wait for the last reading."""
    options = {"topic": topic, "rate": rate, "count": count, "fleet": fleet}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "benchmarks.records", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, text=True) as process:
        try:
            if process.stdin:
                process.stdin.write(json.dumps(dict(kafka)))
                process.stdin.close()
            yield process
            process.wait(60 + (count / rate if rate else 0))
        finally:
            process.kill()


def record(number: int, fleet: str) -> tuple[str, str, dict[str, str | bytes | None]]:
    """Return device, payload and headers of a fleet's reading, as a bridge would send it now."""
    now = time.time_ns()
    device = f"{fleet}-{number % DEVICES:03d}"
    values = {"temperature": 20 + number % 100 / 10, "humidity": 40 + number % 200 / 10}
    identity = {"device_id": device, "ts": now / 1e9, "seq": number // DEVICES}
    headers: dict[str, str | bytes | None] = {
        "mqtt_topic": f"sensors/bench/{device}/telemetry",
        "gateway": "bench",
        "received_ns": str(now),
        "clock_quality": "synchronised",
        "clock_offset_ns": "0",
        "clock_error_ns": "50000",
        "spool_id": "bench",
        "spool_seq": str(number),
        "spool_waiting": "0",
    }
    return device, json.dumps(identity | values), headers


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.records", description=__doc__)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--rate", type=float, default=0, help="readings per second")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--fleet", default="bench", help="name of the devices (%(default)s)")
    options = parser.parse_args()
    produce(json.load(sys.stdin), **vars(options))


if __name__ == "__main__":
    main()
