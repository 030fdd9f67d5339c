"""What is down or lost while readings flow: nothing is lost, nothing is twice."""

from collections.abc import Callable

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from testinfra.host import Host

from tools.pipeline import Pipeline, eventually

PYTHON = "/opt/spark/current/bin/python"
RATE = 200
SECONDS = 20
# Of each partition's log: some tens of records.
LOST_BYTES = 8_000

Fault = Callable[[Host], None]


def stop(unit: str) -> Fault:
    return lambda host: host.check_output(f"systemctl stop {unit}") and None


def start(unit: str) -> Fault:
    return lambda host: host.check_output(f"systemctl start {unit}") and None


def kafka_without_power(host: Host) -> None:
    """Kill Kafka and take away what it had acknowledged last, as if it had not been written."""
    host.check_output("systemctl kill --signal=KILL kafka && systemctl stop kafka")
    logs = host.check_output("ls /var/lib/kafka/data/sensor.raw-*/*.log").split()
    for path in logs:
        host.check_output(f"truncate --size=-{LOST_BYTES} {path}")


def checkpoint_lost(host: Host) -> None:
    host.check_output("systemctl stop streaming-job")
    host.check_output("rm -r /var/lib/streaming-job/store* /var/lib/streaming-job/archive")


def all_arrived(pipeline: Pipeline, site: str, devices: int, count: int) -> None:
    expected = sorted(
        (f"{site}-{device:04d}", seq)
        for device in range(1, devices + 1)
        for seq in range(count // devices)
    )
    eventually(
        "TimescaleDB", lambda: len(pipeline.stored(site)), lambda found: found >= count, seconds=180
    )
    assert pipeline.stored(site) == expected
    eventually("the archive", lambda: archived(pipeline, site), lambda n: n >= count)
    assert pipeline.archived_readings(site) == expected


def archived(pipeline: Pipeline, site: str) -> int:
    """Count; a store that has just started answers nobody yet."""
    try:
        return len(pipeline.archived_readings(site))
    except (BotoCoreError, ClientError):
        return 0


@pytest.mark.parametrize(
    ("fault", "name", "breaks", "mends"),
    [
        ("kafka-down", "core1", stop("kafka"), start("kafka")),
        ("database-down", "db1", stop("postgresql@18-main"), start("postgresql@18-main")),
        ("s3-down", "core1", stop("minio"), start("minio")),
        ("kafka-without-power", "core1", kafka_without_power, start("kafka")),
        ("checkpoint-lost", "core1", checkpoint_lost, start("streaming-job")),
    ],
    ids=lambda value: value if isinstance(value, str) else "-",
)
def test_a_service_goes_down_under_load(
    hosts: dict[str, Host], pipeline: Pipeline, fault: str, name: str, breaks: Fault, mends: Fault
) -> None:
    site = pipeline.site(fault)
    load = pipeline.system.simulate(
        *("--site", site, "--devices", "10", "--rate", str(RATE), "--count", str(RATE * SECONDS))
    )
    eventually("the first readings", lambda: pipeline.stored(site), bool)
    breaks(hosts[name])
    try:
        load.communicate(timeout=SECONDS + 60)
    finally:
        mends(hosts[name])
    assert load.returncode == 0
    all_arrived(pipeline, site, devices=10, count=RATE * SECONDS)


def test_store_waits_for_a_missing_psycopg2_while_archive_goes_on(
    hosts: dict[str, Host], pipeline: Pipeline
) -> None:
    core, site = hosts["core1"], pipeline.site("no-driver")
    # Where the installed module stands, to take it away and to put it back.
    site_packages = core.check_output(
        f"{PYTHON} -c 'import psycopg2, pathlib; print(pathlib.Path(psycopg2.__file__).parents[1])'"
    )
    core.check_output(f"mv {site_packages}/psycopg2 {site_packages}/psycopg2.away")
    try:
        core.check_output("systemctl restart streaming-job")
        options = ("--devices", "5", "--rate", "100", "--count", "500")
        pipeline.simulate("--site", site, *options)
        eventually("the archive", lambda: len(pipeline.archived_readings(site)), lambda n: n >= 500)
        assert pipeline.stored(site) == []
        journal = core.check_output("journalctl -u streaming-job --since=-5min -o cat")
        said = [line for line in journal.splitlines() if "psycopg2" in line]
        assert said, journal[-2000:]
        assert not any("Traceback" in line for line in said)
    finally:
        core.check_output(f"mv {site_packages}/psycopg2.away {site_packages}/psycopg2")
    all_arrived(pipeline, site, devices=5, count=500)
