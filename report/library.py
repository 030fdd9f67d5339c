"""uPlot, which draws the page's charts: from the artifact table, by its SHA-256."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

FETCH = Path(__file__).resolve().parent.parent / "roles" / "artifact" / "files" / "fetch.py"
ARTIFACT = "uplot_js"


@dataclass(frozen=True)
class Library:
    """The texts that go into a page."""

    script: str
    style: str
    licence: str


def library() -> Library:
    """The library from the controller's cache, fetched into it the first time."""
    cache = Path(os.environ.get("EDGE_CACHE") or "~/.cache/edge-telemetry") / "artifacts"
    command = [sys.executable, str(FETCH), f"--cache={cache}", ARTIFACT]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    with tarfile.open(found[ARTIFACT]["archive"]) as tar:
        jar = tar.extractfile(tar.getmembers()[0])
        assert jar is not None  # noqa: S101 - fetch.py puts files there, no folders
        with zipfile.ZipFile(io.BytesIO(jar.read())) as files:
            names = {Path(name).name: name for name in files.namelist()}
            return Library(
                *(
                    files.read(names[name]).decode()
                    for name in ("uPlot.iife.min.js", "uPlot.min.css", "LICENSE")
                )
            )
