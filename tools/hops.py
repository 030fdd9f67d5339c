"""Counts readings at each hop: gateway, Kafka, TimescaleDB, S3; and the latencies."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psycopg2
import psycopg2.extensions
import pyarrow.parquet as pq
import yaml
from confluent_kafka import Consumer, TopicPartition

from tools.identity import issue

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "inventories" / "demo"
BUCKET = "sensor-archive"
# Where the gateway takes what is published for any device, from who has a certificate.
PUBLISHERS_PORT = 8885
HOPS = ("gateway", "kafka", "timescaledb", "minio")


@dataclass(frozen=True)
class System:
    """Addresses of an installed system, and the folder of its secrets."""

    gateway: str
    core: str
    database: str
    secrets: Path

    @classmethod
    def demo(cls, network: str | None = None) -> System:
        """The demo's, from its inventory; the tests have the same hosts on another network."""
        inventory = yaml.safe_load((DEMO / "hosts.yml").read_text(encoding="utf-8"))["all"]
        network = network or str(inventory["vars"]["host_network"])
        groups = inventory["children"]
        groups = {**groups, **groups["core"]["children"]}
        gateway, core, database = (
            next(iter(groups[name]["hosts"].values()))["host_ip"]
            for name in ("gateway", "kafka", "database")
        )
        place = "{{ host_network }}"
        return cls(
            gateway.replace(place, network),
            core.replace(place, network),
            database.replace(place, network),
            DEMO / ".secrets",
        )

    def secret(self, name: str) -> str:
        """One of the secrets that the inventory made at random."""
        return (self.secrets / name).read_text(encoding="utf-8").strip()

    def authority(self, name: str) -> Path:
        """The certificate of one of its authorities."""
        return self.secrets / "ca" / f"{name}.crt"

    def publisher(self) -> dict[str, str]:
        """Files of the account that may publish for any device, as options of the simulator."""
        files = self.secrets / "clients" / "publishers"
        return {
            "authorities": str(self.authority("ca1")),
            "certificate": str(files / "simulator.crt"),
            "key": str(files / "simulator.key"),
        }

    def kafka(self, name: str = "monitor") -> dict[str, str]:
        """A client's settings for its Kafka; `admin` may do all, `monitor` may look."""
        certificate, key = issue(self.authority("kafka1").with_suffix(""), name)
        return {
            "bootstrap.servers": f"{self.core}:9092",
            "security.protocol": "ssl",
            "ssl.ca.location": str(self.authority("kafka1")),
            "ssl.certificate.pem": certificate,
            "ssl.key.pem": key,
        }

    def simulate(self, *options: str) -> subprocess.Popen[str]:
        """Starts the simulator against the gateway, as its publisher."""
        login = [f"--{name}={file}" for name, file in self.publisher().items()]
        where = ["--host", self.gateway, "--port", str(PUBLISHERS_PORT)]
        command = [sys.executable, "-m", "simulator", *where, *login, *options]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@dataclass
class Hops:
    """Connections to the hops; counts are those of all readings, since the hosts began."""

    system: System
    archived: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Connects to what stays connected."""
        self.database = self.connect()
        self.consumer = Consumer(
            # Quiet while a broker is away.
            {**self.system.kafka(), "group.id": "monitor", "log_level": 0}
        )
        self.objects = boto3.client(
            "s3",
            endpoint_url=f"https://{self.system.core}:9000",
            aws_access_key_id="reader",
            aws_secret_access_key=self.system.secret("s3_reader"),
            verify=str(self.system.authority("ca1")),
            region_name="us-east-1",
        )

    def connect(self) -> psycopg2.extensions.connection:
        """A connection to the database, as the user who may read."""
        connection = psycopg2.connect(
            host=self.system.database,
            dbname="sensordb",
            user="sensor_reader",
            password=self.system.secret("database_reader"),
            sslmode="verify-full",
            sslrootcert=str(self.system.authority("ca1")),
            connect_timeout=10,
        )
        connection.autocommit = True
        return connection

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """The rows of a statement; connects again where the database went down in between."""
        try:
            return self.rows(statement, parameters)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            self.database = self.connect()
            return self.rows(statement, parameters)

    def rows(self, statement: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
        """The rows of a statement over the present connection."""
        with self.database.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def gateway(self) -> int:
        """Messages that the bridge received from Mosquitto."""
        url = f"http://{self.system.gateway}:9101/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
        found = re.search(r"(?m)^bridge_received_total ([0-9.e+]+)", text)
        return int(float(found[1])) if found else 0

    def kafka(self) -> int:
        """Records in the topic of raw messages."""
        topics = self.consumer.list_topics("sensor.raw", timeout=10).topics
        total = 0
        for number in topics["sensor.raw"].partitions:
            partition = TopicPartition("sensor.raw", number)
            total += self.consumer.get_watermark_offsets(partition, timeout=10)[1]
        return total

    def timescaledb(self) -> int:
        """Rows of sensor_data."""
        return int(self.query("SELECT count(*) FROM sensor_data")[0][0])

    def minio(self) -> int:
        """Rows in the Parquet objects of the archive, by their own footers."""
        pages = self.objects.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        for page in pages:
            for item in page.get("Contents", []):
                if item["Key"] not in self.archived:
                    body = self.objects.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
                    self.archived[item["Key"]] = pq.read_metadata(io.BytesIO(body)).num_rows
        return sum(self.archived.values())

    def counts(self) -> dict[str, int]:
        """All hops, in the order of a reading's way."""
        return {name: getattr(self, name)() for name in HOPS}

    def stages(self, window: str) -> list[dict[str, Any]]:
        """The four stages' figures over a window such as `10 seconds`."""
        rows = self.query(
            "SELECT stage, p50_ms, p95_ms, p99_ms, samples "
            "FROM get_pipeline_latency_stats(%s::interval)",
            window,
        )
        return [dict(zip(("stage", "p50", "p95", "p99", "samples"), r, strict=True)) for r in rows]
