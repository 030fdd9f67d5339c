"""Mosquitto, Kafka and PostgreSQL of a benchmark's own, on loopback, in a temporary folder."""

import contextlib
import functools
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.processes import Measured, running, wait_for

ROOT = Path(__file__).resolve().parents[1]
CACHE = (
    Path(os.environ.get("EDGE_CACHE") or Path.home() / ".cache" / "edge-telemetry") / "artifacts"
)
_DEBIAN_PATHS = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_MOSQUITTO = """
listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 65535
log_dest stderr
log_type error
{persistence}
"""
# As role `mosquitto` has it, for what is measured of the gateway's disk.
PERSISTENT = """
persistence true
persistence_location {folder}/
autosave_on_changes true
autosave_interval 1
"""
_KAFKA = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
log.dirs={folder}/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.cleaner.dedupe.buffer.size=16777216
"""
_KAFKA_HEAP = "512m"


class MissingError(RuntimeError):
    """A program is not installed; the text says which, and how to have it."""


@dataclass(frozen=True)
class Service:
    """A service that runs: where it listens and its processes."""

    port: int
    measured: Measured

    @property
    def address(self) -> str:
        """Return host and port."""
        return f"127.0.0.1:{self.port}"


def program(name: str, package: str) -> str:
    """Return where a program is.

    Raises:
        MissingError: nowhere.
    """
    found = shutil.which(name, path=_DEBIAN_PATHS)
    if found is None:
        message = f"{name} is not installed: apt-get install {package}"
        raise MissingError(message)
    return found


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Tell whether somebody listens on a port of the loopback interface."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def mosquitto(folder: Path, persistence: str = "") -> Iterator[Service]:
    """Run a broker that queues without bound; `persistence` is added to its configuration."""
    path = program("mosquitto", "mosquitto")
    port = free_port()
    folder.mkdir()
    configuration = folder / "mosquitto.conf"
    text = _MOSQUITTO.format(port=port, persistence=persistence.format(folder=folder))
    configuration.write_text(text, encoding="utf-8")
    # As root it would become the user mosquitto, who may not enter the folder.
    command = [path, "-c", configuration]
    if os.getuid() == 0 and persistence:
        configuration.write_text(text + "user root\n", encoding="utf-8")
    with running(command, folder / "log") as process:
        wait_for(lambda: listens(port), "Mosquitto")
        yield Service(port, Measured(process))


@contextlib.contextmanager
def kafka(folder: Path) -> Iterator[Service]:
    """Run a single Kafka broker, the release and jars that the project installs on hosts."""
    java = program("java", "default-jdk-headless")
    folder.mkdir()
    with tarfile.open(_archive("kafka")) as tar:
        tar.extractall(folder, filter="data")
    port, controller = free_port(), free_port()
    settings = folder / "server.properties"
    settings.write_text(
        _KAFKA.format(port=port, controller=controller, folder=folder), encoding="utf-8"
    )
    run = [java, f"-Xmx{_KAFKA_HEAP}", f"-Xms{_KAFKA_HEAP}", "-cp", f"{folder}/libs/*"]
    storage = ["kafka.tools.StorageTool", "format", "--standalone", "-c", str(settings)]
    subprocess.run(
        [*run, *storage, "-t", "YmVuY2htYXJrLW9ubHktMQ"], check=True, capture_output=True
    )
    with running([*run, "kafka.Kafka", settings], folder / "log") as process:
        service = Service(port, Measured(process))
        wait_for(lambda: _answers(service), "Kafka", 60)
        yield service


def create_topic(
    service: Service, name: str, partitions: int = 4, config: dict[str, str] | None = None
) -> None:
    """Make a topic, and wait until the broker leads all of it."""
    admin = AdminClient({"bootstrap.servers": service.address})
    topic = NewTopic(name, partitions, 1, config=config or {})
    for future in admin.create_topics([topic]).values():
        future.result(20)
    tail = Tail(service, name, partitions)
    wait_for(tail.is_there, f"topic {name}")
    tail.close()


class Tail:
    """Tells how many records a topic has."""

    def __init__(self, service: Service, topic: str, partitions: int = 4) -> None:
        """Connect."""
        self._consumer = Consumer({"bootstrap.servers": service.address, "group.id": "tail"})
        self._partitions = [TopicPartition(topic, number) for number in range(partitions)]

    def count(self) -> int:
        """Ask the broker for the ends of all partitions."""
        return sum(
            self._consumer.get_watermark_offsets(partition, timeout=10)[1]
            for partition in self._partitions
        )

    def is_there(self) -> bool:
        """Tell whether a broker leads all partitions; of a new topic it takes a moment."""
        try:
            self.count()
        except KafkaException:
            return False
        return True

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[Service]:
    """Run a PostgreSQL server that syncs each commit; `dsn` says how to get in."""
    initdb = _postgres_program("initdb")
    folder.mkdir()
    # It refuses to be root.
    user = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else None
    if user is not None:
        os.chown(folder, user, user)
    data = folder / "data"
    with running(
        [initdb, "-D", data, "-U", "bench", "--auth=trust", "-E", "UTF8", "--locale=C"],
        folder / "initdb.log",
        user=user,
    ) as process:
        if process.wait(120):
            message = f"initdb failed: {(folder / 'initdb.log').read_text(encoding='utf-8')}"
            raise RuntimeError(message)
    port = free_port()
    settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": port}
    tuned = {"shared_buffers": "256MB", "max_wal_size": "4GB", "timezone": "UTC"}
    options = [f"-c{name}={value}" for name, value in {**settings, **tuned}.items()]
    command = [_postgres_program("postgres"), "-D", data, *options]
    with running(command, folder / "log", user=user) as process:
        service = Service(port, Measured(process))
        wait_for(lambda: _lets_in(service), "PostgreSQL")
        yield service


def dsn(server: Service) -> str:
    """Return how to connect to a server of `postgres`."""
    return f"host=127.0.0.1 port={server.port} user=bench dbname=postgres sslmode=disable"


def _lets_in(server: Service) -> bool:
    server.measured.check()
    try:
        psycopg2.connect(dsn(server)).close()
    except psycopg2.OperationalError:  # it is still starting
        return False
    return True


def _postgres_program(name: str) -> str:
    # Debian keeps them out of the path.
    versions = Path("/usr/lib/postgresql")
    found = sorted(versions.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return str(found[-1]) if found else program(name, "postgresql")


def _answers(service: Service) -> bool:
    service.measured.check()
    try:
        AdminClient({"bootstrap.servers": service.address, "log_level": 0}).list_topics(timeout=1)
    except KafkaException:
        return False
    return True


@functools.cache
def _archive(name: str) -> Path:
    """Return an artifact's archive as the role `artifact` has it; fetched if it is not there."""
    fetch = ROOT / "roles" / "artifact" / "files" / "fetch.py"
    outcome = subprocess.run(
        [sys.executable, str(fetch), name, "--cache", str(CACHE)],
        check=True,
        stdout=subprocess.PIPE,
    )
    return Path(json.loads(outcome.stdout)[name]["archive"])


def artifact(name: str, folder: Path) -> Path:
    """Unpack an artifact of jars below a folder, and return the folder that has them."""
    with tarfile.open(_archive(name)) as tar:
        tar.extractall(folder / name, filter="data")
    return folder / name / "libs"
