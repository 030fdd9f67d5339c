"""What a record costs the executor: Spark's decoding and enriching, alone, on one core.

Processor time of the JVM, not wall time, so that other work on the machine matters little.
"""

import time
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet
from pyspark.sql import DataFrame, SparkSession

from benchmarks.figures import Figure
from benchmarks.local_spark import local_spark
from benchmarks.options import Options
from benchmarks.records import record
from spark_app.decode import decode
from spark_app.realtime import for_writer
from spark_app.transforms import enrich

_RECORDS = 50_000
# The JVM's compilers see all the code before anything is measured.
_WARM_UP = 5


def run(options: Options) -> list[Figure]:
    """Measure the reading of the file, and the same with all that the store query does to a row."""
    file = options.folder / "records.parquet"
    count = options.scaled(_RECORDS)
    parquet.write_table(_records(count), file)
    spark = local_spark(cores=1)
    try:
        records = spark.read.parquet(str(file))
        ways = {"read": records, "decode": for_writer(enrich(decode(records)))}
        figures = []
        for name, frame in ways.items():
            costs = [_cost(spark, frame) / count for _ in range(_WARM_UP + options.repeats)]
            figures.append(Figure(f"decode.{name}.cpu_us_per_record", "µs", costs[_WARM_UP:]))
    finally:
        spark.stop()
    return figures


def _records(count: int) -> pa.Table:
    """Return records as Spark's Kafka source gives them."""
    now = time.time_ns() // 1000
    header = pa.struct([("key", pa.string()), ("value", pa.binary())])
    rows = []
    for number in range(count):
        device, value, headers = record(number, "bench")
        rows.append(
            {
                "key": device.encode(),
                "value": value.encode(),
                "topic": "sensor.raw",
                "partition": number % 4,
                "offset": number,
                "timestamp": now,
                "timestampType": 0,
                "headers": [{"key": k, "value": str(v).encode()} for k, v in headers.items()],
            }
        )
    schema = pa.schema(
        [
            ("key", pa.binary()),
            ("value", pa.binary()),
            ("topic", pa.string()),
            ("partition", pa.int32()),
            ("offset", pa.int64()),
            ("timestamp", pa.timestamp("us", tz="UTC")),
            ("timestampType", pa.int32()),
            ("headers", pa.list_(header)),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def _cost(spark: SparkSession, frame: DataFrame) -> float:
    """Return the µs of processor time that the JVM spends on all rows."""
    before = _processor_ticks(spark)
    frame.write.format("noop").mode("overwrite").save()
    return (_processor_ticks(spark) - before) * 1e4  # a tick is 10 ms on Linux


def _processor_ticks(spark: SparkSession) -> int:
    pid = spark._jvm.java.lang.ProcessHandle.current().pid()  # type: ignore[union-attr]  # noqa: SLF001
    # proc(5): fields 14 and 15 are utime and stime; the name in the second may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
