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
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.latencies import STAGES, histogram, percentiles
from benchmarks.processes import wait_for
from benchmarks.records import from_another_process
from benchmarks.scratch import database, say
from benchmarks.services import Service, create_topic, kafka
from benchmarks.store_job import DEAD, RAW, StoreJob

MODES = ("micro-batch", "real-time")
# Until the JVM has compiled what matters.
_WARM_UP_SECONDS = 30
_WARM_UP_RATE = 1000
# Names of processes of the job, and what their command lines have.
_PROCESSES = {
    "driver": "org.apache.spark.deploy.SparkSubmit",
    "executor": "CoarseGrainedExecutorBackend",
    "python": "pyspark.daemon",
    "job": "job.py",
}
# As the role `kafka` has it: a record is stamped when it is appended.
_AS_ON_HOSTS = {"message.timestamp.type": "LogAppendTime"}


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
    for stage in STAGES:
        found = histogram(job.ask, stage, start, end)
        figures[stage] = {name: round(value, 2) for name, value in percentiles(found).items()}
        figures[stage] |= {
            "max": round((found.greatest or 0) / 1000, 2),
            "samples": found.samples,
        }
    figures["resident_mb"] = {
        name: round(sum(map(_resident_mb, job.pids(sign)))) for name, sign in _PROCESSES.items()
    }
    figures["cpu_us_per_reading"] = round(1e6 * cpu / (rate * options.seconds), 1)
    say(json.dumps(figures))
    return figures


def _load(
    broker: Service, mode: str, rate: int, seconds: int
) -> AbstractContextManager[subprocess.Popen[str]]:
    # Each load has devices of its own, as each counts from 0.
    fleet = f"{mode}-{time.time():.0f}"
    kafka = {"bootstrap.servers": broker.address}
    return from_another_process(kafka, f"{mode}-{RAW}", rate, rate * seconds, fleet)


def _cpu_seconds(job: StoreJob) -> float:
    total = 0.0
    for pid in job.pids(""):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / 100
    return total


def _resident_mb(pid: int) -> float:
    # What several processes share counts once.
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    return int(text.partition("\nPss:")[2].split()[0]) * 1024 / 1e6


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    return dict(text.split("=", 1) for text in texts)


if __name__ == "__main__":
    sys.exit(main())
