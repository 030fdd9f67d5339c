"""From Kafka to the committed row: latency of both modes of the store query, at several rates.

`python -m benchmarks.store_latency DSN`: DSN of a role that may create databases and extensions.
A reading is captured when it is handed to Kafka's producer, on this machine; when it is committed,
the job says (pipeline_kpi). The two modes run one after the other against one Kafka.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.processes import wait_for
from benchmarks.scratch import database, say
from benchmarks.services import Service, create_topic, kafka
from benchmarks.store_job import DEAD, RAW, StoreJob
from spark_app.histogram import Histogram

MODES = ("micro-batch", "real-time")
# Until the JVM has compiled what matters.
_WARM_UP_SECONDS = 30
_WARM_UP_RATE = 1000
_STAGES = ("mqtt_to_kafka", "kafka_to_spark", "spark_to_timescaledb", "total_pipeline_latency")
# As the role `kafka` has it: a record is stamped when it is appended.
_AS_ON_HOSTS = {"message.timestamp.type": "LogAppendTime"}
_FIGURES = """
SELECT bucket_index, bucket_count, min_ms, max_ms, sum_ms, negative_count FROM pipeline_kpi
WHERE metric_name = %s AND time >= %s AND time < %s
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dsn")
    parser.add_argument("--modes", nargs="+", default=MODES, choices=MODES)
    parser.add_argument("--rates", nargs="+", type=int, default=(100, 500, 1000, 5000))
    parser.add_argument("--seconds", type=int, default=20, help="measured at each rate")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--set", action="append", default=[], metavar="JOB_X=Y")
    parser.add_argument("--conf", action="append", default=[], metavar="spark.x=y")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    found = list(_measure(options))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0


def _measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name, kafka(Path(name) / "kafka") as broker:
        for mode in options.modes:
            create_topic(broker, f"{mode}-{RAW}", options.partitions, _AS_ON_HOSTS)
            create_topic(broker, f"{mode}-{DEAD}", 1)
            with _job(Path(name) / mode, broker, mode, options) as job:
                for rate in options.rates:
                    yield _at_rate(job, rate, options)


@contextmanager
def _job(
    folder: Path, broker: Service, mode: str, options: argparse.Namespace
) -> Iterator[StoreJob]:
    folder.mkdir()
    with database(options.dsn) as dsn:
        topics = {"JOB_RAW_TOPIC": f"{mode}-{RAW}", "JOB_DEAD_LETTER_TOPIC": f"{mode}-{DEAD}"}
        chosen = topics | _pairs(options.set)
        job = StoreJob(folder, broker, dsn, mode, chosen, _pairs(options.conf))
        job.start()
        try:
            with _load(broker, mode, _WARM_UP_RATE, 1):
                wait_for(lambda: job.ask("SELECT 1 FROM sensor_data LIMIT 1"), "a reading", 300)
            with _load(broker, mode, _WARM_UP_RATE, _WARM_UP_SECONDS):
                pass
            job.settle()
            yield job
        finally:
            job.stop()


def _at_rate(job: StoreJob, rate: int, options: argparse.Namespace) -> dict[str, Any]:
    # The first seconds at a rate fill caches and catch up, and are left out.
    with _load(job.kafka, job.mode, rate, options.seconds + 5):
        time.sleep(4)
        cpu, start = _cpu_seconds(job), datetime.now(UTC)
        time.sleep(options.seconds)
        cpu, end = _cpu_seconds(job) - cpu, datetime.now(UTC)
    time.sleep(3)
    figures: dict[str, Any] = {"mode": job.mode, "rate": rate}
    for stage in _STAGES:
        histogram = Histogram()
        for indexes, counts, least, greatest, total, negative in job.ask(
            _FIGURES, stage, start, end
        ):
            buckets = dict(zip(indexes, counts, strict=True))
            micros = [round(1000 * value) for value in (total, least, greatest)]
            histogram.add(Histogram(buckets, micros[0], micros[1], micros[2], negative))
        figures[stage] = {
            f"p{share:g}": round(histogram.percentile(share / 100) / 1000, 2)
            for share in (50, 95, 99)
        } | {"max": round((histogram.greatest or 0) / 1000, 2), "samples": histogram.samples}
    figures["cpu_us_per_reading"] = round(1e6 * cpu / (rate * options.seconds), 1)
    say(json.dumps(figures))
    return figures


@contextmanager
def _load(broker: Service, mode: str, rate: int, seconds: int) -> Iterator[None]:
    command = [sys.executable, "-c", _PRODUCE, broker.address, f"{mode}-{RAW}"]
    with subprocess.Popen([*command, str(rate), str(seconds)]) as process:
        try:
            yield
            process.wait(seconds + 30)
        finally:
            process.kill()


def _cpu_seconds(job: StoreJob) -> float:
    total = 0.0
    for pid in job.pids(""):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / 100
    return total


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    return dict(text.split("=", 1) for text in texts)


# A process of its own, as it takes a processor's fifth at 5,000 readings/s.
_PRODUCE = """
import itertools, json, sys, time
from confluent_kafka import Producer
address, topic, rate, seconds = *sys.argv[1:3], float(sys.argv[3]), float(sys.argv[4])
producer = Producer({"bootstrap.servers": address, "linger.ms": 1, "acks": "all"})
start = time.time()
for number in itertools.count():
    due = start + number / rate
    if due > start + seconds:
        break
    while (left := due - time.time()) > 0:
        producer.poll(0)
        time.sleep(min(left, 0.001))
    now = time.time_ns()
    device = f"bench-{number % 50:03d}"
    value = json.dumps({"device_id": device, "ts": now / 1e9, "seq": now // 1000,
                        "temperature": 20 + number % 100 / 10, "humidity": 40 + number % 200 / 10})
    headers = {"mqtt_topic": f"sensors/bench/{device}/telemetry", "gateway": "bench",
               "received_ns": str(now), "clock_quality": "synchronised", "clock_offset_ns": "0",
               "clock_error_ns": "50000", "spool_id": "bench", "spool_seq": str(number),
               "spool_waiting": "0"}
    producer.produce(topic, value, device, headers=headers)
producer.flush()
"""


if __name__ == "__main__":
    sys.exit(main())
