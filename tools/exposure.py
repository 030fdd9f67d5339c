"""How exposed a unit is, from 0 to 10, by `systemd-analyze security`; for the scenarios' tests."""

from __future__ import annotations

import re
from typing import Protocol


class Runner(Protocol):
    """The one method of testinfra's Host that is needed here."""

    def check_output(self, command: str) -> str:
        """Returns what a command printed; raises if it failed."""


def exposure(host: Runner, unit: str) -> float:
    """The unit's overall exposure level, as systemd computes it from the loaded unit and drop-ins.

    Raises:
        LookupError: systemd's answer has no such figure.
    """
    answer = host.check_output(f"systemd-analyze security --no-pager {unit}")
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", answer)
    if not found:
        message = f"systemd-analyze says no exposure level of {unit}: {answer[-200:]!r}"
        raise LookupError(message)
    return float(found[1])
