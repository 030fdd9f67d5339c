"""One decoded row against what was expected of it."""

import json
from collections.abc import Mapping
from typing import Any

from tests.fuzz.expected import Expected, as_double


def differences(wanted: Expected, row: Mapping[str, Any]) -> str:
    """Say how a row differs; nothing if it does not."""
    if row["reason"] is not None or wanted.reason is not None:
        return _unless_equal("reason", row["reason"], wanted.reason)
    assert wanted.parts is not None
    site, device = wanted.parts
    found = (
        _unless_equal("site", row["site"], site),
        _unless_equal("device_id", row["device_id"], device),
        _unless_equal("seq", row["seq"], wanted.seq),
        _unless_equal("temperature", row["temperature"], wanted.temperature),
        _unless_equal("humidity", row["humidity"], wanted.humidity),
        _unless_equal("measurements", _measurements(row), dict(wanted.measurements)),
    )
    return "; ".join(text for text in found if text)


def _measurements(row: Mapping[str, Any]) -> dict[str, float]:
    pairs = json.loads(row["measurements"], object_pairs_hook=list)
    values = {name: as_double(value) for name, value in pairs}
    # A name that is there twice would lose a value in the database.
    return values if len(values) == len(pairs) else {"a name twice": 0.0}


def _unless_equal(what: str, got: object, wanted: object) -> str:
    return "" if got == wanted else f"{what} is {got!r}, not {wanted!r}"
