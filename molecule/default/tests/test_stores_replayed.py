"""Lost rows come back from the archive, dead letters from their topic, and none twice."""

import json
import os
import subprocess
import time
from datetime import UTC, datetime, timedelta

from confluent_kafka import Producer
from testinfra.host import Host

from tools.hops import ROOT
from tools.pipeline import GROUP, Pipeline, eventually

TOOL = "/opt/streaming_job/tool spark_app.replay"


def lose_some(database: Host, pipeline: Pipeline, site: str) -> None:
    """Take 13 of each device's rows out of the database."""
    pipeline.change(database, f"DELETE FROM sensor_data WHERE site = '{site}' AND seq < 13")  # noqa: S608


def test_rows_come_back_from_the_archive_once(hosts: dict[str, Host], pipeline: Pipeline) -> None:
    site, begun = pipeline.site("from-archive"), datetime.now(UTC)
    pipeline.simulate("--site", site, "--devices", "4", "--rate", "100", "--count", "400")
    eventually("the archive", lambda: len(pipeline.archived_readings(site)), lambda n: n >= 400)
    expected = pipeline.stored(site)
    assert len(expected) == 400
    columns = "device_id, time, seq, temperature, humidity, site, quality_flags, kafka_offset"
    rows = f"SELECT {columns} FROM sensor_data WHERE site = %s ORDER BY device_id, seq"  # noqa: S608
    before = pipeline.query(rows, site)
    lose_some(hosts["db1"], pipeline, site)
    until = begun + timedelta(minutes=10)
    command = f"{TOOL} archive --since {begun.isoformat()} --until {until.isoformat()}"
    assert hosts["core1"].check_output(command).startswith("stored 52 of ")
    assert pipeline.query(rows, site) == before
    assert (
        "; 400 were there" in hosts["core1"].check_output(command)
        or pipeline.stored(site) == expected
    )


def test_rows_come_back_from_kafka_by_the_playbook(
    hosts: dict[str, Host], pipeline: Pipeline
) -> None:
    site, begun = pipeline.site("from-kafka"), datetime.now(UTC)
    pipeline.simulate("--site", site, "--devices", "4", "--rate", "100", "--count", "400")
    expected = eventually("the rows", lambda: pipeline.stored(site), lambda rows: len(rows) >= 400)
    lose_some(hosts["db1"], pipeline, site)
    facts = {
        "host_group": GROUP,
        "host_network": os.environ["EDGE_NETWORK"],
    }
    replay = {"replay": "offsets", "replay_since": begun.isoformat()}
    command = ["ansible-playbook", "-i", os.environ["EDGE_INVENTORY"], "playbooks/replay.yml"]
    said = subprocess.run(
        [*command, "-e", json.dumps(facts | replay)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    eventually("all rows", lambda: pipeline.stored(site), lambda rows: len(rows) >= 400)
    assert pipeline.stored(site) == expected


def test_dead_letters_are_judged_again(hosts: dict[str, Host], pipeline: Pipeline) -> None:
    site = pipeline.site("judged-again")
    # As if a decoder of an earlier version had refused it.
    headers = {
        "reason": "old_decoder",
        "origin_topic": "sensor.raw",
        "origin_partition": "0",
        "origin_offset": "0",
        "mqtt_topic": f"sensors/{site}/d1/telemetry",
        "gateway": "gw1",
        "received_ns": str(time.time_ns()),
    }
    producer = Producer(pipeline.system.kafka("admin"))
    producer.produce(
        "sensor.dead_letter",
        value=json.dumps({"temperature": 20.5, "seq": 1}).encode(),
        headers=[(name, value.encode()) for name, value in headers.items()],
    )
    assert producer.flush(20) == 0
    said = hosts["core1"].check_output(f"{TOOL} dead-letters --reason old_")
    assert said == "sent 1 dead letters again"
    eventually("the reading", lambda: pipeline.stored(site), lambda found: found == [("d1", 1)])
