"""Attempts at PostgreSQL: by whom it does not let in, and by its users at what they may not do.

The writer may come from Spark's hosts alone, so its attempts take the way through one of them.
Whatever is done is taken back at once.
"""

from __future__ import annotations

import shlex
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg2
import yaml
from psycopg2 import errors

from tests.security.attempts import Attempt
from tests.security.certificates import Maker
from tests.security.doors import Outcome, Unclear, Visitor, knock
from tools.hops import DEMO, System

PORT = 5432
HOST, UNIT = "db1", "postgresql@18-main"
READER, WRITER, OWNER = "sensor_reader", "sensor_writer", "sensor_user"
# The client is asked for a password, has none, and goes: no failure of the server's.
SILENT = ""
NO_ENTRY = r"no pg_hba\.conf entry"
WRONG = r"password authentication failed"
OLD_TLS = r"could not accept SSL connection"
FORBIDDEN = r"ERROR: +(permission denied|must be )"
# What libpq says of it, which has no code for what comes before the session.
KEPT_OUT = ("no pg_hba.conf entry", WRONG, "no password supplied")
# A request for TLS in place of a version, and then the start of a session.
WANTS_TLS = struct.pack(">ii", 8, 80877103)
STARTS = struct.pack(">ii", 28, 196608) + b"user\0" + READER.encode() + b"\0\0"
OF_ANYBODY = {
    "deletes readings": "DELETE FROM sensor_data",
    "empties a table": "TRUNCATE sensor_data",
    "drops a table": "DROP TABLE sensor_data",
    "drops chunks": "SELECT drop_chunks('sensor_data', now())",
    "changes a table": "ALTER TABLE sensor_data ADD COLUMN attack int",
    "makes a table": "CREATE TABLE attack (n int)",
    "makes a user": "CREATE ROLE attack LOGIN",
    "becomes the owner": f"SET ROLE {OWNER}",
    "becomes superuser": "SET ROLE postgres",
    "reads hashes of passwords": "SELECT rolpassword FROM pg_authid",
    "reads who may connect": "SELECT * FROM pg_hba_file_rules",
    "reads a file": "SELECT pg_read_file('/etc/passwd')",
    "runs a program": "COPY sensor_data TO PROGRAM 'cat'",
}
OF_READERS = {
    "adds a reading's position": (
        "INSERT INTO kafka_position (topic, partition, first_offset, next_offset, batch_id) "
        "VALUES ('attack', 0, 0, 1, 0)"
    ),
    "changes readings": "UPDATE sensor_data SET temperature = 0",
    "changes thresholds": "UPDATE anomaly_threshold SET factor = 0",
}
_SECONDS = 10


@dataclass(frozen=True)
class Client:
    """Who comes to the database; `port` leads there from the host on which he is, if not this."""

    system: System
    user: str
    password: str = ""
    database: str = "sensordb"
    port: int | None = None
    options: tuple[tuple[str, str], ...] = ()

    @contextmanager
    def session(self) -> Iterator[psycopg2.extensions.connection]:
        """A session whose every change is taken back."""
        settings: dict[str, Any] = {
            "host": self.system.database,
            "port": self.port or PORT,
            "user": self.user,
            "dbname": self.database,
            "sslmode": "verify-full",
            "sslrootcert": str(self.system.authority("ca1")),
            "gssencmode": "disable",
            "connect_timeout": _SECONDS,
            # Whoever runs this may have passwords of his own.
            "passfile": "/dev/null",
        }
        if self.password:
            settings["password"] = self.password
        if self.port:
            settings["hostaddr"] = "127.0.0.1"
        connection = psycopg2.connect(**settings | dict(self.options))
        try:
            yield connection
        finally:
            connection.close()

    def tries(self, statement: str = "SELECT 1") -> Outcome:
        """Connect, and run a statement in a transaction that may write."""
        try:
            with self.session() as connection:
                connection.set_session(readonly=False)
                with connection.cursor() as cursor:
                    cursor.execute(statement)
        except errors.InsufficientPrivilege as error:
            return Outcome(admitted=False, answer=str(error).strip())
        except psycopg2.Error as error:
            said = str(error).strip()
            if any(refusal in said for refusal in KEPT_OUT):
                return Outcome(admitted=False, answer=said)
            raise Unclear(said) from error
        return Outcome(admitted=True, answer="done")


def admitted(system: System) -> dict[str, Outcome]:
    """Who has to get in: the reader from here, the writer from Spark's host."""
    with way_from_core(system) as port:
        return {
            "reader": reader(system).tries("SELECT FROM sensor_data LIMIT 1"),
            "writer": writer(system, port).tries(OF_READERS["adds a reading's position"]),
        }


def table(system: System, maker: Maker) -> Iterator[Attempt]:  # noqa: ARG001 - as others have it
    """All of them."""
    with way_from_core(system) as port:
        for kind, make, logged in [*_at_the_door(system, port), *_inside(system, port)]:
            yield Attempt(f"PostgreSQL {PORT}", kind, make, HOST, UNIT, logged)


def reader(system: System, **changes: Any) -> Client:
    """Who may read, from here."""
    known = {"user": READER, "password": system.secret("database_reader")}
    return Client(system, **known | changes)


def writer(system: System, port: int | None = None, **changes: Any) -> Client:
    """Who may write, from the host to which a port leads."""
    known = {"user": WRITER, "password": system.secret("database_writer"), "port": port}
    return Client(system, **known | changes)


@contextmanager
def way_from_core(system: System) -> Iterator[int]:
    """A port here by which one comes to the database from the core, as Spark's programs do."""
    inventory = yaml.safe_load((DEMO / "hosts.yml").read_text(encoding="utf-8"))["all"]["vars"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [
        *("ssh", "-n", "-N", "-i", inventory["ansible_ssh_private_key_file"]),
        *shlex.split(inventory["ansible_ssh_common_args"]),
        *("-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"),
        *("-L", f"127.0.0.1:{port}:{system.database}:{PORT}"),
        f"{inventory['ansible_user']}@{system.core}",
    ]
    process = subprocess.Popen(command)
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    message = "no way to the database by SSH to the core"
    raise Unclear(message)


Row = tuple[str, Callable[[], Outcome], str]


def _at_the_door(system: System, port: int) -> Iterator[Row]:
    secret = system.secret("database")
    clients = {
        "without TLS": (reader(system, options=(("sslmode", "disable"),)), NO_ENTRY),
        "no password": (reader(system, password=""), SILENT),
        "wrong password": (reader(system, password="wrong"), WRONG),  # noqa: S106 - it is
        "unknown user": (reader(system, user="nobody"), NO_ENTRY),
        "superuser": (reader(system, user="postgres"), NO_ENTRY),
        "owner, from the network": (Client(system, OWNER, secret), NO_ENTRY),
        "owner, from Spark's host": (Client(system, OWNER, secret, port=port), NO_ENTRY),
        "writer, from another host": (writer(system), NO_ENTRY),
        "replication": (reader(system, options=(("replication", "true"),)), NO_ENTRY),
    }
    for database in ("postgres", "template1"):
        clients[f"database {database}"] = (reader(system, database=database), NO_ENTRY)
    for kind, (client, logged) in clients.items():
        yield kind, client.tries, logged
    outdated = Visitor().outdated().context(system.authority("ca1"))
    address = (system.database, PORT)
    yield "TLS 1.1", partial(knock, address, outdated, STARTS, before=WANTS_TLS), OLD_TLS


def _inside(system: System, port: int) -> Iterator[Row]:
    for name, client, statements in (
        ("reader", reader(system), OF_READERS | OF_ANYBODY),
        ("writer", writer(system, port), OF_ANYBODY),
    ):
        for kind, statement in statements.items():
            yield f"{name} {kind}", partial(client.tries, statement), FORBIDDEN
