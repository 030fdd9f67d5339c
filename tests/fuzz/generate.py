"""Cases from atheris, which looks for those that take new ways through our Python code.

`python -m tests.fuzz.generate CASES SEED` writes each case that it tries to its standard output,
after its length (4 bytes, little-endian). What Spark's JVM does it cannot see; that the reference
decoder (`expected`) and a JSON parser in Python take the same decisions makes up for it.
"""

import json
import json.scanner
import os
import sys
from contextlib import suppress
from random import Random
from typing import Any

import atheris

with atheris.instrument_imports(include=["tests.fuzz.expected", "bridge.watermarks", "telemetry"]):
    from bridge.watermarks import read_number
    from telemetry.topics import parse_ack_topic
    from tests.fuzz.expected import expect

from tests.fuzz.corpus import SEEDS, split
from tests.fuzz.mutate import mutate

_LONGEST = 4096
_FLUSH_BYTES = 256 * 1024


def python_parser() -> json.JSONDecoder:
    """Return a JSON parser whose ways atheris can see; the one in C would show it nothing."""
    decoder: Any = json.decoder
    parser: Any = json.JSONDecoder()
    parser.parse_object = atheris.instrument_func(decoder.JSONObject)
    parser.parse_array = atheris.instrument_func(decoder.JSONArray)
    parser.parse_string = atheris.instrument_func(decoder.py_scanstring)
    scanner: Any = json.scanner
    parser.scan_once = atheris.instrument_func(scanner.py_make_scanner)(parser)
    return parser  # type: ignore[no-any-return]


class Target:
    """Runs each case through our code and passes it on."""

    def __init__(self, wanted: int) -> None:
        """Stop the process after so many."""
        self.left = wanted
        self.waiting = bytearray()
        self.parser = python_parser()

    def __call__(self, case: bytes) -> None:
        """Take a case; nothing that it calls may raise."""
        topic, payload = split(case)
        expect(topic, payload)
        name = topic.decode(errors="replace")
        read_number(name.encode(), payload)
        parse_ack_topic(name)
        with suppress(ValueError, RecursionError):
            self.parser.decode(payload.decode())
        self.waiting += len(case).to_bytes(4, "little") + case
        self.left -= 1
        if len(self.waiting) > _FLUSH_BYTES or not self.left:
            self._flush()
        if not self.left:
            # libFuzzer would call an exit of its own a crash.
            os._exit(0)

    def _flush(self) -> None:
        with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as output:
            output.write(self.waiting)
        self.waiting.clear()


def change(case: bytes, max_size: int, seed: int) -> bytes:
    """Change a case for libFuzzer: as JSON, or as bytes in its own ways."""
    random = Random(seed)  # noqa: S311 - tests want it repeatable
    # Left alone, it settles on topics and texts that are refused at the first look.
    if not case or random.randrange(2):
        case = random.choice(SEEDS)
    elif random.randrange(4):
        _, case = split(case)
    if not random.randrange(6):
        return bytes(atheris.Mutate(case[:max_size], max_size))
    for _ in range(random.randrange(1, 4)):
        case = mutate(case, random)
    return case[:max_size]


def main() -> None:
    """Run until the cases that were asked for are written."""
    wanted, seed = map(int, sys.argv[1:])
    options = (
        f"-seed={seed}",
        f"-max_len={_LONGEST}",
        "-verbosity=0",
        # It also waits for its reader, which is nothing to report.
        "-report_slow_units=100000",
    )
    atheris.Setup([sys.argv[0], *options], Target(wanted), custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
