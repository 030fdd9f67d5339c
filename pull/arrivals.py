"""`python -m pull.arrivals`: answers gateways' questions for their probes, beside the database.

It runs with the rights to read the database and, in the store, to read questions and write answers.
A question is a stranger's text: what it names besides numbers and times is put in its place here.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2

from pull.store import Store, StoreError
from telemetry.settings import Port, load

# Who still waits asks again every few seconds.
_FRESH = timedelta(seconds=60)
_EVERY_SECONDS = 2.0
_MOST_ASKED = 4
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """Where the database and the store are: environment variables `ARRIVALS_<FIELD>`.

    Attributes:
        query: file with the statement, playbooks/files/rollout.sql.
    """

    database: str
    database_user: str
    database_password: str
    endpoint: str
    secret_key: str
    query: str
    database_host: str = "127.0.0.1"
    database_port: Port = 5432
    bucket: str = "gateway-releases"
    ca_file: str = ""


def confined(asked: object, gateway: str) -> list[dict[str, Any]]:
    """Return the questions of one gateway, which are for itself and its own probe alone.

    Raises:
        ValueError: it is no question.
    """
    if not isinstance(asked, list) or len(asked) > _MOST_ASKED:
        message = f"expected a list of up to {_MOST_ASKED} questions"
        raise ValueError(message)
    return [
        {
            "gateway": gateway,
            "device": f"probe-{gateway}",
            "run": float(one["run"]),
            "sent": int(one["sent"]),
            "since": datetime.fromisoformat(one["since"]).isoformat(),
        }
        for one in asked
    ]


class Answerer:
    """Looks for questions and answers them."""

    def __init__(self, settings: Settings) -> None:
        """Read the statement; nothing is asked yet."""
        self._settings = settings
        self._store = Store(
            settings.endpoint,
            settings.bucket,
            "release-answerer",
            settings.secret_key,
            settings.ca_file,
        )
        # The statement is written for psql, by whose form it takes what is asked.
        self._query = (
            Path(settings.query)
            .read_text(encoding="utf-8")
            .replace("%", "%%")
            .replace(":'asked'", "%s")
        )

    def round(self, now: datetime) -> None:
        """Answer all who ask now."""
        for name, when in self._store.names("asks/").items():
            if now - when > _FRESH:
                continue
            gateway = name.removeprefix("asks/")
            try:
                said = json.loads(self._store.get(name))
                asked = confined(said["asked"], gateway)
                answer = {"nonce": str(said["nonce"]), **self.look(asked)}
            except (ValueError, TypeError, KeyError) as error:
                _LOG.warning("question of %s is none: %r", gateway, error)
                continue
            self._store.put(f"answers/{gateway}", json.dumps(answer).encode())

    def look(self, asked: list[dict[str, Any]]) -> dict[str, Any]:
        """Return what the database says."""
        s = self._settings
        with (
            closing(
                psycopg2.connect(
                    host=s.database_host,
                    port=s.database_port,
                    dbname=s.database,
                    user=s.database_user,
                    password=s.database_password,
                    connect_timeout=10,
                )
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(self._query, (json.dumps(asked),))
            row = cursor.fetchone()
        return dict(row[0]) if row else {}


def main() -> None:
    """Serve until the process is ended."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    answerer = Answerer(load(Settings, "ARRIVALS"))
    away = False
    while True:
        try:
            answerer.round(datetime.now(UTC))
            away = False
        except (StoreError, psycopg2.Error) as error:
            # Once, and not every two seconds of a night.
            if not away:
                _LOG.warning("cannot answer for now: %s", error)
            away = True
        time.sleep(_EVERY_SECONDS)


if __name__ == "__main__":
    main()
