"""The page of `make report` says what the database says; opened without a network."""

import json
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from tools.browser import DESK, PHONE, Tables, opened
from tools.hops import ROOT
from tools.pipeline import GROUP, Pipeline, eventually

Report = Callable[[float], Path]


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """Writes the page of the last hours."""

    def write(hours: float) -> Path:
        page = tmp_path / f"{hours}.html"
        extra = {"host_group": GROUP}
        extra |= {"host_network": os.environ["EDGE_NETWORK"], "report_to": str(page)}
        command = ["ansible-playbook", "-i", os.environ["EDGE_INVENTORY"]]
        command += ["-e", json.dumps(extra | {"report_hours": hours}), "playbooks/report.yml"]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return page

    return write


@pytest.fixture(scope="module")
def device(hosts: dict[str, Host], pipeline: Pipeline) -> str:
    """A device with one reading of 20 hours ago, one number left out, and an anomaly."""
    name = pipeline.site("report")
    now = datetime.now(UTC)
    times = [now - timedelta(hours=20), *(now - timedelta(seconds=s) for s in (3, 2, 1))]
    readings = [
        {"device_id": name, "ts": time.isoformat(), "seq": seq, "temperature": 20 + seq}
        for seq, time in zip((1, 2, 4, 5), times, strict=True)
    ]
    topic = f"sensors/{name}/{name}/telemetry"
    pipeline.publish(*((topic, json.dumps(reading)) for reading in readings))
    eventually("the rows", lambda: pipeline.stored(name), lambda rows: len(rows) == len(readings))
    pipeline.change(
        hosts["db1"],
        "INSERT INTO anomalies (time, device_id, quantity, kind, value, score, detector_version) "  # noqa: S608
        f"VALUES ('{times[-1]}', '{name}', 'temperature', 'outlier', 25, 1.5, 1)",
    )
    settled = """
    SELECT
        (SELECT count(*) FROM ledger_gap WHERE device_id = %s AND closed_at IS NULL),
        (SELECT count(*) FROM sensor_data_changed)
    """

    def maintained() -> tuple[int, int]:
        hosts["db1"].check_output("systemctl start sensordb-maintenance")
        return tuple(pipeline.query(settled, name)[0])

    # So that the ledger does not change between the page and the question.
    eventually("the gap, and no minute left", maintained, lambda found: found == (1, 0))
    return name


def frame(page: Path) -> tuple[datetime, datetime]:
    """From when to when the page's figures are."""
    text = page.read_text(encoding="utf-8").split("<dl")[0]
    until, first = (part.split('"')[0] for part in text.split('<time datetime="')[1:3])
    return datetime.fromisoformat(first), datetime.fromisoformat(until)


def counted(rows: list[tuple[Any, ...]]) -> list[list[str]]:
    """Rows of the database as the page writes figures."""
    return [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]


OF_DEVICES = """
SELECT device_id, count(*), count(*) FILTER (WHERE cardinality(quality_flags) > 0)
FROM sensor_data WHERE time BETWEEN %s AND %s GROUP BY 1
"""
OF_ANOMALIES = """
SELECT count(*) FROM anomalies WHERE device_id = %s AND time BETWEEN %s AND %s
"""
OF_STAGES = """
SELECT stage, p50_ms, p95_ms, p99_ms, samples
FROM get_pipeline_latency_stats(now() - %s::timestamptz)
"""
OF_QUERIES = """
SELECT query, sum(rows_in)::bigint, sum(rows_stored)::bigint, sum(rows_duplicate)::bigint
FROM processing_metrics WHERE time BETWEEN %s AND %s GROUP BY 1 ORDER BY 1 DESC
"""
OF_LEDGER = """
SELECT sum(expected)::bigint, sum(seen)::bigint, sum(duplicate)::bigint, sum(late)::bigint,
    sum(rejected)::bigint, sum(missing)::bigint
FROM ledger WHERE hour >= date_trunc('hour', %s::timestamptz, 'UTC')
GROUP BY hour ORDER BY hour DESC
"""


# A day is read from the roll-ups, minutes from the readings themselves.
@pytest.mark.parametrize("hours", [0.25, 24])
def test_figures_are_those_of_the_database(
    hours: float, device: str, pipeline: Pipeline, report: Report
) -> None:
    for _ in range(3):
        page = report(hours)
        first, until = frame(page)
        html, console = opened(page)
        assert console == []
        tables = Tables(html).rows
        of_queries = counted(pipeline.query(OF_QUERIES, first, until))
        # A batch that was under way when the page was written is noted after it.
        if [row[:4] for row in tables["queries"]] == of_queries:
            break
    shown = {row[0]: row for row in tables["devices"]}
    of_devices = counted(pipeline.query(OF_DEVICES, first, until))
    assert of_devices
    for name, *figures in of_devices:
        # Of very many devices not all are on the page.
        if name in shown or len(shown) < 300:
            assert shown[name][8:10] == figures
    mine = shown[device]
    assert mine[5] == "25.00"
    assert mine[8] == ("4" if hours == 24 else "3")
    ((anomalies,),) = pipeline.query(OF_ANOMALIES, device, first, until)
    assert anomalies > 0
    assert mine[11:] == [str(anomalies), "1"]
    stages = [
        [stage, *(f"{figure:,.1f}" for figure in percentiles), f"{samples:,}"]
        for stage, *percentiles, samples in pipeline.query(OF_STAGES, first)
    ]
    assert [[*row[:4], row[6]] for row in tables["stages"]] == stages
    assert [row[:4] for row in tables["queries"]] == of_queries
    ledger = counted(pipeline.query(OF_LEDGER, first))
    assert [row[1:] for row in tables["ledger"] if row[1:] != ["0"] * 6] == ledger
    assert [row[1] for row in tables["anomalies"]].count(device) == anomalies
    assert [row[0] for row in tables["gateways"]] == ["gw1"]


def test_charts_have_the_stored_values(device: str, report: Report) -> None:
    page = report(0.25)
    text = page.read_text(encoding="utf-8").split('type="application/json">')[1]
    figures = json.loads(text.split("</script>")[0])
    (room,) = (room for room in figures["rooms"] if room["title"].startswith(device))
    (line,) = room["devices"]
    values = [point[1] for point in line["points"]]
    # The points may be means of several readings.
    assert min(values) >= 22
    assert max(values) == 25 or figures["step"] > 1
    assert 25 in [mark["value"] for mark in room["marks"]]


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("size", [PHONE, DESK])
def test_every_open_chart_is_drawn(size: tuple[int, int], report: Report) -> None:
    html, console = opened(report(0.25), size)
    assert console == []
    charts = Tables(html).charts
    rooms = [chart for chart in charts if chart.get("data-room")]
    assert [chart["data-drawn"] for chart in charts if not chart.get("data-room")] == ["3"] * 6
    # A room with an anomaly comes first, and is open.
    assert int(rooms[0]["data-drawn"] or 0) > 0
