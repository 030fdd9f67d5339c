"""Puts figures and library together into one HTML file that asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from report.library import Library
from report.readings import gaps, rooms
from tools.health import duration

HERE = Path(__file__).parent
# By the names in pipeline_kpi; the order is that of a reading's way.
STAGES = {
    "mqtt_to_kafka": "MQTT → Kafka",
    "kafka_to_spark": "Kafka → Spark",
    "spark_to_timescaledb": "Spark → TimescaleDB",
    "total_pipeline_latency": "Total (bout en bout)",
}


def instant(text: str) -> datetime:
    """A time as PostgreSQL writes it into JSON."""
    return datetime.fromisoformat(text).astimezone(UTC)


def moment(text: str) -> Markup:
    """A time for the page: UTC, beside which the script puts the viewer's own."""
    when = instant(text)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        when.isoformat(), when.strftime("%Y-%m-%d %H:%M:%S")
    )


def number(value: float | None, places: int = 0) -> str:
    """A figure with thousands apart; a dash for none."""
    return "—" if value is None else f"{value:,.{places}f}"


def policy(styles: list[str], scripts: list[str]) -> str:
    """The page's own rule, which browsers keep: these scripts and styles, and nothing fetched."""

    def sums(texts: list[str]) -> str:
        digests = (hashlib.sha256(text.encode()).digest() for text in texts)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    return f"default-src 'none'; style-src {sums(styles)}; script-src {sums(scripts)}"


def plain(values: Any) -> Markup:  # noqa: ANN401 - whatever JSON holds
    """JSON that cannot end the element that it stands in."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - no markup is left in it


def charts(document: dict[str, Any]) -> dict[str, Any]:
    """What the script draws."""
    frame = document["frame"]
    first, until = instant(frame["first"]), instant(frame["until"])
    count = int((until - first).total_seconds() / frame["step"]) + 1
    found = rooms(document, count)
    for room in found:
        room["marks"] = [
            {**mark, "at": instant(mark["time"]).timestamp()} for mark in room["marks"]
        ]

    def pauses(points: list[list[Any]]) -> list[tuple[int, int]]:
        return gaps([point[0] for point in points], count, sent_before=False)

    curves = [(title, document["latencies"].get(name, [])) for name, title in STAGES.items()]
    return {
        "first": first.timestamp(),
        "step": frame["step"],
        "count": count,
        "rooms": found,
        "latencies": [
            {"title": title, "points": points, "gaps": pauses(points)} for title, points in curves
        ],
        "flow": document["flow"],
    }


def render(document: dict[str, Any], library: Library, name: str = "") -> str:
    """The page of what report/figures.sql returned; `name` is the system's."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"moment": moment, "number": number, "duration": duration}
    styles = [library.style, (HERE / "page.css").read_text(encoding="utf-8")]
    scripts = [library.script, (HERE / "page.js").read_text(encoding="utf-8")]
    figures = charts(document)
    until = instant(document["frame"]["until"])
    return environment.get_template("page.html.j2").render(
        document,
        name=name,
        figures=plain(figures),
        rooms=figures["rooms"],
        length=until - instant(document["frame"]["first"]),
        step=timedelta(seconds=document["frame"]["step"]),
        age=lambda text: (until - instant(text)).total_seconds(),
        policy=policy(styles, scripts),
        styles=[Markup(text) for text in styles],  # noqa: S704 - files of ours and of the library
        scripts=[Markup(text) for text in scripts],  # noqa: S704 - as above
        licence=library.licence,
    )
