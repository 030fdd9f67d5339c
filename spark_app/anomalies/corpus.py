"""A corpus laid out like that of the Numenta Anomaly Benchmark: CSV files, and windows in JSON.

Others' files differ in their header, their times and in what they leave empty; what can be read in
one way only is read.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

_TIME_NAMES = ("timestamp", "time", "datetime", "date")
_VALUE_NAMES = ("value", "values")
_PROBATION_SHARE, _PROBATION_MOST_ROWS = 0.15, 750
# Numbers as times: beyond this they are milliseconds since 1970, else seconds.
_MILLISECONDS_FROM = 1e11


class CorpusError(ValueError):
    """Something that cannot be read; says which file, what is wrong and what to do."""


@dataclass(frozen=True)
class Series:
    """One file of a corpus.

    Attributes:
        name: its path below the corpus' folder, `<category>/<file>.csv`.
        seconds: shape (n,), seconds since 1970 of each row, in the file's order.
        values: shape (n,), finite.
        windows: first and last row of each anomaly window, in order.
        labelled: whether the windows' file names this series at all.
        left_out: rows of the file without a time or a value; they count nowhere.
    """

    name: str
    seconds: Floats
    values: Floats
    windows: tuple[tuple[int, int], ...]
    labelled: bool
    left_out: int = 0

    @property
    def probation(self) -> int:
        """Rows at the beginning that are for learning and not scored."""
        return math.floor(min(_PROBATION_SHARE * len(self.values), _PROBATION_MOST_ROWS))


@dataclass(frozen=True)
class Corpus:
    """All series, and by name why a file is none."""

    series: list[Series]
    faults: dict[str, str] = field(default_factory=dict)


def read_corpus(data: Path, windows: Path) -> Corpus:
    """Read all CSV files below a folder, and their windows.

    Args:
        data: folder, with one for each category.
        windows: JSON, a list of [first, last] times by `<category>/<file>.csv`. A series that is
            not in it is taken to have no anomaly; a name without a file is passed over.

    Raises:
        CorpusError: there is not one series, or the windows cannot be read.
    """
    if not data.is_dir():
        message = f"{data}: no such folder: give the one that holds <category>/<file>.csv"
        raise CorpusError(message)
    spans = _read_windows(windows)
    corpus = Corpus([])
    for path in sorted(path for path in data.rglob("*") if path.suffix.lower() == ".csv"):
        name = path.relative_to(data).as_posix()
        try:
            corpus.series.append(_read_series(path, name, spans))
        except CorpusError as fault:
            corpus.faults[name] = str(fault)
    if not corpus.series:
        why = next(iter(corpus.faults.values()), f"{data}: holds no CSV file below it")
        message = f"{why}: give a folder that holds <category>/<file>.csv, columns timestamp, value"
        raise CorpusError(message)
    return corpus


def _read_windows(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Return first and last seconds of the windows by name."""
    try:
        spans = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        message = f"{path}: cannot be read as JSON ({error}): give NAB's combined_windows.json"
        raise CorpusError(message) from error
    if not isinstance(spans, dict):
        message = f"{path}: expected an object: a list of [first, last] times by series"
        raise CorpusError(message)
    try:
        return {
            name: sorted((_moment(first), _moment(last)) for first, last in bounds)
            for name, bounds in spans.items()
        }
    except (TypeError, ValueError) as error:
        message = f"{path}: expected for each series a list of [first, last] times: {error}"
        raise CorpusError(message) from error


def _moment(text: Any) -> float:  # noqa: ANN401 - whatever JSON has
    stamp = pd.Timestamp(text)
    return float((stamp.tz_localize("UTC") if stamp.tz is None else stamp).timestamp())


def _read_series(path: Path, name: str, spans: Mapping[str, list[tuple[float, float]]]) -> Series:
    times, numbers = _columns(path)
    seconds, values = _times(times), pd.to_numeric(numbers, errors="coerce").to_numpy(np.float64)
    good = np.isfinite(seconds) & np.isfinite(values)
    if not good.any():
        message = f"{path}: no row has a time such as 2014-04-01 00:00:00 and a number"
        raise CorpusError(message)
    seconds, values = seconds[good], values[good]
    # The folder that was given may be one higher than the names begin.
    label = next((label for label in spans if f"/{name}".endswith(f"/{label}")), None)
    windows = []
    for first, last in spans[label] if label else []:
        rows = np.flatnonzero((seconds >= first) & (seconds <= last))
        if rows.size:
            windows.append((int(rows[0]), int(rows[-1])))
    left_out = int((~good).sum())
    return Series(name, seconds, values, tuple(windows), label is not None, left_out)


def _columns(path: Path) -> tuple[pd.Series, pd.Series]:
    """Return a file's times and values as text: the columns named so, or its only two."""
    try:
        head = path.read_text(encoding="utf-8-sig", errors="replace").partition("\n")[0]
        separator = max(",;\t", key=head.count)
        table = pd.read_csv(
            path, sep=separator, dtype=str, encoding="utf-8-sig", encoding_errors="replace",
            skipinitialspace=True, index_col=False, header=None,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        message = f"{path}: cannot be read as CSV: {error}"
        raise CorpusError(message) from error
    named = [str(cell).strip().lower() for cell in table.iloc[0]]
    found = [
        next((named.index(name) for name in names if name in named), None)
        for names in (_TIME_NAMES, _VALUE_NAMES)
    ]
    time, value = found
    if time is not None and value is not None:
        return table[time][1:], table[value][1:]
    if len(named) == 2:  # noqa: PLR2004 - a time and a value
        return table[0], table[1]
    message = f"{path}: its header {named} names no timestamp and value"
    raise CorpusError(message)


def _times(texts: pd.Series) -> Floats:
    """Return seconds since 1970, NaN where a text is no time."""
    if texts.empty:
        return np.empty(0)
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(np.float64)
    if np.isfinite(numbers).mean() > 0.5:  # noqa: PLR2004 - most are numbers
        return np.asarray(np.where(numbers > _MILLISECONDS_FROM, numbers / 1000, numbers))
    times = pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=True)
    if times.isna().mean() > 0.5:  # noqa: PLR2004 - most are of another form
        times = pd.to_datetime(texts, errors="coerce", format="mixed", utc=True)
    stamps = times.dt.tz_localize(None).to_numpy().astype("datetime64[ns]")
    return np.asarray(np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64) / 1e9))
