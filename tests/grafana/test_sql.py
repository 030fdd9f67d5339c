"""The dashboards' queries on a real TimescaleDB: they run and give what their panels need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg2
import pytest

from tests.grafana.boards import BOARDS, Query, Window, annotations, expand, queries, variables
from tests.grafana.conftest import Filled

# Oids of PostgreSQL's types, as the driver reports them.
NUMBERS = {20, 21, 23, 700, 701, 1700}
TIMES = {1114, 1184}
# Range and interval as Grafana pairs them on a screen of about 1,000 points.
SPANS = [
    (timedelta(minutes=15), timedelta(seconds=10)),
    (timedelta(hours=24), timedelta(minutes=2)),
    (timedelta(days=30), timedelta(hours=1)),
]


@pytest.fixture(scope="module")
def cursor(filled: Filled) -> Iterator[Any]:
    with closing(psycopg2.connect(filled.dsn)) as connection, connection.cursor() as opened:
        yield opened
        connection.rollback()


def window(span: timedelta, interval: timedelta) -> Window:
    now = datetime.now(UTC)
    return Window(now - span, now, interval)


def ask(cursor: Any, text: str) -> tuple[list[tuple[str, int]], list[tuple[Any, ...]]]:
    """Names and types of a query's columns, and its rows."""
    cursor.execute(text)
    return [(column.name, column.type_code) for column in cursor.description], cursor.fetchall()


def chosen(cursor: Any, uid: str, moment: Window) -> dict[str, Sequence[str]]:
    """What a dashboard's variables hold with All chosen, or with the first of fixed values."""
    values: dict[str, Sequence[str]] = {}
    for variable in variables(BOARDS[uid]):
        if variable["type"] == "query":
            _, rows = ask(cursor, expand(variable["query"], moment, values))
            values[variable["name"]] = [row[0] for row in rows]
            assert rows, f"{uid}: variable {variable['name']} has no value"
        else:
            values[variable["name"]] = [variable["current"]["value"]]
    return values


@pytest.mark.parametrize("span", SPANS, ids=lambda s: f"{s[0]}")
@pytest.mark.parametrize("query", list(queries("timescaledb")), ids=str)
def test_gives_the_columns_that_the_panel_needs(
    cursor: Any, query: Query, span: tuple[timedelta, timedelta]
) -> None:
    moment = window(*span)
    text = expand(query.target["rawSql"], moment, chosen(cursor, query.board, moment))
    columns, rows = ask(cursor, text)
    assert rows, text
    names = [name for name, _ in columns]
    assert len(set(names)) == len(names)
    kind = query.panel["type"]
    assert query.target["format"] == (
        "time_series" if kind in {"timeseries", "heatmap"} else "table"
    )
    if kind in {"timeseries", "heatmap"}:
        assert columns[0][0] == "time"
        assert columns[0][1] in TIMES
        assert [row[0] for row in rows] == sorted(row[0] for row in rows)
        figures = [name for name, code in columns[1:] if code in NUMBERS]
        assert set(names[1:]) - set(figures) <= {"metric"}
        # With a name of its own for each line there must be one figure to name.
        assert len(figures) == 1 or "metric" not in names
        assert any(value for row in rows for value in row[1:])
    if kind == "heatmap":
        bounds = [float(name) for name in names[1:]]
        assert bounds == sorted(bounds)
    if kind == "stat":
        assert len(rows) == 1
        assert columns[0][1] in NUMBERS
        assert rows[0][0] is not None
    # Lines of PromQL have the names of their legends.
    legends = {target.get("legendFormat") for target in query.panel["targets"]}
    for override in query.panel["fieldConfig"]["overrides"]:
        assert override["matcher"]["options"] in {*names, *legends}


@pytest.mark.parametrize(
    ("uid", "found"), [(uid, found) for uid in BOARDS for found in annotations(BOARDS[uid])]
)
def test_gives_the_columns_of_an_annotation(cursor: Any, uid: str, found: Any) -> None:
    moment = window(*SPANS[0])
    text = expand(found["target"]["rawSql"], moment, chosen(cursor, uid, moment))
    columns, rows = ask(cursor, text)
    assert rows, text
    assert columns[0][0] == "time"
    assert columns[0][1] in TIMES
    assert {name for name, _ in columns} <= {"time", "timeend", "text", "tags"}


def panel_rows(
    cursor: Any, uid: str, title: str, moment: Window, **values: Sequence[str]
) -> list[tuple[Any, ...]]:
    query = next(q for q in queries("timescaledb") if q.board == uid and q.panel["title"] == title)
    found = {**chosen(cursor, uid, moment), **values}
    return ask(cursor, expand(query.target["rawSql"], moment, found))[1]


@pytest.mark.parametrize("span", SPANS, ids=lambda s: f"{s[0]}")
def test_readings_and_their_roll_ups_give_one_mean(
    cursor: Any, span: tuple[timedelta, timedelta]
) -> None:
    moment = window(*span)
    title = "Température / Temperature"
    lines = panel_rows(cursor, "edge-sensors", title, moment, level=["site"])
    names = {name for _, name, _ in lines}
    assert names == {"site 0", "site 1"}
    # In whole hours, which all three sources have; the fixture's values repeat each seven readings.
    assert all(20 <= mean <= 26 for _, _, mean in lines)
    hours = max(1, span[0] // timedelta(hours=1))
    assert abs(np.mean([mean for _, _, mean in lines]) - 23) < (0.05 if hours > 1 else 1)


def test_percentiles_by_hour_are_those_of_the_samples(cursor: Any, filled: Filled) -> None:
    moment = window(timedelta(hours=24), timedelta(minutes=2))
    title = "Percentiles par heure / Percentiles by hour"
    stage = "kafka_to_spark"
    lines = panel_rows(cursor, "edge-latency", title, moment, stage=[stage])
    for hour, *shown in lines[1:-1]:
        batches = [
            values
            for at, values in filled.latencies[stage].items()
            if hour <= at < hour + timedelta(hours=1)
        ]
        exact = np.quantile(np.concatenate(batches), [0.5, 0.95, 0.99], method="inverted_cdf")
        assert shown == pytest.approx(exact, rel=0.01)


def test_heat_map_holds_every_sample(cursor: Any) -> None:
    moment = window(timedelta(hours=24), timedelta(minutes=2))
    lines = panel_rows(cursor, "edge-latency", "Répartition / Distribution", moment)
    count = (
        "SELECT sum(samples) FROM pipeline_kpi_1m "
        "WHERE $__timeFilter(time) AND metric_name = 'total_pipeline_latency'"
    )
    _, [(samples,)] = ask(cursor, expand(count, moment, {}))
    assert sum(sum(row[1:]) for row in lines) == samples


def test_silent_device_is_offline_and_listed(cursor: Any) -> None:
    moment = window(timedelta(minutes=15), timedelta(seconds=10))
    table = panel_rows(cursor, "edge-sensors", "Dernières mesures / Last readings", moment)
    states = {row[3]: row[0] for row in table}
    assert states == {"0": "offline", "1": "online", "2": "online", "3": "online"}
    assert panel_rows(cursor, "edge-sensors", "Hors ligne / Offline", moment) == [(1,)]
