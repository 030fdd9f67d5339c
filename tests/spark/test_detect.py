"""The query *detect*: what it is given, what it delivers, and that it forgets nothing."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from spark_records import Record

from benchmarks.anomalies.faults import clean
from spark_app.anomalies.fleet import COLUMNS, READING_COLUMNS
from spark_app.decode import decode
from spark_app.detect import Detect, to_judge
from spark_app.sinks.anomalies import AnomalySink
from spark_app.sinks.outcome import Fault, SinkFaultError
from spark_app.transforms import enrich

DEVICES, DAYS = 3, 6
KEY = ["device_id", "quantity", "kind", "time"]


class Sink(AnomalySink):
    """Keeps what it is given; refuses as often as it is told to."""

    def __init__(self) -> None:
        self.found: list[pd.DataFrame] = []
        self.refusals = 0

    def deliver(self, anomalies: pd.DataFrame) -> Mapping[str, int]:
        if self.refusals:
            self.refusals -= 1
            raise SinkFaultError(Fault("unavailable", "not now"))
        self.found.append(anomalies)
        return Counter(anomalies["kind"])

    @property
    def table(self) -> pd.DataFrame:
        """As the table has it: each once."""
        whole = pd.concat(self.found) if self.found else pd.DataFrame(columns=list(COLUMNS))
        return whole.drop_duplicates(KEY).sort_values(KEY, ignore_index=True)


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make(folder: Path, sink: Sink, clock: Clock) -> Detect:
    folder.mkdir(exist_ok=True)
    stop = threading.Event()
    settings: Any = None
    nothing: Any = lambda *_: None  # noqa: E731
    detect = Detect(settings, folder / "detect", sink, nothing, nothing, stop, clock)
    detect.begin()
    return detect


def readings() -> pd.DataFrame:
    """Six days of three devices, with Kafka's places; one shifts on the last day, one ends."""
    seconds, quantities = clean(DEVICES, DAYS, 11)
    parts = [
        pd.DataFrame(
            {
                "device_id": f"dev{row}",
                "gateway": "gw1",
                "time": pd.to_datetime(seconds, unit="s", utc=True),
                "received_at": pd.to_datetime(seconds + row, unit="s", utc=True),
                "appended_at": pd.to_datetime(seconds + row, unit="s", utc=True),
                "kafka_partition": row % 2,
                **{name: values[row] for name, values in quantities.items()},
                "dew_point": 10.0,
            }
        )
        for row in range(DEVICES)
    ]
    whole = pd.concat(parts).sort_values("appended_at", kind="stable").reset_index(drop=True)
    late = whole["time"] >= whole["time"].iloc[0] + pd.Timedelta("5.5D")
    whole.loc[late & (whole["device_id"] == "dev1"), "temperature"] += 3
    whole = whole[~(late & (whole["device_id"] == "dev2"))].reset_index(drop=True)
    whole["kafka_offset"] = whole.groupby("kafka_partition").cumcount()
    return whole[[*READING_COLUMNS, "kafka_offset"]]


def behind(whole: pd.DataFrame, detect: Detect) -> pd.DataFrame:
    """What Kafka still has for it."""
    places = whole["kafka_partition"].map(detect._fleet.places).fillna(0)  # noqa: SLF001
    return whole[whole["kafka_offset"] >= places].reset_index(drop=True)


def test_restarted_query_finds_what_an_unbroken_one_does(tmp_path: Path) -> None:
    whole, clock = readings(), Clock()
    unbroken, sink = Sink(), Sink()
    make(tmp_path / "unbroken", unbroken, clock).judge(whole)
    assert {("dev1", "level_shift"), ("dev2", "silence")} <= set(
        unbroken.table[["device_id", "kind"]].itertuples(index=False, name=None)
    )
    # It ends four times, each time some batches after it last wrote down what it knew.
    folder = tmp_path / "broken"
    for _ in range(4):
        detect = make(folder, sink, clock)
        todo = behind(whole, detect)
        for part in range(5):
            clock.now += 200
            batch = todo[part * len(todo) // 9 : (part + 1) * len(todo) // 9]
            detect.judge(batch.reset_index(drop=True))
    for _ in range(2):
        last = make(folder, sink, clock)
        assert 0 < len(behind(whole, last)) < len(whole) / 4
        last.judge(behind(whole, last))
    assert sum(map(len, sink.found)) > len(sink.table), "something was told again"
    pd.testing.assert_frame_equal(
        sink.table.drop(columns="score"), unbroken.table.drop(columns="score")
    )


def test_what_cannot_be_delivered_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spark_app.detect.backoff", lambda: iter([0.0] * 9))
    sink = Sink()
    sink.refusals = 2
    make(tmp_path, sink, Clock()).judge(readings())
    assert "level_shift" in set(sink.table["kind"])


def test_damaged_memory_is_learnt_anew(tmp_path: Path) -> None:
    detect = make(tmp_path, Sink(), Clock())
    detect.memory.write_bytes(b"\x00 no header")
    detect.begin()
    detect.judge(readings())


def test_time_passes_only_after_a_while_without_readings(tmp_path: Path) -> None:
    sink, clock = Sink(), Clock()
    detect = make(tmp_path, sink, clock)
    detect._run = "this"  # noqa: SLF001
    detect.judge(readings())
    sink.found.clear()
    for seconds, run in ((50, "this"), (3000, "another"), (20, "this"), (30, "this")):
        clock.now += seconds
        detect.pass_time(run)
    assert sink.table.empty, "less than four pauses of five minutes"
    for _ in range(50):
        clock.now += 30
        detect.pass_time("this")
    assert sink.table["device_id"].to_list() == ["dev0", "dev1"]


def test_judges_what_spark_decodes(
    spark: SparkSession, source: Callable[[list[Record]], DataFrame], tmp_path: Path
) -> None:
    values: list[bytes | None] = [
        json.dumps({"ts": f"2026-03-01T11:{minute:02}:00Z", "temperature": 20.5}).encode()
        for minute in range(30)
    ]
    hostile = [
        b"no json", None, b'{"temperature": 1e300}', b'{"humidity": -5}', b'{"co2": 4}',
        b'{"temperature": 21, "ts": "1970-01-01T00:00:00Z"}',
        b'{"temperature": 21, "ts": "9999-12-31T00:00:00Z"}', b'{"temperature": 0.5e-320}',
        b'{"temperature": 21, "humidity": 0}', b'{"temperature": 40, "humidity": 100}',
    ]  # fmt: skip
    records = [Record(value) for value in [*values, *hostile]]
    records += [Record(values[0], gateway=None), Record(values[1], received_ns=None)]
    source(records).write.parquet(str(tmp_path / "in"))
    sink = Sink()
    detect = make(tmp_path, sink, Clock())
    stream = spark.readStream.schema(source(records).schema).parquet(str(tmp_path / "in"))
    query = (
        to_judge(enrich(decode(stream)))
        .writeStream.foreachBatch(detect)
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    told = sink.table
    assert set(told["kind"]) == {"impossible"}
    assert set(told["quantity"]) == {"temperature", "humidity"}
    assert str(told["time"].dt.tz) == "UTC"
    assert detect._fleet.places == {0: len(records)}  # noqa: SLF001
