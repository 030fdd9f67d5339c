"""Opens a page in headless Chromium that reaches nobody: for tests, and for pictures in docs/."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from html.parser import HTMLParser
from pathlib import Path

# A phone of the common width, and a desk.
PHONE, DESK = (390, 844), (1280, 1000)


def chromium(page: Path, size: tuple[int, int], *options: str) -> subprocess.CompletedProcess[str]:
    """Runs it on a page, in a network namespace without any network, in a zone that is not UTC."""
    with tempfile.TemporaryDirectory() as profile:
        return subprocess.run(
            [
                *("unshare", "--net", "chromium-headless-shell", "--no-sandbox", "--disable-gpu"),
                *(f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"),
                *("--enable-logging=stderr", "--virtual-time-budget=10000"),
                *(*options, page.resolve().as_uri()),
            ],
            env={**os.environ, "TZ": "Europe/Paris"},
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )


def console(stderr: str) -> list[str]:
    """What the page's scripts and the browser's own rules complained of."""
    return re.findall(r"CONSOLE.*?\] (.*)", stderr)


def opened(page: Path, size: tuple[int, int] = DESK) -> tuple[str, list[str]]:
    """The page's HTML after its scripts have run, and the lines of its console."""
    run = chromium(page, size, "--dump-dom")
    return run.stdout, console(run.stderr)


def picture(page: Path, to: Path, size: tuple[int, int] = DESK) -> None:
    """Writes a PNG of the page."""
    chromium(page, size, f"--screenshot={to}", "--hide-scrollbars")


class Tables(HTMLParser):
    """Each table's rows of cells by its id, the texts of elements of a class, and attributes."""

    def __init__(self, html: str) -> None:
        """Reads a page."""
        super().__init__()
        self.rows: dict[str, list[list[str]]] = {}
        self.charts: list[dict[str, str | None]] = []
        self._table: list[list[str]] = []
        self._in_cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begins a table, a row or a cell."""
        found = dict(attrs)
        if tag == "table" and found.get("id"):
            self._table = self.rows[str(found["id"])] = []
        elif tag == "tr":
            self._table.append([])
        elif tag == "td":
            self._in_cell = True
            self._table[-1].append("")
        elif tag == "div" and found.get("class") == "chart":
            self.charts.append(found)

    def handle_endtag(self, tag: str) -> None:
        """Ends a cell, or a table with its empty heading."""
        if tag == "td":
            self._in_cell = False
        elif tag == "tbody":
            self._table[:] = [row for row in self._table if row]
            self._table = []

    def handle_data(self, data: str) -> None:
        """Takes in text."""
        if self._in_cell:
            self._table[-1][-1] += data
