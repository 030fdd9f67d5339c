"""What report/figures.sql says of a real TimescaleDB, against its readings and the samples."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from typing import Any

import numpy as np
import psycopg2
import pytest

from report.__main__ import figures
from tests.grafana.conftest import Filled

COUNTS = """
SELECT device_id, count(*), count(*) FILTER (WHERE cardinality(quality_flags) > 0)
FROM sensor_data WHERE time BETWEEN %(first)s AND %(until)s GROUP BY 1
"""
MEANS = """
SELECT floor(extract(EPOCH FROM time - %(first)s::timestamptz) / %(step)s)::int,
    round(avg(temperature)::numeric, 2)::float, round(avg(humidity)::numeric, 2)::float
FROM sensor_data
WHERE device_id = %(device)s AND time BETWEEN %(first)s AND %(until)s GROUP BY 1 ORDER BY 1
"""


def rows(filled: Filled, statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(filled.dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


# Points of seconds, of half a minute, and of minutes from the roll-ups.
@pytest.fixture(params=[(0.2, 1), (6, 30), (24, 300)], ids=str)
def document(filled: Filled, request: pytest.FixtureRequest) -> dict[str, Any]:
    hours, step = request.param
    found = figures(filled.dsn, hours)
    assert found["frame"]["step"] == step
    return found


def test_readings_are_counted_once(document: dict[str, Any], filled: Filled) -> None:
    found = {
        device["device"]: (device["samples"], device["flagged"])
        for device in document["devices"]
        if device["samples"]
    }
    wanted = {name: tuple(of) for name, *of in rows(filled, COUNTS, document["frame"])}
    assert found == wanted
    assert document["samples"] == sum(samples for samples, _ in wanted.values())


def test_points_are_means(document: dict[str, Any], filled: Filled) -> None:
    (points,) = (d["points"] for d in document["devices"] if d["device"] == "1")
    wanted = rows(filled, MEANS, {**document["frame"], "device": "1"})
    assert [point[0] for point in points] == [n for n, *_ in wanted]
    for point, row in zip(points, wanted, strict=True):
        assert point[1:] == pytest.approx(row[1:], abs=0.011)


def test_percentiles_are_those_of_the_samples(document: dict[str, Any], filled: Filled) -> None:
    first = datetime.fromisoformat(document["frame"]["first"])
    samples: dict[int, list[Any]] = {}
    for moment, latencies in filled.latencies["mqtt_to_kafka"].items():
        number = int((moment - first).total_seconds() // document["frame"]["step"])
        samples.setdefault(number, []).append(latencies)
    points = document["latencies"]["mqtt_to_kafka"]
    assert points
    for number, *percentiles in points:
        ordered = np.sort(np.concatenate(samples[number]))
        for share, found in zip((0.5, 0.95, 0.99), percentiles, strict=True):
            exact = ordered[int(np.ceil(share * len(ordered))) - 1]
            assert found == pytest.approx(exact, rel=0.011)


def test_what_is_wrong_is_in_it(filled: Filled) -> None:
    document = figures(filled.dsn, 24)
    by_name = {device["device"]: device for device in document["devices"]}
    # Device 0 fell silent an hour ago, device 1 has an anomaly; each lacks numbers.
    assert by_name["0"]["points"][-1][0] < by_name["1"]["points"][-1][0] - 10
    assert by_name["1"]["anomalies"] == document["anomaly_count"] == 1
    assert sum(hour["missing"] for hour in document["hours"]) == sum(
        device["missing"] for device in document["devices"]
    )
    assert min(device["missing"] for device in document["devices"]) > 0
    assert {gateway["gateway"] for gateway in document["gateways"]} == {"gw0", "gw1"}
