"""What partitions report, put together."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from spark_app.histogram import Histogram
from spark_app.sinks.outcome import (
    Fault,
    Outcome,
    PartitionTask,
    SinkFaultError,
    require,
    unhurried,
)

FIRST = Outcome(
    rows_in=10,
    stored=6,
    duplicate=1,
    late=2,
    rejected=3,
    payload_bytes=700,
    committed_ns=5,
    refused=[(0, 41, "why")],
    latencies={"kafka_to_spark": Histogram.of(np.array([1_000, 2_000], dtype=np.int64))},
    clocks={"gw1": {"gateway_clock_offset": Histogram.of(np.array([-16], dtype=np.int64))}},
    spools={"gw1": (41, 3)},
)


def test_survives_the_way_to_the_driver() -> None:
    with_fault = replace(FIRST, fault=Fault("unavailable", "down"))
    assert Outcome.from_json(with_fault.to_json()) == with_fault


def test_partitions_add_up() -> None:
    total = Outcome()
    total.add(FIRST)
    total.add(replace(FIRST, committed_ns=9, fault=Fault("unavailable", "down")))
    total.add(replace(FIRST, committed_ns=7, fault=Fault("missing_module", "gone")))
    assert (total.rows_in, total.stored, total.duplicate, total.rejected) == (30, 18, 3, 9)
    assert total.committed_ns == 9
    assert total.latencies["kafka_to_spark"].samples == 6
    assert total.clocks["gw1"]["gateway_clock_offset"].samples == 3
    assert len(total.refused) == 3
    assert total.fault == Fault("unavailable", "down")


def test_spool_is_as_its_newest_record_tells() -> None:
    total = Outcome()
    for spools in ({"gw1": (41, 3)}, {"gw1": (44, 0), "gw2": (7, 9)}, {"gw1": (40, 5)}):
        total.add(Outcome(spools=spools))
    assert total.spools == {"gw1": (44, 0), "gw2": (7, 9)}


def test_writer_gets_the_batch_and_its_fault_becomes_part_of_the_outcome() -> None:
    seen: list[pa.Table] = []

    def fail(table: pa.Table) -> Outcome:
        seen.append(table)
        raise SinkFaultError(Fault("unavailable", "TimescaleDB db1:5432/sensordb: down"))

    batches = [pa.RecordBatch.from_pydict({"x": [1, 2]}), pa.RecordBatch.from_pydict({"x": [3]})]
    (answer,) = PartitionTask(fail, batch_id=7)(iter(batches))
    assert Outcome.from_json(answer["outcome"][0].as_py()).fault == Fault(
        "unavailable", "TimescaleDB db1:5432/sensordb: down"
    )
    assert seen[0]["batch_id"].to_pylist() == [7, 7, 7]
    assert not list(PartitionTask(fail, batch_id=7)(iter([])))


def test_who_is_patient_rests_after_each_item_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    rests: list[float] = []

    def rest(seconds: float) -> None:
        nonlocal now
        rests.append(seconds)
        now += seconds

    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr("time.sleep", rest)

    def work() -> Iterator[int]:
        nonlocal now
        for number in range(100):
            now += 0.1
            yield number

    assert list(unhurried(work())) == list(range(100))
    assert rests[:2] == pytest.approx([0.9, 0.9])
    assert sum(rests) == pytest.approx(5)
    assert min(rests) >= 0


def test_missing_module_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSPARK_PYTHON", "/opt/spark/current/bin/python")
    with pytest.raises(SinkFaultError) as caught:
        require("no_such_module", "no-such-package")
    assert caught.value.fault.kind == "missing_module"
    for word in ("no_such_module", "pip install no-such-package", "/opt/spark/current/bin/python"):
        assert word in caught.value.fault.text
