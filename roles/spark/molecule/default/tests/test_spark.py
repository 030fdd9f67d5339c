"""The cluster as a job uses it."""

from __future__ import annotations

import json
import re
import shlex
import time
from typing import Any

import pytest
from testinfra.host import Host

from tools.exposure import exposure

JOB = """
import json
import os
import sys

from pyspark.sql import SparkSession


def probe(number):
    import boto3, numpy, psycopg2, pyarrow
    return number, sys.prefix, os.getcwd(), os.environ["SPARK_LOCAL_DIRS"]


spark = SparkSession.builder.getOrCreate()
rows = spark.sparkContext.parallelize(range(100), 4).map(probe).collect()
version = "java_method('org.apache.kafka.common.utils.AppInfoParser', 'getVersion') v"
jars = spark.range(4).repartition(2).selectExpr(version).distinct().collect()
try:
    (spark.read.format("kafka").option("kafka.bootstrap.servers", "127.0.0.1:1")
     .option("kafka.default.api.timeout.ms", 3000).option("kafka.request.timeout.ms", 2000)
     .option("subscribe", "sensor.raw").load().count())
    kafka = "read"
except Exception as error:
    kafka = str(error)
result = {"sum": sum(row[0] for row in rows), "kafka": kafka, "jars": [row.v for row in jars]}
result |= {name: sorted({row[at] for row in rows}) for at, name in ((1, "prefix"), (2, "cwd"))}
print(json.dumps(result))
"""


def state(host: Host) -> dict[str, Any]:
    """What the master says of its cluster."""
    answer = host.run("curl -sf http://127.0.0.1:8080/json/")
    return dict(json.loads(answer.stdout)) if answer.rc == 0 else {"status": "", "workers": []}


def alive(host: Host) -> set[str]:
    """Ids of the workers that the master counts on."""
    return {worker["id"] for worker in state(host)["workers"] if worker["state"] == "ALIVE"}


def submit(host: Host) -> dict[str, Any]:
    """Runs the job on the cluster, as the user `spark`, and gives what it found."""
    master = state(host)["url"]
    host.check_output(f"printf %s {shlex.quote(JOB)} > /run/probe.py")
    output = host.check_output(
        f"runuser -u spark -- spark-submit --master {master} --driver-memory 512m"
        " --executor-memory 512m --total-executor-cores 2 /run/probe.py"
    )
    return dict(json.loads(output.splitlines()[-1]))


@pytest.fixture(scope="module")
def found(host: Host) -> dict[str, Any]:
    """What one run of the job found."""
    return submit(host)


def test_executors_import_what_the_job_needs(found: dict[str, Any]) -> None:
    assert found["sum"] == sum(range(100))


def test_executors_run_the_environments_python(found: dict[str, Any]) -> None:
    assert found["prefix"] == ["/opt/spark/current"]


def test_the_work_was_done_in_the_workers_folder(found: dict[str, Any]) -> None:
    assert all(path.startswith("/var/lib/spark-worker/app-") for path in found["cwd"])


def test_kafka_is_a_source_that_only_lacks_a_broker(found: dict[str, Any]) -> None:
    assert "Failed to find data source" not in found["kafka"]
    assert "TimeoutException" in found["kafka"]


def test_executors_have_the_connectors_own_client(found: dict[str, Any]) -> None:
    assert found["jars"] == ["3.9.2"]


def test_worker_comes_back_after_a_kill(host: Host) -> None:
    before = alive(host)
    host.check_output("systemctl kill --kill-whom=main --signal=KILL spark-worker")
    deadline = time.monotonic() + 60
    while not alive(host) - before and time.monotonic() < deadline:
        time.sleep(1)
    assert alive(host) - before
    assert submit(host)["sum"] == sum(range(100))


def test_master_knows_its_worker_after_a_kill(host: Host) -> None:
    before = alive(host)
    host.check_output("systemctl kill --kill-whom=main --signal=KILL spark-master")
    deadline = time.monotonic() + 90
    while not (state(host)["status"] == "ALIVE" and alive(host) & before):
        assert time.monotonic() < deadline, state(host)
        time.sleep(1)


# Who knows the secret has run the same job before.
@pytest.mark.usefixtures("found")
@pytest.mark.parametrize("secret", ["", "spark.authenticate.secret guessed"])
def test_a_stranger_runs_nothing(host: Host, secret: str) -> None:
    """Neither an application that proves nothing, nor one with another secret."""
    settings = ["spark.authenticate true", "spark.network.crypto.enabled true", secret]
    folder, text = "/run/stranger", "\n".join(settings) if secret else ""
    host.check_output(f"mkdir -p {folder} && cp /etc/spark/spark-env.sh {folder}")
    host.check_output(f"printf %s {shlex.quote(text)} > {folder}/spark-defaults.conf")
    before = state(host)
    script = host.file("/usr/local/bin/spark-submit").content_string
    home = re.search(r"SPARK_HOME=(\S+)", script)
    assert home
    refused = host.run(
        f"timeout 60 env SPARK_HOME={home[1]} SPARK_CONF_DIR={folder} {home[1]}/bin/spark-submit"
        f" --master {before['url']} --driver-memory 512m --executor-memory 512m /run/probe.py"
    )
    assert refused.rc != 0
    assert "Failed to connect to master" in refused.stderr
    now = state(host)
    assert now["activeapps"] == []
    assert len(now["completedapps"]) == len(before["completedapps"])


def test_the_secret_is_not_for_all(host: Host) -> None:
    assert host.file("/etc/spark/spark-defaults.conf").mode == 0o640
    seen = host.check_output("ps -eo args; systemctl cat spark-master spark-worker")
    assert "for-this-test-alone" not in seen


def test_state_is_shown_on_loopback_alone(host: Host) -> None:
    sockets = host.check_output("ss --tcp --listening --numeric --no-header")
    at = {line.split()[3] for line in sockets.splitlines()}
    for port in ("8080", "8081"):
        assert [a for a in at if a.endswith(f":{port}")] == [f"[::ffff:127.0.0.1]:{port}"]


def test_daemons_run_as_spark(host: Host) -> None:
    for unit in ("spark-master", "spark-worker"):
        pid = host.check_output(f"systemctl show --property=MainPID --value {unit}")
        assert host.check_output(f"stat -c %U /proc/{pid}") == "spark"


def test_the_units_are_confined(host: Host) -> None:
    for unit in ("spark-master", "spark-worker"):
        assert exposure(host, unit) <= 2.0
