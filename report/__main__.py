"""Writes the page: `python -m report --to page.html` with figures from a file or a database."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2

from report.library import library
from report.page import render

STATEMENT = (Path(__file__).parent / "figures.sql").read_text(encoding="utf-8")


def figures(dsn: str, hours: float) -> dict[str, Any]:
    """What a database says of the last hours; playbooks/report.yml asks it on its own host."""
    options = f"-c report.hours={hours} -c default_transaction_read_only=on"
    with (
        closing(psycopg2.connect(dsn, options=options)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(STATEMENT)
        ((document,),) = cursor.fetchall()
    assert isinstance(document, dict)  # noqa: S101 - of a statement of ours
    return document


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m report", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--figures", type=Path, help="JSON that report/figures.sql returned")
    source.add_argument("--dsn", help="database to ask, as libpq writes it")
    parser.add_argument("--hours", type=float, default=24, help="how far back, with --dsn (24)")
    parser.add_argument("--name", default="", help="of the system, for the page's heading")
    parser.add_argument("--to", type=Path, required=True, help="HTML file to write")
    options = parser.parse_args(arguments)
    if options.dsn:
        document = figures(options.dsn, options.hours)
    else:
        document = json.loads(options.figures.read_text(encoding="utf-8"))
    options.to.parent.mkdir(parents=True, exist_ok=True)
    options.to.write_text(render(document, library(), options.name), encoding="utf-8")


if __name__ == "__main__":
    main()
