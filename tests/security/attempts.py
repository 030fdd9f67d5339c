"""One attempt: at what, how, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.security.certificates import Maker
from tests.security.mqtt import Outcome
from tools.hops import System


@dataclass(frozen=True)
class Attempt:
    """What somebody tries who should not get in.

    Attributes:
        service: what is attacked, and at which port.
        kind: with what, such as `expired certificate`.
        make: makes it.
        host: whose journal should tell of it.
        unit: systemd's unit there.
        logged: how the unit tells of it, a regular expression; empty where it cannot.
    """

    service: str
    kind: str
    make: Callable[[], Outcome]
    host: str
    unit: str
    logged: str


# A table of a service's attempts: the system, and what makes certificates.
Table = Callable[[System, Maker], Iterator[Attempt]]
