"""The streaming job as a process of its own, on a Spark cluster of one executor."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
from confluent_kafka import Consumer, TopicPartition
from psycopg2.extensions import parse_dsn

from benchmarks.processes import end, wait_for
from benchmarks.services import ROOT, Service, artifact, free_port

RAW, DEAD = "sensor.raw", "sensor.dead_letter"
# A cluster that starts on a busy machine takes its time.
_SETTLE_SECONDS = 300
_SLOTS = 6
_EXECUTOR_MB = 1024


@dataclass
class StoreJob:
    """The job; S3 is not there, so *archive* waits, and *store* is alone.

    Attributes:
        folder: for the log, checkpoints and jars.
        dsn: of a migrated database, with the password.
        mode: of *store*, as in the job's settings.
        settings: further variables of the job.
        properties: further Spark properties.
    """

    folder: Path
    kafka: Service
    dsn: str
    mode: str
    settings: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    metrics_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        properties = self._properties() | self.properties
        submit = Path(sys.executable).with_name("spark-submit")
        options = [part for pair in properties.items() for part in ("--conf", "=".join(pair))]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(submit), *options, str(ROOT / "spark_app" / "job.py")],
                env=os.environ | self._settings() | self.settings,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> Path:
        """Return the file that the job writes to."""
        return self.folder / "log"

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            end(self.process)
            self.process = None

    def kill_executor(self) -> None:
        """Kill the executor, which Spark starts again."""
        (pid,) = self.pids("CoarseGrainedExecutorBackend")
        os.kill(pid, signal.SIGKILL)

    def pids(self, sign: str) -> list[int]:
        """Return the processes below the job's that have a text in their command line."""
        return [] if self.process is None else _descendants(self.process.pid, sign)

    def ask(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the database."""
        with closing(psycopg2.connect(self.dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(question, values)
            return cursor.fetchall() if cursor.description else []

    def metric(self, name: str) -> float | None:
        """Return one of the job's own metrics; None where it does not have it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics") as answer:
            text = answer.read().decode()
        found = re.search(rf"(?m)^{re.escape(name)} (\S+)$", text)
        return found and float(found[1])

    def settle(self) -> None:
        """Wait until the database has all that Kafka has."""
        wait_for(self._is_settled, f"the job to catch up ({self.log})", _SETTLE_SECONDS)

    def _is_settled(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            message = f"the job has ended: {self.log.read_text(encoding='utf-8')[-3000:]}"
            raise RuntimeError(message)
        places = dict(self.ask("SELECT partition, next_offset FROM kafka_position"))
        time.sleep(0.2)
        topic = self.settings.get("JOB_RAW_TOPIC", RAW)
        return places == {n: end for n, end in ends(self.kafka, topic).items() if end}

    def _settings(self) -> dict[str, str]:
        database = parse_dsn(self.dsn)
        return {
            "JOB_KAFKA_BOOTSTRAP_SERVERS": self.kafka.address,
            "JOB_DATABASE_HOST": database["host"],
            "JOB_DATABASE_PORT": str(database.get("port", 5432)),
            "JOB_DATABASE_NAME": database["dbname"],
            "JOB_DATABASE_USER": database["user"],
            "JOB_DATABASE_PASSWORD": database["password"],
            "JOB_S3_ENDPOINT": "http://127.0.0.1:9",
            "JOB_S3_ACCESS_KEY": "none",
            "JOB_S3_SECRET_KEY": "none",
            "JOB_CHECKPOINT_DIR": str(self.folder / "checkpoints"),
            "JOB_METRICS_PORT": str(self.metrics_port),
            "JOB_STORE_MODE": self.mode,
            "JOB_DETECT": "false",  # what is measured is store
            "PYTHONPATH": str(ROOT),
            "PYSPARK_PYTHON": sys.executable,
        }

    def _properties(self) -> dict[str, str]:
        # As the roles spark and streaming_job have it.
        connectors = f"{artifact('spark_kafka', self.folder)}/*"
        jars = [
            str(jar)
            for name in ("postgresql_jdbc", "store_writer")
            for jar in artifact(name, self.folder).glob("*.jar")
        ]
        return {
            "spark.master": f"local-cluster[1,{_SLOTS},{_EXECUTOR_MB}]",
            "spark.driver.memory": "512m",
            "spark.executor.memory": f"{_EXECUTOR_MB}m",
            "spark.driver.extraClassPath": connectors,
            "spark.executor.extraClassPath": connectors,
            "spark.jars": ",".join(jars),
            "spark.executorEnv.PYTHONPATH": str(ROOT),
            "spark.deploy.maxExecutorRetries": "-1",
            "spark.ui.enabled": "false",
            "spark.local.dir": str(self.folder / "local"),
        }


def ends(kafka: Service, topic: str) -> dict[int, int]:
    """Return for each partition the offset behind its last record."""
    consumer = Consumer({"bootstrap.servers": kafka.address, "group.id": "ends"})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    found = {
        number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
        for number in partitions
    }
    consumer.close()
    return found


def _descendants(pid: int, sign: str) -> list[int]:
    parents, commands = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        # It may have ended by now.
        with contextlib.suppress(OSError):
            number = int(folder.name)
            commands[number] = (folder / "cmdline").read_bytes().decode()
            parents[number] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])

    def is_below(one: int) -> bool:
        while one not in {0, pid}:
            one = parents.get(one, 0)
        return one == pid

    return [one for one in parents if is_below(one) and sign in commands[one]]
