"""Humidity figures against published ones, quality flags, and the table of devices."""

import math
from pathlib import Path
from typing import Any, Self

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the customary name
from spark_records import Decode, Record

from spark_app.devices import DeviceTable
from spark_app.transforms import absolute_humidity, add_devices, dew_point


def figures(spark: SparkSession, temperature: float, humidity: float) -> tuple[Any, Any]:
    frame = spark.range(1).select(F.lit(temperature).alias("t"), F.lit(humidity).alias("h"))
    row = frame.select(
        dew_point(F.col("t"), F.col("h")).alias("d"),
        absolute_humidity(F.col("t"), F.col("h")).alias("a"),
    ).first()
    assert row is not None
    return row["d"], row["a"]


# Saturated vapour, g/m³, as psychrometric tables have it.
@pytest.mark.parametrize(
    ("temperature", "grams"), [(0, 4.85), (10, 9.40), (20, 17.3), (30, 30.4), (40, 51.1)]
)
def test_saturated_air(spark: SparkSession, temperature: float, grams: float) -> None:
    dew, absolute = figures(spark, temperature, 100.0)
    assert dew == pytest.approx(temperature, abs=1e-9)
    assert absolute == pytest.approx(grams, rel=0.005)


def test_common_air(spark: SparkSession) -> None:
    dew, absolute = figures(spark, 25.0, 60.0)
    assert dew == pytest.approx(16.7, abs=0.05)
    assert absolute == pytest.approx(13.8, abs=0.05)


@pytest.mark.parametrize(
    ("temperature", "humidity"),
    [(20.0, -1.0), (20.0, 101.0), (-243.04, 50.0), (1e308, 50.0), (-300.0, 50.0)],
)
def test_there_is_none_outside_of_the_physical(
    spark: SparkSession, temperature: float, humidity: float
) -> None:
    assert figures(spark, temperature, humidity) == (None, None)


def test_dry_air_has_no_dew_point(spark: SparkSession) -> None:
    assert figures(spark, 20.0, 0.0) == (None, 0.0)


def test_flags(decoded: Decode) -> None:
    ts = '"ts":"2026-03-01T12:00:00Z"'
    rows = decoded(
        [
            Record(f'{{{ts},"temperature":{t},"humidity":{h}}}'.encode())
            for t, h in ((20, 50), (126, 50), (20, 100.1), (-41, -1), ("null", 5))
        ]
    )
    assert [row["quality_flags"] for row in rows] == [
        [],
        ["temperature_out_of_range"],
        ["humidity_out_of_range"],
        ["temperature_out_of_range", "humidity_out_of_range"],
        [],
    ]
    assert [math.isfinite(row["dew_point"] or math.inf) for row in rows] == [True] + [False] * 4


class Connection:
    """Stands in for the database's: one query, one answer."""

    def __init__(self, rows: list[tuple[str | None, ...]]) -> None:
        """Take the answer."""
        self.rows = rows

    def cursor(self) -> "Connection":
        """Return itself, as the cursor too."""
        return self

    def __enter__(self) -> Self:
        """Open nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close nothing."""

    def execute(self, _: str) -> None:
        """Ask nothing."""

    def fetchall(self) -> list[tuple[str | None, ...]]:
        """Answer."""
        return self.rows

    def close(self) -> None:
        """Close nothing."""


def test_devices_are_added_and_outlive_the_database(spark: SparkSession, tmp_path: Path) -> None:
    rows: list[tuple[str | None, ...]] = [("a", "lab", "101", "SHT31"), ("b", None, None, "DHT22")]
    readings = spark.createDataFrame(
        [("a", "s1"), ("b", "s2"), ("c", "s3")], "device_id string, topic_site string"
    )
    wanted = [
        ("a", "lab", "101", "SHT31"),
        ("b", "s2", None, "DHT22"),
        ("c", "s3", None, None),
    ]

    def added(table: DeviceTable) -> list[tuple[Any, ...]]:
        frame = add_devices(readings, table.frame(spark)).orderBy("device_id")
        return [tuple(row) for row in frame.select("device_id", "site", "room", "model").collect()]

    def down() -> Connection:
        message = "down"
        raise ConnectionError(message)

    snapshot = tmp_path / "devices.json"
    table = DeviceTable(lambda: Connection(rows), snapshot, 60)
    assert [row[1] for row in added(table)] == ["s1", "s2", "s3"]
    table.refresh()
    assert added(table) == wanted
    without = DeviceTable(down, snapshot, 60)
    without.refresh()
    assert added(without) == wanted
