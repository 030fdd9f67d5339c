"""NAB's scoring rules, on corpora small enough to work out by hand, and the command."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from spark_app.anomalies.__main__ import main
from spark_app.anomalies.corpus import Series
from spark_app.anomalies.nab import evaluate

ROWS = 200  # 30 of them are the probation


def a_series(*windows: tuple[int, int]) -> Series:
    return Series("a/b.csv", np.arange(ROWS) * 300.0, np.zeros(ROWS), windows, labelled=True)


def flags(*rows: int) -> np.ndarray:
    scores = np.zeros(ROWS)
    scores[list(rows)] = 1.0
    return scores


def test_perfect_and_null_detectors_mark_the_ends_of_the_scale() -> None:
    series = a_series((50, 69), (120, 139))
    assert evaluate([series], [flags(50, 120)]).score == pytest.approx(100)
    assert evaluate([series], [np.zeros(ROWS)]).score == 0


def test_late_detection_earns_less_and_only_the_first_counts() -> None:
    series = a_series((50, 69))
    # Position of row 60: -(1 + 69 - 60) / 20.
    earned = (2 / (1 + math.exp(-2.5)) - 1) / (2 / (1 + math.exp(-5)) - 1)
    assert evaluate([series], [flags(60)]).files["a/b.csv"]["score"] == pytest.approx(earned)
    assert evaluate([series], [flags(60, 61, 69)]).files["a/b.csv"]["score"] == pytest.approx(
        earned
    )


def test_false_positive_costs_more_the_further_behind_a_window() -> None:
    series = a_series((50, 69))

    def cost(row: int) -> float:
        return 1 - evaluate([series], [flags(50, row)]).files["a/b.csv"]["score"]

    near = 0.11 * (1 - 2 / (1 + math.exp(5 * 5 / 19)))
    assert cost(74) == pytest.approx(near)
    assert cost(40) == cost(190) == pytest.approx(0.11)
    assert cost(29) == 0, "the probation is not scored"


def test_threshold_is_one_for_the_whole_corpus() -> None:
    first, second = a_series((50, 69)), a_series((120, 139))
    # The second's window is worth more than the first's five false positives cost.
    noisy = 0.5 * flags(30, 80, 85, 180, 190) + flags(50)
    result = evaluate([first, Series("a/c.csv", *second_of(second))], [noisy, 0.4 * flags(120)])
    assert result.threshold == pytest.approx(0.4)
    assert result.files["a/b.csv"]["false_positives"] == 5
    assert result.files["a/c.csv"]["found"] == 1


def second_of(series: Series) -> tuple[np.ndarray, np.ndarray, tuple[tuple[int, int], ...], bool]:
    return series.seconds, series.values, series.windows, True


def test_command_scores_a_corpus_it_has_never_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = np.random.default_rng(1)
    values = chance.normal(20, 1, 1500)
    values[1000:1005] += 30
    lines = [f"2014-04-{1 + i // 288:02} {i // 12 % 24:02}:{i % 12 * 5:02}:00" for i in range(1500)]
    for name in ("labelled", "unlabelled"):
        (tmp_path / "data" / name).mkdir(parents=True)
        rows = "\n".join(f"{t},{v}" for t, v in zip(lines, values, strict=True))
        (tmp_path / "data" / name / "x.csv").write_text(f"timestamp,value\n{rows}\n", "utf-8")
    windows = {"labelled/x.csv": [[lines[990] + ".000000", lines[1050] + ".000000"]]}
    (tmp_path / "windows.json").write_text(json.dumps(windows), encoding="utf-8")
    out = tmp_path / "out.json"
    options = ["--windows", str(tmp_path / "windows.json"), "--out", str(out)]
    assert main(["score", "--data", str(tmp_path / "data"), *options]) == 0
    report = json.loads(out.read_text("utf-8"))
    assert report["score"] > 80
    assert report["series_not_in_windows_file"] == ["unlabelled/x.csv"]
    assert report["files"]["labelled/x.csv"]["found"] == 1
    assert main(["score", "--data", str(tmp_path / "none"), *options]) == 2
    assert "no such folder" in capsys.readouterr().err
