"""The JUnit tests of the real-time writer, on a migrated database."""

import os
import subprocess
from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn

from benchmarks.scratch import database

JVM = Path(__file__).resolve().parents[2] / "spark_app" / "jvm"


def test_the_writers_own_tests(tmp_path: Path) -> None:
    server = os.environ.get("EDGE_TEST_DSN")
    if not server:
        pytest.skip("EDGE_TEST_DSN is not set: no TimescaleDB to store readings in")
    with database(server) as dsn:
        known = parse_dsn(dsn)
        address = f"{known['host']}:{known.get('port', 5432)}"
        variables = {
            "EDGE_TEST_JDBC": f"jdbc:postgresql://{address}/{known['dbname']}",
            "EDGE_TEST_JDBC_USER": known["user"],
            "EDGE_TEST_JDBC_PASSWORD": known.get("password") or os.environ["PGPASSWORD"],
        }
        done = subprocess.run(
            ["mvn", "-B", "-q", "test", f"-DbuildDirectory={tmp_path}"],
            cwd=JVM,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-5000:]
    reports = (tmp_path / "surefire-reports").glob("*.txt")
    assert all("Skipped: 0" in report.read_text(encoding="utf-8") for report in reports)
