"""`make demo` as a user runs it; started by `make test`, since it needs test hosts."""

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_demo_delivers_every_reading_and_goes_away_again() -> None:
    environment = {**os.environ, "DEMO_SECONDS": "5"}
    subprocess.run(["make", "demo"], cwd=ROOT, env=environment, check=True, timeout=1500)
    report = json.loads((ROOT / "results" / "demo.json").read_text(encoding="utf-8"))
    sent = report["counts"].pop("sent")
    assert sent > 0
    assert set(report["counts"].values()) == {sent}
    assert all(stage["samples"] == sent for stage in report["stages"])
    assert min(report["memory_mb"].values()) > 0
    page = (ROOT / "results" / "report-demo.html").read_text(encoding="utf-8")
    assert "demo-0001" in page
    subprocess.run(["make", "demo-down"], cwd=ROOT, check=True, timeout=120)
    listing = [
        "python3",
        "tools/testhosts.py",
        "run",
        "--",
        "podman",
        "ps",
        "-a",
        "--format={{.Names}}",
    ]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "edge-demo" not in names
