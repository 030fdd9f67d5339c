"""One attempt: at what, how, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from tests.security.certificates import Maker
from tests.security.doors import Outcome
from tools.hops import System


@dataclass(frozen=True)
class Attempt:
    """What somebody tries who should not get in.

    Attributes:
        service: what is attacked, and at which port.
        kind: with what, such as `expired certificate`.
        make: makes it; raises Unclear where it shows nothing.
        host: whose log should tell of it.
        unit: systemd's unit there.
        logged: how the unit tells of it, a regular expression; empty where it cannot.
    """

    service: str
    kind: str
    make: Callable[[], Outcome]
    host: str
    unit: str
    logged: str


class Service(Protocol):
    """A module with the attempts at a service."""

    def admitted(self, system: System) -> dict[str, Outcome]:
        """Let those in who have to get in: without that, refusals show nothing."""

    def table(self, system: System, maker: Maker) -> Iterator[Attempt]:
        """All attempts at it."""
