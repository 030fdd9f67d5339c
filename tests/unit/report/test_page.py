"""The page in a real browser that reaches nobody: what it shows, and that nothing goes wrong."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from report.library import library
from report.page import render
from tools.browser import DESK, PHONE, Tables, opened

pytestmark = pytest.mark.skipif(
    not shutil.which("chromium-headless-shell"),
    reason="chromium-headless-shell is not installed; `make bootstrap-tests` installs it",
)
# Names come from MQTT topics, which anybody with a device's password may choose.
WICKED = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>"
COUNT = 100


def device(name: str, **more: Any) -> dict[str, Any]:
    """A device as report/figures.sql returns it."""
    points = [[n, 20 + n / 50, 45.5] for n in range(COUNT) if not 40 <= n < 60]
    return {
        "device": name,
        "site": "lab",
        "room": "B12",
        "gateway": "gw1",
        "last_time": "2026-03-29T00:59:30+00:00",
        "last_temperature": 21.98,
        "last_humidity": 45.5,
        "last_flags": ["ts_missing"],
        "samples": 1234567,
        "flagged": 3,
        "points": points,
        "anomalies": 0,
        "missing": 2,
        "sent_before": True,
        **more,
    }


def document(*devices: dict[str, Any]) -> dict[str, Any]:
    """What report/figures.sql returns: an hour that ends when France's summer time begins."""
    anomaly = {
        "time": "2026-03-29T00:30:00.123+00:00",
        "device": devices[0]["device"] if devices else "gone",
        "quantity": "temperature",
        "kind": "outlier",
        "value": 39.25,
        "expected_low": 19.0,
        "expected_high": 22.0,
        "score": 4.2,
    }
    batch = {"n": 5, "rows_in": 100, "rows_stored": 98, "lag": 7, "spool": 0}
    stage = {"p50_ms": 8.25, "p95_ms": 20, "p99_ms": 31, "min_ms": -1.5, "max_ms": 99, "samples": 9}
    hour = {"seen": 98, "missing": 2, "duplicate": 1, "late": 0, "rejected": 1}
    query = {"rows_in": 100, "rows_stored": 98, "rows_duplicate": 1, "rows_late": 0}
    return {
        "frame": {
            "first": "2026-03-29T00:10:00+00:00",
            "until": "2026-03-29T00:59:45+00:00",
            "step": 30,
        },
        "device_count": len(devices),
        "samples": 1234567,
        "devices": list(devices),
        "anomaly_count": 1,
        "anomalies": [anomaly],
        "stages": [{"stage": name, **stage} for name in ("a", "b", "c", "d")],
        "latencies": {"mqtt_to_kafka": [[3, 1.0, 2.0, 3.0], [4, 1.0, 2.0, -3.0]]},
        "flow": [{"query": name, **batch} for name in ("store", "archive")],
        "queries": [{"query": "store", "bytes": 123456, "rows_rejected": 1, **query}],
        "hours": [{"hour": "2026-03-29T00:00:00+00:00", **hour}],
        "gateways": [
            {
                "gateway": "gw1",
                "last_received": "2026-03-29T00:59:31+00:00",
                "devices": 1,
                "samples": 98,
                "clock_offset_ms": 0.125,
                "clock_error_ms": None,
            }
        ],
    }


def written(folder: Path, found: dict[str, Any]) -> Path:
    page = folder / "page.html"
    page.write_text(render(found, library(), WICKED), encoding="utf-8")
    return page


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_every_chart_is_drawn_and_the_console_is_silent(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    page = written(tmp_path, document(device("one"), device(WICKED), device("two", room=None)))
    html, console = opened(page, size)
    assert console == []
    tables = Tables(html)
    # How many lines have values: of the room with an anomaly, which comes first and has a mean, of
    # the other, of the four stages, of throughput and of what waits.
    drawn = [chart["data-drawn"] for chart in tables.charts]
    assert drawn == ["3", "3", "1", "1", "3", "0", "0", "0", "3", "3"]
    assert html.count("<canvas") == len(tables.charts)


def test_figures_and_times_are_as_given(tmp_path: Path) -> None:
    html, _ = opened(written(tmp_path, document(device("one"))))
    tables = Tables(html).rows
    assert tables["stages"][0] == ["a", "8.2", "20.0", "31.0", "-1.5", "99.0", "9"]
    assert tables["queries"] == [["store", "100", "98", "1", "0", "1", "0.1"]]
    # Paris is an hour before UTC until one second later.
    seen = "2026-03-29 01:59:30 2026-03-29 00:59:30 UTC"
    (shown,) = tables["devices"]
    assert shown[:5] == ["one", "lab / B12", "gw1", seen, "15 s"]
    assert shown[5:10] == ["21.98", "45.5", "ts_missing", "1,234,567", "3"]
    assert shown[10:] == ["1", "0", "2"]
    assert tables["ledger"][0][1:] == ["100", "98", "1", "0", "1", "2"]
    assert tables["gateways"][0][-2:] == ["0.12", "—"]
    assert tables["anomalies"][0][1:4] == ["one", "temperature", "outlier"]
    assert tables["anomalies"][0][4:] == ["39.25", "19.00", "22.00", "4.20"]
    assert "Europe/Paris" in html


def test_names_are_text_and_nothing_is_fetched(tmp_path: Path) -> None:
    page = written(tmp_path, document(device(WICKED)))
    html, console = opened(page)
    assert console == []
    assert Tables(html).rows["devices"][0][0] == WICKED
    assert "<title>taken" not in html
    assert "<img" not in html
    # Nothing names anything to load, and the page's own rule forbids it.
    assert re.findall(r"<(?:link|img|iframe|object)\b|\bsrc=[\"']", html) == []
    assert "default-src 'none'" in html


def test_a_system_without_any_reading_has_a_page(tmp_path: Path) -> None:
    html, console = opened(written(tmp_path, document()))
    assert console == []
    assert "No device sent anything" in html


def test_it_is_small_enough_for_a_phone(tmp_path: Path) -> None:
    page = written(tmp_path, document(*(device(f"device-{n}") for n in range(100))))
    assert page.stat().st_size < 500_000
