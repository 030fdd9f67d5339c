"""The arithmetic of the benchmarks, and what is written of it."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Bar, Figure, percentile, ratio
from benchmarks.load import packet, reading
from benchmarks.report import Run, figures_of, number, page, written


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, p) for p in (0, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([3.0], 99) == 3.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0, 100))
def test_so_many_percent_do_not_exceed_a_percentile(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert found in values
    below = sum(value <= found for value in values)
    assert below >= len(values) * percent / 100 - 1e-9


def test_ratios_are_of_repeats_that_ran_together() -> None:
    assert ratio([3.0, 8.0, 5.0], [2.0, 4.0]) == [1.5, 2.0]


FIGURES = {
    "a.x": Figure("a.x", "1/s", [30.0, 10.0, 20.0]),
    "b.x": Figure("b.x", "1/s", [10.0, 10.0, 10.0]),
    "c.x": Figure("c.x", "ms", [], "not installed"),
}


@pytest.mark.parametrize(
    ("least", "most", "holds"),
    [(2.0, None, True), (2.1, None, False), (None, 2.0, True), (None, 1.9, False)],
)
def test_a_bar_is_judged_by_the_median(
    least: float | None, most: float | None, *, holds: bool
) -> None:
    verdict = Bar("a / b", "a.x", "b.x", least, most).judge(FIGURES)
    assert verdict is not None
    assert (verdict["ratio"], verdict["low"], verdict["high"]) == (2.0, 1.0, 3.0)
    assert verdict["holds"] is holds


def test_a_bar_of_one_figure_and_one_without_its_figures() -> None:
    verdict = Bar("a", "a.x", most=25).judge(FIGURES)
    assert verdict is not None
    assert (verdict["ratio"], verdict["holds"]) == (20.0, True)
    assert Bar("a / c", "a.x", "c.x", least=1).judge(FIGURES) is None
    assert Bar("a / d", "a.x", "d.x", least=1).judge(FIGURES) is None


def test_what_was_not_measured_has_no_figure_but_a_reason() -> None:
    told = FIGURES["c.x"].to_json()
    assert told["note"] == "not installed"
    assert "median" not in told
    assert math.isnan(FIGURES["c.x"].median)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123456, "0.0123"), (1.5, "1.50"), (43_668.12, "43,668"), (0.0, "0.0"), (99.9, "99.9")],
)
def test_numbers_keep_three_digits(value: float, text: str) -> None:
    assert number(value, value, value) == f"{text} ({text} … {text})"


def test_the_page_has_each_figure_each_bar_and_each_picture(tmp_path: Path) -> None:
    run = Run("a", {"processor": "any", "load_average": 0.5}, list(FIGURES.values()))
    text = page(written([run], ["a"], tmp_path / "bench.json"), ["bench-a_x"])
    assert "| a.x | 20.0 (10.0 … 30.0) | 1/s |  |" in text
    assert "| c.x | not measured | ms | not installed |" in text
    assert "- *a*: processor any; load average 0.5\n" in text
    assert "![bench-a_x](bench-a_x.svg)" in text


def test_a_part_that_is_not_run_keeps_its_figures(tmp_path: Path) -> None:
    file, parts = tmp_path / "bench.json", ["a", "b", "c"]
    first = [Run(part, {"time": 1}, [FIGURES[f"{part}.x"]]) for part in parts]
    written(first, parts, file)
    results = written([Run("b", {"time": 2}, [Figure("b.x", "1/s", [5.0])])], parts, file)
    assert results["parts"] == {"a": {"time": 1}, "b": {"time": 2}, "c": {"time": 1}}
    assert figures_of(results) == [FIGURES["a.x"], Figure("b.x", "1/s", [5.0]), FIGURES["c.x"]]
    # A new clone has no results but those that are kept with the page.
    assert written([], parts, tmp_path / "new.json", kept=file) == results


def test_the_load_is_what_a_broker_takes() -> None:
    topic, payload = reading(1234)
    sent = packet(1234)
    assert sent[0] == 0x32
    assert sent.endswith(payload[payload.index(b'"seq"') :])
    assert topic.encode() in sent
    assert b'"seq":1234,' in payload
    length = sent[1] & 0x7F | sent[2] << 7
    assert len(sent) == 3 + length
