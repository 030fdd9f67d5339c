"""The short form of the fuzzer; `make fuzz` is the long one."""

from itertools import chain, islice

import pytest
from pyspark.sql import SparkSession

from benchmarks.local_spark import local_spark
from spark_app import decode as decoder
from tests.fuzz.corpus import SEEDS
from tests.fuzz.judge import Judge
from tests.fuzz.mutate import cases

CASES = 20_000
SEED = 20_261_124


@pytest.fixture(scope="module")
def session() -> SparkSession:
    """Return a session; tests/spark may have made it, and its end is the process's."""
    return local_spark()


def test_every_record_is_a_reading_that_can_be_stored_or_has_the_right_reason(
    session: SparkSession,
) -> None:
    judge = Judge(session)
    judge.judge(list(islice(chain(SEEDS, cases(SEED)), CASES)))
    assert judge.faults == []
    assert judge.judged == CASES
    # It would prove little if it met nothing but one kind.
    assert judge.reasons[None] > CASES // 20
    assert len(judge.reasons) > 12


def test_a_decoder_with_a_fault_is_found_out(
    session: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder, "_MAX_NAME_BYTES", 300)
    judge = Judge(session)
    judge.judge(list(islice(cases(SEED), CASES // 10)))
    assert any("not 'name_too_long'" in fault for fault in judge.faults)
