"""An installed pipeline under test: MQTT at one end, SQL and S3 at the other."""

from __future__ import annotations

import io
import os
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from paho.mqtt.publish import multiple
from testinfra.host import Host

from tools.hops import BUCKET, PUBLISHERS_PORT, Hops

T = TypeVar("T")
# Of the hosts' containers; see conftest.py.
GROUP = os.environ.get("EDGE_GROUP", "test")


@dataclass
class Pipeline(Hops):
    """Hops with the means to send readings and to look for single ones."""

    started: int = field(default_factory=lambda: int(time.time()))

    def site(self, name: str) -> str:
        """A site of that name that no earlier run used, so that tests can be run again."""
        return f"{name}-{self.started:x}"

    def simulate(self, *options: str) -> None:
        """Runs the simulator until every message is acknowledged."""
        load = self.system.simulate(*options)
        output, _ = load.communicate(timeout=300)
        if load.returncode != 0:
            message = f"the simulator ended with {load.returncode}: {output}"
            raise AssertionError(message)

    def publish(self, *messages: tuple[str, bytes | str]) -> None:
        """Publishes (topic, payload) with QoS 1, as the simulator's account."""
        files = self.system.publisher()
        tls: Any = {
            "ca_certs": files["authorities"],
            "certfile": files["certificate"],
            "keyfile": files["key"],
        }
        multiple(
            [(topic, payload, 1, False) for topic, payload in messages],
            hostname=self.system.gateway,
            port=PUBLISHERS_PORT,
            tls=tls,
        )

    def change(self, database: Host, statement: str) -> None:
        """Changes rows on the database's host, as the owner: nobody else may take some away."""
        command = "psql -XAtq -v ON_ERROR_STOP=1 -U sensor_user -d sensordb"
        database.check_output(f"{command} -c {shlex.quote(statement)}")

    def stored(self, site: str) -> list[tuple[str, int]]:
        """(device, seq) of each row of a site in TimescaleDB."""
        rows = self.query("SELECT device_id, seq FROM sensor_data WHERE site = %s", site)
        return sorted((str(device), int(seq)) for device, seq in rows)

    def archive(self, site: str) -> pa.Table:
        """The rows of a site in the Parquet objects of the archive."""
        tables = []
        for page in self.objects.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            for item in page.get("Contents", []):
                body = self.objects.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
                tables.append(pq.read_table(io.BytesIO(body), filters=[("site", "==", site)]))
        return pa.concat_tables(tables) if tables else pa.table({"device_id": [], "seq": []})

    def archived_readings(self, site: str) -> list[tuple[str, int]]:
        """(device, seq) of each row of a site in the archive."""
        table = self.archive(site).select(["device_id", "seq"])
        return sorted((row["device_id"], row["seq"]) for row in table.to_pylist())


def eventually(
    what: str, look: Callable[[], T], wanted: Callable[[T], bool], seconds: int = 120
) -> T:
    """Looks until it is as wanted.

    Raises:
        AssertionError: it was not within `seconds`; says what was seen last.
    """
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if wanted(seen):
            return seen
        if time.monotonic() > deadline:
            message = f"{what}: not within {seconds} s; last seen: {seen!r:.500}"
            raise AssertionError(message)
        time.sleep(1)
