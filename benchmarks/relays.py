"""What carries readings from MQTT to Kafka: our bridge and its peers, each as one would run it."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.processes import Measured, end, running
from benchmarks.services import CACHE, ROOT, free_port, program

# No list of tags is given by upstream; these are what the two configurations below need.
_TELEGRAF_VERSION = "v1.37.2"
_TELEGRAF_TAGS = (
    "custom,inputs.mqtt_consumer,outputs.kafka,outputs.postgresql,"
    "parsers.json,parsers.value,serializers.json,serializers.influx"
)
_TELEGRAF_AGENT = """
[agent]
flush_interval = "{flush}"
metric_batch_size = {batch}
metric_buffer_limit = 200000
omit_hostname = true
[[inputs.mqtt_consumer]]
servers = ["tcp://127.0.0.1:{mqtt}"]
topics = ["sensors/+/+/telemetry"]
qos = 1
persistent_session = true
client_id = "bench-reader"
max_undelivered_messages = 50000
{parser}
"""
_TELEGRAF_KAFKA = """
[[outputs.kafka]]
brokers = ["{kafka}"]
topic = "{topic}"
required_acks = -1
compression_codec = 3
{serializer}
"""
# Parses each reading, as Telegraf is meant to be used; key by device, as the bridge does it.
JSON = (
    'data_format = "json"\njson_string_fields = ["ts"]\ntag_keys = ["device_id"]',
    'data_format = "json"\nrouting_tag = "device_id"',
)
# Carries the payload as one text, unparsed: the least that it can do.
TEXT = (
    'data_format = "value"\ndata_type = "string"',
    'data_format = "influx"',
)


@contextlib.contextmanager
def bridge(
    folder: Path, mqtt: int, kafka: str, topic: str, python: str = sys.executable
) -> Iterator[Measured]:
    """Run our bridge with its spool in the folder.

    What Kafka took is deleted after a second, so that deleting is within what is measured.
    """
    environment = {
        "BRIDGE_MQTT_HOST": "127.0.0.1",
        "BRIDGE_MQTT_PORT": str(mqtt),
        "BRIDGE_GATEWAY": "bench",
        "BRIDGE_CLIENT_ID": "bench-reader",
        "BRIDGE_KAFKA_BOOTSTRAP_SERVERS": kafka,
        "BRIDGE_KAFKA_TOPIC": topic,
        "BRIDGE_KAFKA_DEAD_LETTER_TOPIC": topic,
        "BRIDGE_SPOOL_DIR": str(folder / "spool"),
        "BRIDGE_REPLAY_SECONDS": "1",
        "BRIDGE_METRICS_PORT": str(free_port()),
        "PYTHONPATH": str(ROOT),
    }
    command = [python, "-m", "bridge"]
    with running(command, folder / "bridge.log", environment=environment) as process:
        yield Measured(process)


@contextlib.contextmanager
def telegraf(  # noqa: PLR0913
    folder: Path, mqtt: int, output: str, parser: str, *, flush: str = "1s", batch: int = 5000
) -> Iterator[Measured]:
    """Run Telegraf with an output's part of its configuration."""
    path = build_telegraf()
    configuration = folder / "telegraf.conf"
    agent = _TELEGRAF_AGENT.format(mqtt=mqtt, parser=parser, flush=flush, batch=batch)
    configuration.write_text(agent + output, encoding="utf-8")
    command = [path, "--quiet", "--config", configuration]
    with running(command, folder / "telegraf.log") as process:
        yield Measured(process)


def telegraf_to_kafka(
    form: tuple[str, str], flush: str = "1s", batch: int = 5000
) -> Callable[[Path, int, str, str], contextlib.AbstractContextManager[Measured]]:
    """Return how to run Telegraf as a relay that parses (JSON) or not (TEXT)."""
    parser, serializer = form

    def run(
        folder: Path, mqtt: int, kafka: str, topic: str
    ) -> contextlib.AbstractContextManager[Measured]:
        output = _TELEGRAF_KAFKA.format(kafka=kafka, topic=topic, serializer=serializer)
        return telegraf(folder, mqtt, output, parser, flush=flush, batch=batch)

    return run


@contextlib.contextmanager
def kcat(
    folder: Path, mqtt: int, kafka: str, topic: str, *, prompt: bool = False
) -> Iterator[Measured]:
    """Run `mosquitto_sub | kcat`: no spool, and MQTT is acknowledged before Kafka has anything.

    Unless it is to be prompt, mosquitto_sub keeps up to 4 KiB in its buffer.
    """
    session = ["-i", "bench-reader", "-c", "-q", "1", "-t", "sensors/+/+/telemetry"]
    reader = [program("mosquitto_sub", "mosquitto-clients"), "-p", str(mqtt), *session]
    producer = [program("kcat", "kcat"), "-P", "-b", kafka, "-t", topic]
    options = ["-X", "acks=all", "-X", "linger.ms=5", "-X", "compression.type=lz4"]
    log = folder / "kcat.log"
    if prompt:
        reader = [program("stdbuf", "coreutils"), "-oL", *reader]
    with running(reader, log, stdout=subprocess.PIPE) as first:  # noqa: SIM117
        with running([*producer, *options], log, stdin=_fileno(first)) as second:
            try:
                yield Measured(first, second)
            finally:
                end(first)


def build_telegraf() -> Path:
    """Return Telegraf's program: from the artifact cache, built from source the first time.

    Raises:
        subprocess.CalledProcessError: it does not compile or cannot be fetched.
    """
    folder = CACHE / "bench"
    path = folder / f"telegraf-{_TELEGRAF_VERSION}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        package = f"github.com/influxdata/telegraf/cmd/telegraf@{_TELEGRAF_VERSION}"
        variables = {
            "CGO_ENABLED": "0",
            "GOTOOLCHAIN": "auto",
            "GOFLAGS": "-trimpath -buildvcs=false",
            "GOPATH": str(CACHE / "go"),
            "GOBIN": str(folder),
        }
        subprocess.run(
            [program("go", "golang-go"), "install", "-tags", _TELEGRAF_TAGS, package],
            check=True,
            env=os.environ | variables,
        )
        (folder / "telegraf").rename(path)
    return path


def _fileno(process: subprocess.Popen[bytes]) -> int:
    if process.stdout is None:
        raise AssertionError
    return process.stdout.fileno()
