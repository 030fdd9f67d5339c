"""What the job says when a query has ended."""

from itertools import islice

import pytest
from pyspark.errors import StreamingQueryException

from spark_app.batches import backoff
from spark_app.keeper import explain
from spark_app.sinks.outcome import Fault, SinkFaultError


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("x\norg.apache.kafka.common.errors.TimeoutException: Call(...)", "does not answer"),
        ("UnknownTopicOrPartitionException: This server", "JOB_RAW_TOPIC"),
        ("failed\n\tat x\nIllegalStateException: cannot store: FATAL: y\n\tat z", "DB: FATAL: y"),
        ("[KAFKA_DATA_LOSS.COULD_NOT_READ_OFFSET_RANGE] ...", "does not have the records"),
    ],
)
def test_known_causes_are_put_plainly(text: str, word: str) -> None:
    line = explain(StreamingQueryException(text))
    assert word in line
    assert "\n" not in line


def test_last_line_of_a_traceback_is_what_counts() -> None:
    text = "failed\nTraceback (most recent call last):\n  File x\nValueError: why\n\n\tat java"
    assert explain(StreamingQueryException(text)) == "StreamingQueryException: ValueError: why"


def test_other_errors_are_cut_to_a_line() -> None:
    assert explain(KeyError()) == "KeyError: "
    assert explain(OSError("a\nb")) == "OSError: a"
    fault = SinkFaultError(Fault("unavailable", "TimescaleDB db1:5432/sensordb: down"))
    assert explain(fault) == "TimescaleDB db1:5432/sensordb: down"


def test_waits_grow_to_half_a_minute() -> None:
    assert list(islice(backoff(), 7)) == [1, 2, 4, 8, 16, 30, 30]
