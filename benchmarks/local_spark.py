"""A Spark session on this machine that can decode records: for tests and benchmarks."""

import tempfile
from pathlib import Path

from pyspark.sql import SparkSession

from benchmarks.services import artifact


def local_spark(cores: int = 2) -> SparkSession:
    """Return a session with the job's time zone and the jar of spark_app/jvm."""
    with tempfile.TemporaryDirectory() as folder:
        jars = artifact("store_writer", Path(folder)).glob("*.jar")
        session = (
            SparkSession.builder.master(f"local[{cores}]")
            .config("spark.driver.memory", "1500m")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.sql.shuffle.partitions", "1")
            # Spark keeps a copy of its own.
            .config("spark.jars", ",".join(map(str, jars)))
            .getOrCreate()
        )
    session.sparkContext.setLogLevel("ERROR")
    return session
