"""The whole chain on the demo's hosts: from a sensor's send to the committed row, and its costs.

The hosts are made or brought up to date first, with one setting of the job after the other.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.latencies import histogram, percentiles
from benchmarks.load import Broker, send_from_another_process
from benchmarks.options import Options
from benchmarks.processes import wait_for
from benchmarks.records import from_another_process
from benchmarks.scratch import say
from tools.hops import BUCKET, DEMO, PUBLISHERS_PORT, ROOT, Hops, System
from tools.usage import UNITS, Usage, look

_MICRO_BATCH: dict[str, object] = {"streaming_job_store_mode": "micro-batch"}
_REAL_TIME: dict[str, object] = {"streaming_job_store_mode": "real-time"}
# By the names of the figures: how the job is set, and readings per second. The default comes
# last, and stays. What runs without *detect* comes first, since *detect* catches up afterwards.
_SETTINGS: dict[str, tuple[dict[str, object], tuple[int, ...]]] = {
    "no-detect": ({**_REAL_TIME, "streaming_job_detect": False}, (1000,)),
    "micro-batch": (_MICRO_BATCH, (100, 500, 1000, 5000)),
    "real-time": (_REAL_TIME, (100, 500, 1000, 5000, 10_000)),
}
_COST_RATE = 1000
_SECONDS = 12  # measured at each rate
_COST_SECONDS = 60  # at that rate: one batch of *archive* and six of *detect*, whenever it begins
_LEAD_SECONDS = 4  # before that at the same rate: caches fill, what lagged catches up
_FIGURES_SECONDS = 2  # in real time they are written each second
_WARM_UP = (1000, 40)  # readings per second, seconds: the JVMs compile what matters
_DRAINED = 600_000
_MOST_SECONDS = 240
_CORE = ["podman", "exec", "edge-demo-core1"]
_JOB = [*_CORE, "systemctl"]
_DETECT_SECONDS = 12  # *detect* looks for new readings more often than that
_PLACE = (
    "SELECT coalesce(sum(next_offset), 0)::bigint FROM kafka_position WHERE topic = 'sensor.raw'"
)


@dataclass
class _Load:
    """Readings that are sent: by which fleet, how many, and how fast Mosquitto took them."""

    fleet: str
    count: int
    taken_per_second: float = 0


def run(options: Options) -> list[Figure]:
    """Measure each setting at each rate, its cost at one, and how fast it empties Kafka."""
    figures: dict[str, list[float]] = {}
    hops: Hops | None = None
    for name, (chosen, rates) in _SETTINGS.items():
        _deploy(name, chosen)
        hops = hops or Hops(System.demo())
        _send(hops, _WARM_UP[0], max(5, int(_WARM_UP[1] * options.scale)), options.folder)
        _catch_up()
        before = _archive(hops)
        for repeat in range(options.repeats):
            for rate in rates:
                say(f"chain: {name}, {rate}/s, {repeat + 1} of {options.repeats}")
                found = _at_rate(hops, rate, options)
                for figure, value in found.items():
                    figures.setdefault(f"chain.{name}_at_{rate}.{figure}", []).append(value)
                if rate > _COST_RATE:
                    _catch_up()
        for figure, value in _archived(before, _archive(hops)).items():
            figures[f"chain.{name}_archive.{figure}"] = [value]
        drained = _drain(hops, options.scaled(_DRAINED))
        figures[f"chain.{name}_from_kafka.readings_per_second"] = [drained]
    return [Figure(name, _unit(name), values) for name, values in figures.items()]


def _deploy(name: str, chosen: dict[str, object]) -> None:
    """Make the demo's hosts what they are, with the job set so."""
    say(f"chain: the demo's hosts, {name}")
    # An object of the archive covers a minute, as it does elsewhere.
    chosen = {**chosen, "streaming_job_archive_trigger": "1 minute"}
    for playbook in ("molecule/shared/create.yml", "molecule/shared/prepare.yml", "site.yml"):
        done = subprocess.run(
            ["ansible-playbook", "-i", DEMO / "hosts.yml", playbook, "-e", json.dumps(chosen)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            message = f"{playbook} failed on the demo's hosts: {done.stdout[-2000:]}"
            raise RuntimeError(message)


def _at_rate(hops: Hops, rate: int, options: Options) -> dict[str, float]:
    """Return latencies in ms; at one rate also what the chain costs."""
    whole = _COST_SECONDS if rate == _COST_RATE else _SECONDS
    seconds = max(3, int(whole * options.scale))
    with _load(hops, rate, _LEAD_SECONDS + seconds, options.folder) as load:
        time.sleep(_LEAD_SECONDS)
        used, start = look(), datetime.now(UTC)
        time.sleep(seconds)
        using = look()
    begin = time.monotonic()
    _await(hops, load)
    behind = time.monotonic() - begin
    time.sleep(_FIGURES_SECONDS)
    # To the last reading, else one that comes late would not count.
    end = datetime.now(UTC)
    found = percentiles(histogram(hops.query, "total_pipeline_latency", start, end))
    stored = percentiles(histogram(hops.query, "mqtt_to_kafka", start, end))
    figures = {f"{name}_ms": value for name, value in found.items()}
    figures |= {f"to_kafka_{name}_ms": value for name, value in stored.items()}
    figures["taken_per_second"] = load.taken_per_second
    figures["behind_at_the_end_s"] = behind
    if rate == _COST_RATE:
        figures |= _costs(used, using, rate * seconds)
    return figures


def _costs(before: dict[str, Usage], after: dict[str, Usage], readings: int) -> dict[str, float]:
    """Return processor time per reading, µs, and memory, MB: of each service, and of all."""
    cpu = {
        name: 1e6 * (after[name].cpu_seconds - before[name].cpu_seconds) / readings
        for name in after
    }
    resident = {name: used.resident_mb for name, used in after.items()}
    gateway = sum(resident[f"gw1 {unit}"] for unit in UNITS["gw1"])
    figures = {"cpu_us_per_reading": sum(cpu.values()), "resident_mb": sum(resident.values())}
    figures["gateway_resident_mb"] = gateway
    for name in after:
        unit = name.split()[1].partition("@")[0]
        figures[f"{unit}.cpu_us_per_reading"] = cpu[name]
        figures[f"{unit}.resident_mb"] = resident[name]
    return figures


def _send(hops: Hops, rate: int, seconds: int, folder: Path) -> None:
    """Send at a rate, and wait for the rows."""
    with _load(hops, rate, seconds, folder) as load:
        pass
    _await(hops, load)


@contextmanager
def _load(hops: Hops, rate: int, seconds: int, folder: Path) -> Iterator[_Load]:
    """Send while the block goes on, and wait until Mosquitto has the last reading."""
    system = hops.system
    load = _Load(f"bench-{time.time():.0f}", rate * seconds)
    files = system.publisher()
    tls = (files["authorities"], files["certificate"], files["key"])
    broker = Broker(PUBLISHERS_PORT, system.gateway, tls, load.fleet)
    with send_from_another_process(broker, rate, 0, load.count, folder) as sent:
        yield load
        times = sent()
    load.taken_per_second = load.count / (float(times[-1] - times[0]) / 1e9)


def _await(hops: Hops, load: _Load) -> None:
    """Wait until the database has the readings."""
    devices = load.fleet + "-%"

    def is_there() -> bool:
        time.sleep(0.2)  # the count is work for the database too
        found = hops.query("SELECT count(*) FROM sensor_data WHERE device_id LIKE %s", devices)
        return int(found[0][0]) >= load.count

    wait_for(is_there, f"{load.count} readings of {load.fleet} in the database", _MOST_SECONDS)


def _catch_up() -> None:
    """Wait until *detect* has read what came faster than it reads, beside which all is slower."""
    time.sleep(_DETECT_SECONDS)
    wait_for(lambda: not _undetected(), "detect to have read everything", _MOST_SECONDS)


def _undetected() -> float:
    """Return how many records *detect* has not read; 0 where it does not run."""
    ask = [*_CORE, "curl", "--silent", "--show-error", "--fail", "localhost:9102/metrics"]
    told = subprocess.run(ask, check=True, capture_output=True, text=True).stdout
    found = re.search(r'^job_kafka_lag_records{query="detect"} (\S+)$', told, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _drain(hops: Hops, count: int) -> float:
    """Stop the job, fill Kafka, start the job; return readings per second once they come."""
    say(f"chain: {count} readings wait in Kafka")
    subprocess.run([*_JOB, "stop", "streaming-job"], check=True)
    try:
        first, fleet = _place(hops), f"drain-{time.time():.0f}"
        kafka = hops.system.kafka("admin")
        with from_another_process(kafka, "sensor.raw", 0, count, fleet):
            pass
    finally:
        subprocess.run([*_JOB, "start", "streaming-job"], check=True)
    # The first tenth is the start, and the JVMs' compilers.
    wait_for(lambda: _place(hops) >= first + count // 10, "the job to go on", _MOST_SECONDS)
    begin, done = time.monotonic(), _place(hops)
    wait_for(lambda: _place(hops) >= first + count, "Kafka to be empty", _MOST_SECONDS)
    return (first + count - done) / (time.monotonic() - begin)


def _place(hops: Hops) -> int:
    return int(hops.query(_PLACE)[0][0])


def _archive(hops: Hops) -> tuple[int, int, int]:
    """Return objects, bytes and rows of the archive."""
    rows = hops.minio()
    pages = hops.objects.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    sizes = [item["Size"] for page in pages for item in page.get("Contents", [])]
    return len(sizes), sum(sizes), rows


def _archived(before: tuple[int, int, int], after: tuple[int, int, int]) -> dict[str, float]:
    objects, size, rows = (b - a for a, b in zip(before, after, strict=True))
    return {"bytes_per_reading": size / rows, "readings_per_object": rows / objects}


def _unit(name: str) -> str:
    for ending, unit in (
        ("_ms", "ms"),
        ("_s", "s"),
        ("_mb", "MB"),
        ("cpu_us_per_reading", "µs"),
        ("bytes_per_reading", "B"),
        ("_per_second", "1/s"),
    ):
        if name.endswith(ending):
            return unit
    return ""
