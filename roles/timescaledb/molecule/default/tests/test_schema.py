"""The tests that need a TimescaleDB (tests/sql, the store query's), on this host's server."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[5]
HBA = "/etc/postgresql/18/main/pg_hba.conf"
RULE = "host all edge_test_admin,/^edge_test_ samenet scram-sha-256"


@pytest.fixture
def admin_dsn(host: Host) -> Iterator[str]:
    """A role that may make databases, let in over the network for this test alone."""
    password = secrets.token_hex(16)
    address = host.check_output("hostname -I").split()[0]
    psql = "psql -X -U postgres -d postgres -v ON_ERROR_STOP=1 -c"
    host.check_output(
        f"{psql} \"CREATE ROLE edge_test_admin SUPERUSER LOGIN PASSWORD '{password}'\""
    )
    host.check_output(f"cp -p {HBA} {HBA}.role && echo '{RULE}' >> {HBA}")
    host.check_output(f"{psql} 'SELECT pg_reload_conf()'")
    yield f"postgresql://edge_test_admin:{password}@{address}/postgres"
    host.check_output(f"mv {HBA}.role {HBA}")
    host.check_output(f"{psql} 'SELECT pg_reload_conf()'")
    host.check_output(f"{psql} 'DROP ROLE edge_test_admin'")


@pytest.mark.parametrize(
    "tests", ["tests/sql", "tests/spark/test_store_writer.py", "tests/spark/test_store_contract.py"]
)
def test_with_this_server(host: Host, admin_dsn: str, tests: str) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MOLECULE")},
        "EDGE_TEST_DSN": admin_dsn,
        "EDGE_TEST_PG_DUMP": f"podman exec {host.backend.name} pg_dump",
    }
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", tests]
    # A group of its own, so that what its tests started ends with it.
    process = subprocess.Popen(command, cwd=ROOT, env=environment, process_group=0)
    try:
        assert process.wait(timeout=900) == 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
