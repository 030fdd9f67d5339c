"""What the real-time store query needs before it starts."""

import re
from pathlib import Path

import pytest

from spark_app.realtime import WRITER_COLUMNS, require_slots
from spark_app.sinks.outcome import SinkFaultError

JVM = Path(__file__).resolve().parents[3] / "spark_app" / "jvm"


def test_a_task_slot_is_left_for_the_archive() -> None:
    require_slots(5, 4)
    with pytest.raises(SinkFaultError, match=r"each of the 4 .* Spark has 4: raise"):
        require_slots(4, 4)


def test_the_writer_takes_the_columns_that_the_query_gives() -> None:
    text = (JVM / "src/main/java/edge/telemetry/store/Reading.java").read_text(encoding="utf-8")
    columns = re.search(r"List\.of\(\s*(\"time\".*?)\);", text, re.DOTALL)
    assert columns is not None
    assert tuple(re.findall(r'"(\w+)"', columns[1])) == WRITER_COLUMNS
