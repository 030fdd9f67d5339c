"""The query *detect* in Spark: its states outlive it."""

from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the customary name

from benchmarks.anomalies.faults import clean
from spark_app.anomalies.bucket import Bucket
from spark_app.anomalies.query import detect, to_kafka

DEVICES, DAYS = 3, 6
_SCHEMA = (
    "device_id string, time timestamp, appended_at timestamp, temperature double, "
    "humidity double, dew_point double, reason string, kafka_partition int"
)


def table() -> pd.DataFrame:
    seconds, quantities = clean(DEVICES, DAYS, 11)
    parts = [
        pd.DataFrame(
            {
                "device_id": f"dev{row}",
                "time": pd.to_datetime(seconds, unit="s").astype("datetime64[us]"),
                "appended_at": pd.to_datetime(seconds + 0.2, unit="s").astype("datetime64[us]"),
                **{name: values[row] for name, values in quantities.items()},
                "dew_point": 10.0,
                "reason": None,
                "kafka_partition": np.int32(0),
            }
        )
        for row in range(DEVICES)
    ]
    whole = pd.concat(parts).sort_values("time", kind="stable").reset_index(drop=True)
    # A shift behind the restart; only who remembers the days before can see it.
    late = (whole["device_id"] == "dev1") & (
        whole["time"] >= whole["time"].iloc[0] + pd.Timedelta("5.5D")
    )
    whole.loc[late, "temperature"] += 3
    return whole


def test_restarted_query_finds_what_an_unbroken_one_does(
    spark: SparkSession, tmp_path: Path
) -> None:
    whole = table()
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    half = len(whole) * 5 // DAYS
    for number, part in enumerate((whole[:half], whole[half:])):
        part.astype({"reason": "string"}).to_parquet(
            source / f"{number}.parquet", coerce_timestamps="us"
        )
        query = (
            detect(spark.readStream.schema(_SCHEMA).parquet(str(source)), buckets=1)
            .writeStream.format("parquet")
            .option("path", str(out))
            .option("checkpointLocation", str(tmp_path / "checkpoint"))
            # Not `availableNow`: with a timeout in processing time Spark always runs another batch.
            .trigger(once=True)
            .start()
        )
        query.awaitTermination()
    key = ["device_id", "quantity", "kind", "time"]
    found = spark.read.parquet(str(out))
    expected = Bucket().observe(whole).sort_values(key, ignore_index=True)
    assert "level_shift" in set(expected["kind"])
    pd.testing.assert_frame_equal(
        found.toPandas().sort_values(key, ignore_index=True), expected, check_dtype=False
    )
    message = to_kafka(found).where(F.col("value").contains("level_shift")).first()
    assert message is not None
    assert message["key"] == "dev1"
