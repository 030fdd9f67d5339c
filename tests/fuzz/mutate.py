"""Changes to a case that keep it near JSON, where the decoder's branches are."""

import json
import re
from collections.abc import Callable, Iterator
from random import Random

from tests.fuzz.corpus import NAMES, SEEDS, SEPARATOR, TOPICS, VALUES, split

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|[{}\[\],:]')
_VALUE = re.compile(rb'(?<=:)(?:"(?:[^"\\]|\\.)*"|[^,"{}\[\]]+)')
_MOST_CHANGES = 4


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


# Most changes are to leave a document that is looked into.
_GOOD_VALUES = tuple(value for value in VALUES if _is_json(value))


def cases(seed: int) -> Iterator[bytes]:
    """Yield cases without end, the same ones for the same seed: one in eight is a seed itself."""
    random = Random(seed)  # noqa: S311 - tests want it repeatable
    while True:
        case = random.choice(SEEDS)
        for _ in range(random.randrange(_MOST_CHANGES + 1) if random.randrange(8) else 0):
            case = mutate(case, random)
        yield case


def mutate(case: bytes, random: Random) -> bytes:
    """Return the case with one change."""
    return random.choice(_CHANGES)(case, random)


def _change_byte(case: bytes, random: Random) -> bytes:
    at = random.randrange(len(case) + 1)
    return case[:at] + random.randbytes(random.randrange(3)) + case[at + random.randrange(3) :]


def _cut(case: bytes, random: Random) -> bytes:
    return case[: random.randrange(len(case) + 1)]


def _repeat(case: bytes, random: Random) -> bytes:
    low, high = sorted(random.randrange(len(case) + 1) for _ in range(2))
    return case[:high] + case[low:]


def _replace_value(case: bytes, random: Random) -> bytes:
    values = list(_VALUE.finditer(case))
    if not values:
        return case
    value = random.choice(values)
    return case[: value.start()] + random.choice(_GOOD_VALUES) + case[value.end() :]


def _replace_token(case: bytes, random: Random) -> bytes:
    tokens = list(_TOKEN.finditer(case))
    if not tokens:
        return case
    token = random.choice(tokens)
    return case[: token.start()] + random.choice(VALUES) + case[token.end() :]


def _remove_token(case: bytes, random: Random) -> bytes:
    tokens = list(_TOKEN.finditer(case))
    if not tokens:
        return case
    token = random.choice(tokens)
    return case[: token.start()] + case[token.end() :]


def _add_member(case: bytes, random: Random) -> bytes:
    start, brace, rest = case.partition(b"{")
    values = _GOOD_VALUES if random.randrange(4) else VALUES
    member = b'"' + random.choice(NAMES) + b'":' + random.choice(values)
    comma = b"" if rest.lstrip().startswith(b"}") else b","
    return start + brace + member + comma + rest


def _join(case: bytes, random: Random) -> bytes:
    _, other = split(random.choice(SEEDS))
    return case + random.choice((b"", b",", b"]", b"],[", b"\n", b"},{")) + other


def _nest(case: bytes, random: Random) -> bytes:
    topic, payload = split(case)
    depth = random.choice((1, 2, 50))
    opening, closing = random.choice(((b"[", b"]"), (b'{"temperature":1,"x":', b"}")))
    return topic + SEPARATOR + opening * depth + payload + closing * depth


def _change_topic(case: bytes, random: Random) -> bytes:
    _, payload = split(case)
    topic = random.choice(TOPICS)
    if random.randrange(2):
        topic = _change_byte(topic, random)
    return topic + SEPARATOR + payload


_CHANGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    _change_byte,
    _cut,
    _repeat,
    *[_replace_value] * 8,
    _replace_token,
    _remove_token,
    *[_add_member] * 8,
    _join,
    _nest,
    _change_topic,
)
