"""Corpora that others have written."""

import json
from pathlib import Path

import numpy as np
import pytest

from spark_app.anomalies.__main__ import main
from spark_app.anomalies.corpus import Corpus, CorpusError, read_corpus

GOOD = "timestamp,value\n2014-04-01 00:00:00,1\n2014-04-01 00:05:00,2.5\n"
SECONDS = [1396310400.0, 1396310700.0]


def corpus(folder: Path, *texts: str | bytes, windows: object = None) -> Corpus:
    """Files a/0.csv, a/1.csv and so on."""
    (folder / "a").mkdir(exist_ok=True)
    for number, text in enumerate(texts):
        data = text.encode() if isinstance(text, str) else text
        (folder / "a" / f"{number}.csv").write_bytes(data)
    (folder / "windows.json").write_text(json.dumps(windows or {}), encoding="utf-8")
    return read_corpus(folder, folder / "windows.json")


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("timestamp,value", " Timestamp , Value "),
        GOOD.replace("timestamp,value", "Date,kWh"),
        GOOD.replace("timestamp,value\n", ""),
        GOOD.replace(",", ";"),
        GOOD.replace(",", "\t"),
        GOOD.replace(" 00", "T00").replace(":00,", ":00Z,"),
        GOOD.replace("2014-04-01 00:00:00", "04/01/2014 00:00").replace(
            "2014-04-01 00:05:00", "04/01/2014 00:05"
        ),
        "id,value,label,timestamp\n1,1,0,2014-04-01 00:00:00\n2,2.5,1,2014-04-01 00:05:00\n",
        "timestamp,value\n1396310400,1\n1396310700,2.5\n",
        "timestamp,value\n1396310400000,1\n1396310700000,2.5\n",
        GOOD + "2014-04-01 00:10:00,\n2014-04-01 00:15:00,NaN\nnever,3\n2014-04-01 00:20:00,inf\n",
    ],
)
def test_same_series_in_many_forms(tmp_path: Path, text: str) -> None:
    (series,) = corpus(tmp_path, text).series
    assert series.seconds.tolist() == SECONDS
    assert series.values.tolist() == [1, 2.5]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timestamp,value\nnever,x\n", "no row has a time"),
        ("timestamp,value\n", "no row has a time"),
        ("a,b,c\n1,2,3\n", "names no timestamp and value"),
        ("", "cannot be read as CSV"),
        (bytes(range(256)) * 9, "0.csv"),
    ],
)
def test_bad_file_is_named_and_stops_no_other(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(CorpusError, match=said):
        corpus(tmp_path, text)
    whole = corpus(tmp_path, text, GOOD)
    assert [series.name for series in whole.series] == ["a/1.csv"]
    assert said in whole.faults["a/0.csv"]


def test_windows_are_found_from_one_folder_higher_too(tmp_path: Path) -> None:
    deep = tmp_path / "data" / "b"
    deep.mkdir(parents=True)
    (deep / "x.CSV").write_text(GOOD, encoding="utf-8")
    windows = {"b/x.CSV": [["2014-04-01 00:05:00.000000", "2014-04-01T00:09:00Z"]], "gone.csv": []}
    found = {s.name: s for s in corpus(tmp_path, GOOD, windows=windows).series}
    assert found["data/b/x.CSV"].windows == ((1, 1),)
    assert not found["a/0.csv"].labelled


@pytest.mark.parametrize("windows", [[1], {"a": ["2014-04-01"]}, {"a": [["x", "y"]]}, {"a": 3}])
def test_bad_windows_are_refused(tmp_path: Path, windows: object) -> None:
    with pytest.raises(CorpusError, match=r"windows\.json"):
        corpus(tmp_path, GOOD, windows=windows)


def test_command_scores_odd_series(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One row, one value throughout, values of any size, times that stand still or go back."""
    chance = np.random.default_rng(3)
    times = np.arange(900) * 60.0 + 1.4e9
    series = {
        "one": ([1.4e9], [1.0]),
        "flat": (times, np.zeros(900)),
        "huge": (times, chance.normal(size=900) * 1e300),
        "tiny": (times, chance.normal(size=900) * 1e-300),
        "still": (np.full(900, 1.4e9), chance.normal(size=900)),
        "back": (times[::-1], chance.normal(size=900)),
        "daily": (np.arange(900) * 86_400.0, chance.normal(size=900)),
        "fast": (1.4e9 + np.arange(900) * 1e-3, chance.normal(size=900)),
    }
    for name, (seconds, values) in series.items():
        rows = "\n".join(
            f"{t!r},{v!r}" for t, v in zip(map(float, seconds), map(float, values), strict=True)
        )
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.csv").write_text(f"timestamp,value\n{rows}\n", encoding="utf-8")
    (tmp_path / "flat" / "empty.csv").write_text("", encoding="utf-8")
    spans = {"huge/x.csv": [["2014-05-14 00:00:00", "2014-05-14 02:00:00"]], "one/x.csv": []}
    (tmp_path / "windows.json").write_text(json.dumps(spans), encoding="utf-8")
    out = tmp_path / "out.json"
    options = ["--data", str(tmp_path), "--windows", str(tmp_path / "windows.json")]
    assert main(["score", *options, "--out", str(out)]) == 0
    report = json.loads(out.read_text("utf-8"))
    assert report["series"] == len(series)
    assert "flat/empty.csv is left out" in capsys.readouterr().err
    assert set(report["files_that_cannot_be_read"]) == {"flat/empty.csv"}
    assert np.isfinite(report["threshold"])
