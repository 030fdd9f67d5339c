"""Where a query begins that has no checkpoint."""

import json
import logging
from pathlib import Path

import pytest

from spark_app.checkpoint import Checkpoint
from spark_app.positions import starting_offsets

ENDS = {0: (0, 100), 1: (50, 100)}


def place(stored: dict[int, int]) -> dict[str, int]:
    offsets = json.loads(starting_offsets(ENDS, "sensor.raw", stored))
    assert list(offsets) == ["sensor.raw"]
    return dict(offsets["sensor.raw"])


def test_begins_behind_what_is_stored_and_with_all_of_the_rest() -> None:
    assert place({0: 70, 1: 100}) == {"0": 70, "1": 100}
    assert place({}) == {"0": 0, "1": 50}
    assert place({5: 1}) == {"0": 0, "1": 50}, "a partition that Kafka does not have"


def test_a_place_that_kafka_lost_is_moved_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert place({0: 120, 1: 20}) == {"0": 100, "1": 50}
    assert "no offset 120 in partition 0 of sensor.raw: beginning at 100" in caplog.text
    assert "no offset 20 in partition 1 of sensor.raw: beginning at 50" in caplog.text


def test_checkpoint_knows_its_first_batch_and_can_be_set_aside(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "store")
    assert checkpoint.is_new
    assert checkpoint.first_batch == 0
    checkpoint.begin(41)
    assert checkpoint.is_new
    (checkpoint.folder / "offsets").mkdir()
    (checkpoint.folder / "offsets" / "0").touch()
    assert not checkpoint.is_new
    assert checkpoint.first_batch == 41
    checkpoint.set_aside()
    assert checkpoint.is_new
    assert checkpoint.first_batch == 0
    assert len(list(tmp_path.glob("store.aside-*/offsets/0"))) == 1
