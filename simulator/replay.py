"""Recorded room-climate files as readings.

The columns, without a header line: entry id, absolute time (ms since the epoch), relative time (s),
node id, temperature (°C), relative humidity (%), light 1, light 2, occupants, activity, door,
window. As published by Morgner et al. (ESORICS 2017), github.com/IoTsec/Room-Climate-Datasets.
"""

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, TypeVar

from telemetry.reading import Reading

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS = (
    "entry id", "absolute time", "relative time", "node id", "temperature", "humidity",
    "light1", "light2", "occupants", "activity", "door", "window",
)  # fmt: skip
_FIRST_MEASUREMENT = 6
_LATEST_MS = 253_402_300_799_999  # the last moment of the year 9999

Number = TypeVar("Number", int, float)


class Recording(NamedTuple):
    """A file's readings in its order, and a line for each of its lines that could not be read."""

    readings: list[Reading]
    faults: list[str]


class ReplayError(ValueError):
    """Files that cannot be replayed; says which, why and what to do."""


def read_files(paths: Sequence[Path]) -> list[Recording]:
    """Read all files, whole, before anything is sent.

    Raises:
        ReplayError: a file cannot be read, or two would give their devices the same names.
    """
    named: dict[str, Path] = {}
    for path in paths:
        earlier = named.setdefault(slug(path), path)
        if earlier is not path:
            message = (
                f"{earlier} and {path} both name their devices {slug(path)}-node...: rename one"
            )
            raise ReplayError(message)
    return [_read_file(path, name) for name, path in named.items()]


def slug(path: Path) -> str:
    """Return a file's name without its suffix, in small letters, digits and hyphens.

    Raises:
        ReplayError: nothing is left.
    """
    name = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")
    if not name:
        message = f"{path}: no device can be named after it: rename it with letters or digits"
        raise ReplayError(message)
    return name


def parse_line(line: str, name: str) -> Reading:
    """Return the reading of one line; its device is `<name>-node<node id>`.

    Raises:
        ValueError: says which column is wrong and how.
    """
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != len(_COLUMNS):
        message = f"{len(cells)} columns: expected {len(_COLUMNS)} ({', '.join(_COLUMNS)})"
        raise ValueError(message)
    row = dict(zip(_COLUMNS, cells, strict=True))
    milliseconds = _number(row, "absolute time", int)
    if not 0 <= milliseconds <= _LATEST_MS:
        message = f"absolute time {milliseconds}: expected milliseconds since 1970"
        raise ValueError(message)
    _number(row, "relative time", float)
    return Reading(
        device_id=f"{name}-node{_number(row, 'node id', int)}",
        ts=_EPOCH + timedelta(milliseconds=milliseconds),
        seq=_number(row, "entry id", int),
        temperature=_number(row, "temperature", float),
        humidity=_number(row, "humidity", float),
        measurements={
            column: _number(row, column, float) for column in _COLUMNS[_FIRST_MEASUREMENT:]
        },
        replay=True,
    )


def _read_file(path: Path, name: str) -> Recording:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        message = f"{path}: {error.strerror}: give the path of a readable CSV file"
        raise ReplayError(message) from error
    except UnicodeDecodeError as error:
        message = f"{path}: not UTF-8 text (byte {error.start}): give a CSV file"
        raise ReplayError(message) from error
    recording = Recording([], [])
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            recording.readings.append(parse_line(line, name))
        except ValueError as error:
            recording.faults.append(f"{path}:{number}: {error}")
    if not recording.readings and not recording.faults:
        message = f"{path}: holds no lines: give a file with readings"
        raise ReplayError(message)
    return recording


def _number(row: dict[str, str], column: str, read: Callable[[str], Number]) -> Number:
    text = row[column]
    try:
        value = read(text)
        finite = math.isfinite(value)
    except ValueError:
        finite = False
    if not finite:
        wanted = "a whole number" if read is int else "a number"
        message = f"{column} {text!r}: expected {wanted}"
        raise ValueError(message)
    return value
