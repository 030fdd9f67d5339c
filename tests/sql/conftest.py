"""A scratch database on the server that EDGE_TEST_DSN names."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import make_dsn, parse_dsn

from sql.migrate import migrate


@pytest.fixture(scope="session")
def admin_dsn() -> str:
    """Return the DSN of a role that may create databases, roles and extensions."""
    dsn = os.environ.get("EDGE_TEST_DSN")
    if not dsn:
        pytest.skip("EDGE_TEST_DSN is not set: no TimescaleDB to test the migrations on")
    return dsn


@contextmanager
def scratch_database(admin_dsn: str) -> Iterator[str]:
    """Yield the DSN of an empty database with TimescaleDB, as a role that only owns it."""
    name = f"edge_test_{secrets.token_hex(4)}"
    password = secrets.token_hex(16)
    identifier = sql.Identifier(name)
    admin = psycopg2.connect(admin_dsn)
    admin.autocommit = True
    try:
        with admin.cursor() as cursor:
            cursor.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                    identifier, sql.Literal(password)
                )
            )
            # So that it can also be one who only reads.
            cursor.execute(sql.SQL("GRANT pg_read_all_data TO {}").format(identifier))
            cursor.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(identifier))
        with psycopg2.connect(make_dsn(admin_dsn, dbname=name)) as there, there.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        there.close()
        yield make_dsn(
            **parse_dsn(admin_dsn) | {"dbname": name, "user": name, "password": password}
        )
    finally:
        with admin.cursor() as cursor:
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier))
            cursor.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(identifier))
        admin.close()


@pytest.fixture
def empty_dsn(admin_dsn: str) -> Iterator[str]:
    """Yield the DSN of an empty database with TimescaleDB, as a role that only owns it."""
    with scratch_database(admin_dsn) as made:
        yield made


@pytest.fixture
def dsn(empty_dsn: str) -> str:
    """Return the DSN of a migrated database."""
    migrate(empty_dsn)
    return empty_dsn
