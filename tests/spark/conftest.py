"""A local Spark session, and functions from records to rows."""

from collections.abc import Callable, Iterator

import pytest
from pyspark.sql import DataFrame, SparkSession
from spark_records import SOURCE_SCHEMA, Decode, Record

from benchmarks.local_spark import local_spark
from spark_app.decode import decode
from spark_app.transforms import enrich


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """Yield a session on two cores, with the time zone that the job sets."""
    session = local_spark()
    yield session
    session.stop()


@pytest.fixture(scope="session")
def source(spark: SparkSession) -> Callable[[list[Record]], DataFrame]:
    """Return a function from records to the source's DataFrame."""
    return lambda records: spark.createDataFrame(
        [record.row(offset) for offset, record in enumerate(records)], SOURCE_SCHEMA
    )


@pytest.fixture(scope="session")
def decoded(source: Callable[[list[Record]], DataFrame]) -> Decode:
    """Return a function from records to decoded and enriched rows, in the same order."""
    return lambda records: (
        source(records).transform(decode).transform(enrich).orderBy("kafka_offset").collect()
    )
