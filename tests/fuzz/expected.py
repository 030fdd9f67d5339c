"""What the decoder is to make of a record, written a second time and in another way.

Python's own JSON parser instead of Spark's expressions, so that the two have no fault in common.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from math import inf, isinf
from typing import Any, NoReturn

from telemetry.topics import TopicParts, parse_topic

_RESERVED = frozenset({"device_id", "ts", "seq", "temperature", "humidity", "replay"})
_NO_QUANTITY = frozenset({"ts", "seq", "replay"})
_MAX_NAME_BYTES = 255
# Limits of the JSON parser in Spark (Jackson): characters of a number, levels of nesting.
_MAX_NUMBER = 1000
_MAX_DEPTH = 1000
# Of a character in an escape Jackson sees the lower eight bits only: \u00 and then U+0434, U+0430
# pass for \u0040. No harm comes of it: what it reads then is judged like any other text.
_LENIENT_ESCAPE = re.compile(rb"\\u[0-9a-fA-F]{0,3}[\x80-\xff]")
# Beyond it, Spark has a binary floating-point number.
_DECIMAL_DIGITS = 38
_SEQ_PLACES = 18
_WHOLE_DOUBLES = 2**53


class Real(float):
    """A number with a point or an exponent, and its text."""

    text: str

    @property
    def is_double(self) -> bool:
        """Tell whether Spark takes it as a double; otherwise as a decimal."""
        if "e" in self.text.lower():
            return True
        _, digits, exponent = Decimal(self.text).as_tuple()
        return max(len(digits), -int(exponent)) > _DECIMAL_DIGITS


@dataclass(frozen=True)
class Expected:
    """A reading, or the reason why the record is none."""

    reason: str | None
    parts: TopicParts | None = None
    seq: int = -1
    temperature: float | None = None
    humidity: float | None = None
    measurements: Mapping[str, float] = field(default_factory=dict)


def expect(topic: bytes, payload: bytes) -> Expected | None:
    """Say what becomes of a record, None where the parsers may differ."""
    near_deepest = payload.count(b"[") + payload.count(b"{") >= _MAX_DEPTH // 2
    if near_deepest or _LENIENT_ESCAPE.search(payload):
        return None
    parts = _parts(topic)
    if isinstance(parts, str):
        return Expected(parts)
    document = _document(payload)
    if isinstance(document, str):
        return Expected(document)
    return None if _is_large_double(document.get("seq")) else _judge(parts, document)


def _is_large_double(seq: object) -> bool:
    """Tell whether Java 17 and Python may write a number differently as text."""
    return isinstance(seq, Real) and seq.is_double and abs(seq) > _WHOLE_DOUBLES


def _parts(topic: bytes) -> TopicParts | str:
    """Return what a topic names, or the reason for a refusal."""
    try:
        parts = parse_topic(topic.decode())
    except UnicodeDecodeError:
        parts = None
    if parts is None:
        return "topic_malformed"
    return "name_too_long" if max(map(_bytes, parts)) > _MAX_NAME_BYTES else parts


def _bytes(name: str) -> int:
    return len(name.encode())


def _document(payload: bytes) -> dict[str, Any] | str:
    """Return a payload's fields, or the reason for a refusal."""
    if not payload:
        return "empty"
    try:
        document = parse(payload.decode())
    except UnicodeError as error:
        # Also half a pair of surrogates, which is an escape's fault, not the bytes'.
        return "invalid_utf8" if isinstance(error, UnicodeDecodeError) else "not_json"
    except ValueError:
        return "not_json"
    return document if isinstance(document, dict) else "not_an_object"


def parse(text: str) -> Any:
    """Parse JSON as strictly as RFC 8259 allows: no name twice, no NaN, no half of a pair.

    Raises:
        ValueError: it is not that.
    """
    document = json.loads(
        text,
        object_pairs_hook=_object,
        parse_constant=_refuse,
        parse_int=_integer,
        parse_float=_real,
    )
    if "\\u" in text:
        # Fails on half a pair of surrogates, which is no character.
        json.dumps(document, ensure_ascii=False).encode()
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        _refuse("a name twice")
    return members


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > _MAX_NUMBER:
        _refuse("number too long")
    return int(text)


def _real(text: str) -> Real:
    if len(text) > _MAX_NUMBER:
        _refuse("number too long")
    number = Real(text)
    number.text = text
    return number


def _refuse(what: str) -> NoReturn:
    raise ValueError(what)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _judge(parts: TopicParts, document: dict[str, Any]) -> Expected:
    device = document.get("device_id")
    numbers = {
        name: as_double(value)
        for name, value in document.items()
        if _is_number(value) and name not in _NO_QUANTITY
    }
    seq = document.get("seq")
    number = None if seq is None or not _is_number(seq) else whole(seq)
    wrong = [
        name
        for name in ("temperature", "humidity", "seq")
        if document.get(name) is not None and not _is_number(document[name])
    ]
    reasons = (
        (any("\0" in name for name in document), "nul_character"),
        (device is not None and not isinstance(device, str), "wrong_type:device_id"),
        (device is not None and device != parts.device, "device_id_differs"),
        (bool(wrong), f"wrong_type:{next(iter(wrong), None)}"),
        (seq is not None and number is None, "invalid_seq"),
        (any(isinf(value) for value in numbers.values()), "number_out_of_range"),
        (not numbers, "no_quantity"),
    )
    for applies, reason in reasons:
        if applies:
            return Expected(reason)
    return Expected(
        None,
        parts,
        -1 if number is None else number,
        numbers.get("temperature"),
        numbers.get("humidity"),
        {name: value for name, value in numbers.items() if name not in _RESERVED},
    )


def as_double(value: float) -> float:
    """Return a number as PostgreSQL's double precision has it."""
    try:
        return float(value)
    except OverflowError:
        return inf if value > 0 else -inf


def whole(value: float) -> int | None:
    """Return a number that a device may count with, None if it is none: below 0, a fraction.

    Of a number that only a double can hold, what was read must also be what was written.
    """
    if isinf(as_double(value)):
        return None
    if isinstance(value, Real) and value.is_double:
        exact, read = Decimal(repr(float(value))), int(value)
    else:
        exact = Decimal(value.text if isinstance(value, Real) else value)
        read = int(exact)
    with localcontext() as context:
        context.prec = 400
        written = round(exact, _SEQ_PLACES)
    return read if written == read and 0 <= read < 2**63 else None
