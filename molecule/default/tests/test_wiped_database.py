"""The database's host is lost and made anew: the copy brings it back, and every reading, once.

The last file: its hosts are as well afterwards as before, but Kafka has forgotten what was before.
"""

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from testinfra.host import Host

from tools.hops import ROOT
from tools.pipeline import GROUP, Pipeline, eventually

DEVICES, COUNT = 5, 1000
# To the row, by natural key and values.
FINGERPRINT = """
SELECT count(*), sum(hashtextextended(concat_ws('|', device_id, time, seq, temperature), 0))
FROM sensor_data WHERE site IS DISTINCT FROM %s
"""


@pytest.fixture
def play(tmp_path: Path) -> Any:
    """Runs playbooks against the scenario's hosts, with copies in a folder of this test."""
    facts = {"host_group": GROUP, "host_network": os.environ["EDGE_NETWORK"]}
    extra = json.dumps(facts | {"backup_dir": str(tmp_path / "copies")})
    command = ["ansible-playbook", "-i", os.environ["EDGE_INVENTORY"], "-e", extra]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )

    return run


def succeed(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr
    return run.stdout


def send(pipeline: Pipeline, site: str) -> None:
    options = ("--devices", str(DEVICES), "--rate", "200", "--count", str(COUNT))
    pipeline.simulate("--site", site, *options)


def all_stored(pipeline: Pipeline, site: str) -> None:
    each = COUNT // DEVICES
    expected = [(f"{site}-{d:04d}", seq) for d in range(1, DEVICES + 1) for seq in range(each)]
    eventually(site, lambda: len(pipeline.stored(site)), lambda found: found >= COUNT)
    assert pipeline.stored(site) == expected


def forget_what_kafka_has(pipeline: Pipeline) -> None:
    """As if its retention had passed."""
    admin = AdminClient(pipeline.system.kafka("admin"))
    topic = pipeline.consumer.list_topics("sensor.raw", timeout=10).topics["sensor.raw"]
    places = [TopicPartition("sensor.raw", number) for number in topic.partitions]
    for place in places:
        place.offset = pipeline.consumer.get_watermark_offsets(place, timeout=10)[1]
    for deleted in admin.delete_records(places).values():
        deleted.result()


def test_it_comes_back_to_the_row(hosts: dict[str, Host], pipeline: Pipeline, play: Any) -> None:
    in_copy, archived, in_kafka, meanwhile = map(
        pipeline.site, ("in-copy", "archived", "in-kafka", "meanwhile")
    )
    send(pipeline, in_copy)
    all_stored(pipeline, in_copy)
    succeed(play("playbooks/backup.yml"))

    send(pipeline, archived)
    all_stored(pipeline, archived)
    eventually("S3", lambda: len(pipeline.archived_readings(archived)), lambda n: n >= COUNT)
    forget_what_kafka_has(pipeline)
    send(pipeline, in_kafka)
    all_stored(pipeline, in_kafka)
    before = pipeline.query(FINGERPRINT, meanwhile)

    refused = play("playbooks/restore.yml")
    assert refused.returncode != 0
    assert "has readings newer than this backup" in refused.stdout + refused.stderr
    all_stored(pipeline, in_kafka)

    lost_at = datetime.now(UTC)
    pipeline.database.close()
    lost = ["podman", "rm", "--force", "--time=0", "--volumes", f"edge-{GROUP}-db1"]
    subprocess.run(lost, check=True, capture_output=True)
    send(pipeline, meanwhile)
    succeed(play("--limit=db1", "molecule/shared/create.yml", "molecule/shared/prepare.yml"))
    said = succeed(play("playbooks/restore.yml"))
    # Those that Kafka had forgotten.
    assert " archived readings; " in said
    for site in (in_copy, archived, in_kafka, meanwhile):
        all_stored(pipeline, site)
    assert pipeline.query(FINGERPRINT, meanwhile) == before
    # And the job itself read all that Kafka had.
    read = "SELECT sum(rows_in) FROM processing_metrics WHERE query = 'store' AND time > %s"
    eventually(
        "metrics", lambda: pipeline.query(read, lost_at)[0][0] or 0, lambda n: n >= 2 * COUNT
    )

    compared = hosts["core1"].run("/opt/streaming_job/tool spark_app.reconcile --hours 2 --grace 0")
    assert compared.rc == 0, compared.stdout + compared.stderr
    again = succeed(play("--limit=db1", "site.yml"))
    assert [task for task in again.split("TASK ") if "\nchanged: " in task] == []
