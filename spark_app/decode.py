"""Kafka records to readings: parse, validate, settle the time. The rules are in jvm/."""

from datetime import timedelta
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the customary name

# An index entry of PostgreSQL holds about 2,700 bytes.
_MAX_NAME_BYTES = 255
_MICROSECOND = timedelta(microseconds=1)


def decode(records: DataFrame, future_tolerance: timedelta = timedelta(minutes=5)) -> DataFrame:
    """Turn records of the raw topic into readings and refusals.

    Args:
        records: as Spark's Kafka source gives them, headers included.
        future_tolerance: how far a sensor's clock may be ahead of the arrival.

    Returns:
        One row per record: `reason` (null: a reading), the reading's columns but those that
        `enrich` adds, `clock_flags` (array of text), those of CONTROL_COLUMNS, and `key`, `value`
        and `headers` as they came.

    Raises:
        RuntimeError: Spark does not have the jar of spark_app/jvm.
    """
    arguments = (
        *(F.col(name) for name in ("headers", "value", "timestamp", "offset")),
        F.lit(future_tolerance // _MICROSECOND).cast("bigint"),
        F.lit(_MAX_NAME_BYTES),
    )
    return (
        records.select(
            "key",
            "value",
            "headers",
            F.col("topic").alias("kafka_topic"),
            F.col("partition").alias("kafka_partition"),
            F.col("offset").alias("kafka_offset"),
            F.col("timestamp").alias("appended_at"),
            _decoder(records.sparkSession, *arguments).alias("decoded"),
        )
        .select("*", "decoded.*")
        .drop("decoded")
    )


def _decoder(spark: SparkSession, *arguments: Column) -> Column:
    decoder: Any = spark._jvm.edge.telemetry.decode.Decoder  # type: ignore[union-attr]  # noqa: SLF001
    try:
        return Column(decoder.column(*(argument._jc for argument in arguments)))  # noqa: SLF001
    except TypeError as error:
        # What py4j takes for a package is not called.
        text = (
            "the jar of spark_app/jvm is not on Spark's class path: build it with "
            "`mvn package` there, or `python -m tools.artifacts`, and name it in spark.jars"
        )
        raise RuntimeError(text) from error
