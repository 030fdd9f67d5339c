"""The query *detect*: decoded readings in, anomalies out; the devices' states are Spark's.

`applyInPandasWithState` and not `transformWithStateInPandas`: the latter needs RocksDB's native
library and protobuf; one binary value per bucket does not need what it adds. The state is committed
with the batch: after a crash a batch is done again from the states before it and tells the same
anomalies, so a sink that knows their key (device_id, quantity, kind, time) has each once.
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the customary name
from pyspark.sql.streaming.state import GroupState, GroupStateTimeout

from spark_app.anomalies.bucket import QUANTITIES, Bucket
from spark_app.anomalies.detector import Tuning

SCHEMA = (
    "time timestamp, device_id string, quantity string, kind string, value double, "
    "expected_low double, expected_high double, score double, detector_version int"
)

# How often silent devices are looked for where nothing arrives at all.
CHECK_MS = 15_000

_NEEDED = ("device_id", "time", "appended_at", *QUANTITIES, "dew_point")


def detect(readings: DataFrame, buckets: int = 4, tuning: Tuning | None = None) -> DataFrame:
    """Return the anomalies of decoded and enriched readings, in the columns of SCHEMA.

    Args:
        readings: streaming; rows with a `reason` are no readings. A device's records are in one
            Kafka partition; after partitions are added, those that moved are learnt anew.
        buckets: of each Kafka partition. Each is a state of its own, and written anew when one of
            its devices has sent. A checkpoint belongs to one number.
        tuning: of the detector.
    """
    return (
        readings.where(F.col("reason").isNull())
        .select(
            "kafka_partition",
            F.pmod(F.hash("device_id"), F.lit(buckets)).alias("bucket"),
            *_NEEDED,
        )
        # The partition as well: within it Kafka's times rise, so a bucket's clock is right even
        # while a backlog is read.
        .groupBy("kafka_partition", "bucket")
        .applyInPandasWithState(
            _Judge(tuning),
            SCHEMA,
            "bucket binary",
            "append",
            GroupStateTimeout.ProcessingTimeTimeout,
        )
    )


def to_kafka(anomalies: DataFrame) -> DataFrame:
    """Return `key` (device) and `value` (JSON, times in UTC) for the topic of anomalies."""
    return anomalies.select(
        F.col("device_id").alias("key"), F.to_json(F.struct(*anomalies.columns)).alias("value")
    )


class _Judge:
    """What Spark calls for each bucket that has readings or has waited for CHECK_MS."""

    def __init__(self, tuning: Tuning | None) -> None:
        self._tuning = tuning

    def __call__(
        self, _key: tuple[Any, ...], batches: Iterator[pd.DataFrame], state: GroupState
    ) -> Iterator[pd.DataFrame]:
        bucket = Bucket(tuning=self._tuning)
        if state.exists:
            bucket = Bucket.from_bytes(bytes(state.get[0]), self._tuning)
        if state.hasTimedOut:
            now = state.getCurrentProcessingTimeMs() / 1000
            # No further than one check: while this job was down, nobody was silent.
            bucket.clock = max(bucket.clock, min(now, bucket.clock + 2 * CHECK_MS / 1000))
            found = bucket.silent_devices()
        else:
            # Whole, not chunk by chunk: a chunk's end says nothing about who is silent.
            found = bucket.observe(pd.concat(list(batches), ignore_index=True))
        state.update((bucket.to_bytes(),))
        state.setTimeoutDuration(CHECK_MS)
        yield found
