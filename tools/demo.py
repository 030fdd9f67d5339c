"""`make demo`: three hosts, the whole system on them, readings, a live table, results/demo.json."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from simulator.replay import slug
from tools.hops import DEMO, HOPS, ROOT, Hops, System
from tools.usage import MONITORING, look

RATE = int(os.environ.get("DEMO_RATE", "200"))
SECONDS = int(os.environ.get("DEMO_SECONDS", "30"))
WARM_UP = 1000
RECORDINGS = Path(os.environ.get("DEMO_RECORDINGS", ROOT.parent / "shared/data/room-climate"))
T = TypeVar("T")
# Prometheus and the exporters cost memory and a minute: only with DEMO_MONITORING=1.
MONITORING_TOO = os.environ.get("DEMO_MONITORING", "0") != "0"
INVENTORIES = (DEMO, *([ROOT / "inventories/monitoring/demo.yml"] if MONITORING_TOO else []))
RESULTS = ROOT / "results"
PAGE = RESULTS / "report-demo.html"
# What role grafana says where it finds no source.
GOES_ON = "Going on without Grafana"
# How long the last readings may take to reach the archive after the load.
SETTLE_SECONDS = 120
# (Python of the host, artifacts): what the hosts' versions of Debian need.
ARTIFACTS = (
    (
        "3.13",
        (
            "kafka",
            "spark_kafka",
            "minio",
            "spark",
            "edge_telemetry",
            "postgresql_jdbc",
            "store_writer",
            "uplot_js",
        ),
    ),
    ("3.14", ("bridge", "database")),
)


def say(text: str) -> None:
    """Prints a line at once."""
    print(text, flush=True)


@dataclass
class Report:
    """What goes into results/demo.json."""

    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)
    memory_mb: dict[str, float] = field(default_factory=dict)
    # Beside the pipeline's.
    monitoring_memory_mb: dict[str, float] = field(default_factory=dict)
    replay: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Says what begins and what it took."""
        say(f"== {name}")
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 1)
        say(f"== {name}: {self.seconds[name]:.0f} s")


def fetch_artifacts() -> None:
    """Fills the controller's cache."""
    fetch = ROOT / "roles" / "artifact" / "files" / "fetch.py"
    cache = Path(os.environ.get("EDGE_CACHE") or "~/.cache/edge-telemetry") / "artifacts"
    for python, names in ARTIFACTS:
        command = [sys.executable, str(fetch), f"--cache={cache}", f"--python={python}", *names]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def play(playbook: str, name: str, *options: str) -> None:
    """Runs a playbook on the demo's hosts; prints its plays and roles, keeps the rest in a log."""
    log = RESULTS / f"{name}.log"
    command = [
        "ansible-playbook",
        *(word for inventory in INVENTORIES for word in ("-i", str(inventory))),
        playbook,
        *options,
    ]
    shown = ""
    with log.open("w") as file:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for line in process.stdout or ():
            file.write(line)
            if line.startswith(("PLAY [", "TASK [")):
                title = line.split("[", 1)[1].split("]", 1)[0].split(" : ")[0]
                if title != shown and "|" not in title:
                    shown = title
                    say(f"   {title}")
            elif GOES_ON in line:
                say(f"   {line[line.index(GOES_ON) :].strip()}")
    if process.wait() != 0:
        tail = "\n".join(log.read_text().splitlines()[-40:])
        sys.exit(f"{tail}\ndemo: {playbook} failed; the whole log is {log}")


def send(demo: System, *options: str) -> None:
    """Runs the simulator until every message is acknowledged."""
    process = demo.simulate(*options)
    process.communicate()
    if process.returncode != 0:
        sys.exit("demo: the simulator failed; its message stands above")


def show(sent: int, counts: dict[str, int], hops: Hops) -> None:
    """Prints the live table's line: counts at each hop and p50/p99 of each stage."""
    figures = "  ".join(
        f"{stage['stage']} {stage['p50']:.0f}/{stage['p99']:.0f}"
        for stage in hops.stages("10 seconds")
        if stage["samples"]
    )
    hop_text = "".join(f"{counts[name]:>13,}" for name in HOPS)
    say(f"{sent:>10,}{hop_text}   {figures}")


def follow(process: subprocess.Popen[str], hops: Hops, report: Report) -> None:
    """Shows the table once a second until all hops have what was sent, or time is up."""
    before = hops.counts()
    say(f"{'sent':>10}{'at gateway':>13}{'in Kafka':>13}{'TimescaleDB':>13}{'MinIO':>13}"
        "   p50/p99 in ms over the last 10 s")  # fmt: skip
    sent = 0
    deadline = None
    while True:
        if deadline is None:
            line = (process.stdout.readline() if process.stdout else "").strip()
            if line:
                sent = json.loads(line)["sent"]
            elif process.wait() != 0:
                sys.exit("demo: the simulator failed; its message stands above")
            else:
                deadline = time.monotonic() + SETTLE_SECONDS
        else:
            time.sleep(1)
        now = hops.counts()
        counts = {name: now[name] - before[name] for name in HOPS}
        show(sent, counts, hops)
        if deadline is not None and all(count == sent for count in counts.values()):
            break
        if deadline is not None and time.monotonic() > deadline:
            say(f"demo: not every hop has {sent} readings after {SETTLE_SECONDS} s")
            break
    report.counts = {"sent": sent, **counts}


def warm_up(demo: System, hops: Hops) -> None:
    """Sends a few readings: a job that has just started takes seconds for its first batches."""
    before = hops.counts()
    options = ("--site", "warm-up", "--devices", "4", "--rate", "100", "--count", str(WARM_UP))
    send(demo, *options)
    started = time.monotonic()
    while any(hops.counts()[name] < before[name] + WARM_UP for name in ("timescaledb", "minio")):
        if time.monotonic() > started + SETTLE_SECONDS:
            sys.exit("demo: the warm-up's readings did not arrive; see journalctl -u streaming-job")
        time.sleep(1)
    seconds = time.monotonic() - started
    say(f"   {WARM_UP} readings, not counted below, arrived after {seconds:.0f} s")


def replay(demo: System, hops: Hops) -> dict[str, Any]:
    """Sends one recorded file and compares every row in the database with the file's."""
    file = min(RECORDINGS.glob("*.csv"))
    rows = [line.split(",") for line in file.read_text().splitlines() if line.strip()]
    send(demo, "--site", "replay", "--replay", str(file), "--speed", "0")
    prefix = slug(file)
    expected = {
        (f"{prefix}-node{int(r[3])}", int(r[0]), int(r[1]), float(r[4]), float(r[5])) for r in rows
    }
    # By device, not by site: replayed again, elsewhere too, a file changes nothing.
    statement = (
        "SELECT device_id, seq, round(extract(epoch FROM time) * 1000)::bigint, temperature, "
        "humidity FROM sensor_data WHERE device_id LIKE %s"
    )
    deadline = time.monotonic() + SETTLE_SECONDS
    while len(stored := hops.query(statement, f"{prefix}-%")) < len(rows):
        if time.monotonic() > deadline:
            break
        time.sleep(1)
    equal = len(stored) == len(rows) and set(stored) == expected
    verdict = "each once, all values equal" if equal else "NOT EQUAL to the file"
    say(f"   {file.name}: {len(rows)} rows sent, {len(stored)} in TimescaleDB, {verdict}")
    return {"file": file.name, "rows": len(rows), "stored": len(stored), "equal": equal}


def wait_for(what: str, ready: Callable[[], T], seconds: int = 120) -> T:
    """Tries until it works; the last error is shown when time is up."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ready()
        except Exception as error:  # noqa: BLE001 (whatever a service says while it starts)
            if time.monotonic() > deadline:
                sys.exit(f"demo: {what} is not ready after {seconds} s: {error}")
            time.sleep(1)


def main() -> None:
    """The demo, step by step."""
    RESULTS.mkdir(exist_ok=True)
    report = Report()
    bootstrap = os.environ.get("DEMO_BOOTSTRAP_SECONDS")
    if bootstrap:
        report.seconds["bootstrap and images"] = float(bootstrap)
    with report.step("artifacts"):
        fetch_artifacts()
    with report.step("hosts"):
        play("molecule/shared/create.yml", "create")
        play("molecule/shared/prepare.yml", "prepare")
    with report.step("site.yml"):
        play("site.yml", "site")
    demo = System.demo()
    hops = wait_for("the system", lambda: Hops(demo))
    wait_for("the schema", hops.counts)
    with report.step("warm-up"):
        warm_up(demo, hops)
    started = time.time()
    with report.step("readings"):
        options = ("--site", "demo", "--devices", "20", "--duration", str(SECONDS))
        follow(demo.simulate(*options, "--rate", str(RATE), "--progress"), hops, report)
        report.stages = hops.stages(f"{time.time() - started:.0f} seconds")
    if RECORDINGS.is_dir():
        with report.step("replay of a recorded file"):
            report.replay = replay(demo, hops)
    else:
        say(f"   no recordings in {RECORDINGS}, so none is replayed (DEMO_RECORDINGS=folder)")
    report.memory_mb = {name: used.resident_mb for name, used in look().items()}
    report.monitoring_memory_mb = {
        name: used.resident_mb for name, used in look(units=MONITORING).items()
    }
    with report.step("report"):
        play("playbooks/report.yml", "report", "-e", "report_hours=1", "-e", f"report_to={PAGE}")
    (RESULTS / "demo.json").write_text(json.dumps(report.__dict__, indent=2, ensure_ascii=False))
    finish(demo, report)


def finish(demo: System, report: Report) -> None:
    """Prints the summary and the commands to look around."""
    say("\nstage                        p50 ms    p95 ms    p99 ms   samples")
    for stage in report.stages:
        figures = "".join(f"{stage[name] or 0:>10.1f}" for name in ("p50", "p95", "p99"))
        say(f"{stage['stage']:<25}{figures}{stage['samples']:>10,}")
    for what, used in (
        ("resident memory", report.memory_mb),
        ("of the monitoring besides", report.monitoring_memory_mb),
    ):
        named = ", ".join(f"{name} {mb:.0f}" for name, mb in used.items())
        say(f"\n{what}, MB: {named or 'nothing'}; together {sum(used.values()):.0f}")
    secrets = f"{DEMO.relative_to(ROOT)}/.secrets"
    say(f"""
look around:
  python3 tools/testhosts.py run -- podman exec -it edge-demo-db1 psql -U sensor_user -d sensordb
  python3 tools/testhosts.py run -- podman exec -it edge-demo-core1 journalctl -fu streaming-job
  MQTT {demo.gateway}:8883 by TLS, devices' accounts in {secrets}/devices/gw1.csv
  Kafka {demo.core}:9092   S3 https://{demo.core}:9000   PostgreSQL {demo.database}:5432
  passwords in {secrets}/
  make demo-down   removes it all
open in a browser, also on a phone without a network: {PAGE.relative_to(ROOT)}
results are in results/demo.json""")
    if report.monitoring_memory_mb:
        amtool = "amtool alert --alertmanager.url=http://localhost:9095"
        say(f"alerts: python3 tools/testhosts.py run -- podman exec edge-demo-core1 {amtool}")
    complete = all(report.counts[name] == report.counts["sent"] for name in HOPS)
    if not complete or report.replay.get("equal") is False:
        sys.exit("demo: some readings are not where they should be; see above")


if __name__ == "__main__":
    main()
