"""Every row of a recorded file arrives exactly once, with the file's values."""

import random
from pathlib import Path

import pytest

from simulator.replay import slug
from tools.hops import ROOT
from tools.pipeline import Pipeline, eventually

SHARED = ROOT.parent / "shared" / "data" / "room-climate"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """One of the recorded files where they are at hand, otherwise one of the same form."""
    if SHARED.is_dir():
        return min(SHARED.glob("*.csv"))
    print(f"{SHARED} is not here: a made-up file of the same form is replayed")
    file = tmp_path / "made-up.csv"
    generator = random.Random(4)  # noqa: S311 (no secret)
    lines = []
    for entry in range(1, 3001):
        climate = f"{generator.uniform(15, 30):.2f}, {generator.uniform(20, 80):.3f}"
        lines.append(
            f"{entry}, {1458031648545 + 100 * entry}, 1, {entry % 4}, {climate}, 1, 2, 0, 0, 0, 0"
        )
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_each_row_once_with_the_values_of_the_file(recording: Path, pipeline: Pipeline) -> None:
    rows = [line.split(",") for line in recording.read_text(encoding="utf-8").splitlines() if line]
    site = pipeline.site("replayed")
    pipeline.simulate("--site", site, "--replay", str(recording), "--speed", "0")
    # By device, not by site: replayed again, a file changes nothing.
    devices = f"{slug(recording)}-node%"
    statement = (
        "SELECT seq, round(extract(epoch FROM time) * 1000)::bigint, temperature, humidity, "
        "(measurements->>'light1')::float FROM sensor_data WHERE device_id LIKE %s"
    )
    stored = eventually(
        "the file's rows",
        lambda: pipeline.query(statement, devices),
        lambda found: len(found) >= len(rows),
    )
    expected = [(int(r[0]), int(r[1]), float(r[4]), float(r[5]), float(r[6])) for r in rows]
    assert sorted(stored) == sorted(expected)
    archived = eventually(
        "the archive", lambda: pipeline.archive(site), lambda found: found.num_rows >= len(rows)
    )
    values = archived.select(["seq", "temperature", "humidity"]).to_pylist()
    assert sorted(tuple(row.values()) for row in values) == sorted(
        (seq, temperature, humidity) for seq, _, temperature, humidity, _ in expected
    )
