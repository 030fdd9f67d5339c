"""Readings flow, things break, and in the end each confirmed reading is counted."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2

from tests.chaos.faults import UNITS, Fault
from tools.pipeline import Pipeline, eventually

RATE = 300
DEVICES = 30
# What a recovery may take, and what all that is under way may take at the end.
RECOVERY_SECONDS = 120
SETTLE_SECONDS = 300

Key = tuple[str, int]


@dataclass
class Hit:
    """A fault that was made: when, and seconds from its mending to the next reading stored."""

    fault: Fault
    at: datetime
    recovery: float | None = None


@dataclass
class Campaign:
    """One run over a list of faults, on the hosts `edge-<group>-<name>`."""

    pipeline: Pipeline
    group: str
    seed: int
    hits: list[Hit] = field(default_factory=list)

    def run(self, faults: Sequence[Fault], count: int) -> dict[str, Any]:
        """Make so many faults, each kind about as often, and return the report."""
        dice = random.Random(self.seed)  # noqa: S311 - not for secrets
        order = [
            fault for _ in range(-(-count // len(faults))) for fault in _shuffled(dice, faults)
        ]
        site = self.pipeline.site(f"chaos{self.seed}")
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, "confirmed.jsonl")
            with self._load(site, log):
                eventually("the first readings", lambda: self._newest(site), bool)
                for number, fault in enumerate(order[:count], 1):
                    hit = self._hit(site, fault)
                    self.hits.append(hit)
                    took = "not in time" if hit.recovery is None else f"{hit.recovery:.1f} s"
                    print(f"{number:4}/{count}  {fault.kind:32}  recovered: {took}", flush=True)
                    time.sleep(dice.uniform(1, 4))
            confirmed = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
        return self._account(site, confirmed)

    @contextmanager
    def _load(self, site: str, log: Path) -> Iterator[None]:
        """Run the simulator, and at the end wait until all it sent is confirmed."""
        load = self.pipeline.system.simulate(
            *("--site", site, "--devices", str(DEVICES), "--rate", str(RATE)),
            *("--confirm", str(log), "--ack-timeout", str(SETTLE_SECONDS)),
        )
        try:
            yield
            load.terminate()
            output, _ = load.communicate(timeout=2 * SETTLE_SECONDS)
            if load.returncode != 0:
                message = f"the simulator ended with {load.returncode}: {output}"
                raise AssertionError(message)
        finally:
            load.kill()
            load.wait()

    def _hit(self, site: str, fault: Fault) -> Hit:
        hit = Hit(fault, datetime.now(UTC))
        self._on(fault.host, fault.breaks)
        time.sleep(fault.seconds)
        if fault.mends:
            self._on(fault.host, fault.mends)
        mended = datetime.now(UTC)
        while (waited := (datetime.now(UTC) - mended).total_seconds()) < RECOVERY_SECONDS:
            newest = self._newest(site)
            if newest is not None and newest >= mended:
                hit.recovery = waited
                break
            time.sleep(0.2)
        return hit

    def _newest(self, site: str) -> datetime | None:
        """When the newest reading in the database was captured; None while it is down."""
        try:
            # One device stands for all: the primary key leads to its newest row.
            rows = self.pipeline.query(
                "SELECT max(time) FROM sensor_data WHERE device_id = %s", f"{site}-0001"
            )
        except psycopg2.Error:
            return None
        newest: datetime | None = rows[0][0]
        return newest

    def _failed_units(self, host: str) -> list[str]:
        """Units that did not come back; those of the packages as well."""
        listed = self._on(host, "systemctl list-units --failed --no-legend --plain")
        return [line.split()[0] for line in listed.splitlines()]

    def _on(self, host: str, commands: str) -> str:
        command = ["podman", "exec", f"edge-{self.group}-{host}", "sh", "-c", commands]
        # A kill of everything takes its own shell with it, or not.
        result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=180)
        if result.returncode not in {0, 137}:
            message = f"{host}: a fault could not be made or mended: {result.stderr.strip()}"
            raise AssertionError(message)
        return result.stdout

    def _account(self, site: str, confirmed: list[dict[str, Any]]) -> dict[str, Any]:
        wanted = {(line["device_id"], line["seq"]): line["ts"] for line in confirmed}
        stores = {"database": self.pipeline.stored, "archive": self.pipeline.archived_readings}
        found: dict[str, Counter[Key]] = {}
        for name, look in stores.items():
            try:
                eventually(
                    name,
                    lambda look=look: wanted.keys() - set(look(site)),  # type: ignore[misc]
                    lambda missing: not missing,
                    seconds=SETTLE_SECONDS,
                )
            except AssertionError as late:
                print(late, file=sys.stderr)
            found[name] = Counter(look(site))
        kinds = {
            kind: self._of_kind(kind, wanted, found)
            for kind in dict.fromkeys(hit.fault.kind for hit in self.hits)
        }
        lost = {name: len(wanted.keys() - keys.keys()) for name, keys in found.items()}
        twice = {name: sum(n > 1 for n in keys.values()) for name, keys in found.items()}
        failed = {host: self._failed_units(host) for host in sorted(set(UNITS.values()))}
        return {
            "seed": self.seed,
            "faults": len(self.hits),
            "failed_units": {host: units for host, units in failed.items() if units},
            "confirmed": len(wanted),
            "lost": lost,
            "duplicated": twice,
            "recovery_worst_s": _worst(self.hits),
            "kinds": kinds,
            "passed": not any([*lost.values(), *twice.values(), *failed.values()])
            and all(hit.recovery is not None for hit in self.hits),
        }

    def _of_kind(
        self, kind: str, wanted: dict[Key, str], found: dict[str, Counter[Key]]
    ) -> dict[str, Any]:
        """Figures of the readings that were captured between such a fault and the next one."""
        hits = [hit for hit in self.hits if hit.fault.kind == kind]
        ends = {id(hit): later.at for hit, later in zip(self.hits, self.hits[1:], strict=False)}
        spans = [(h.at, ends.get(id(h), datetime.max.replace(tzinfo=UTC))) for h in hits]
        keys = [
            key
            for key, ts in wanted.items()
            if any(start <= datetime.fromisoformat(ts) < end for start, end in spans)
        ]
        recoveries = [hit.recovery for hit in hits if hit.recovery is not None]
        return {
            "count": len(hits),
            "confirmed": len(keys),
            "lost": {name: sum(key not in found[name] for key in keys) for name in found},
            "duplicated": {name: sum(found[name][key] > 1 for key in keys) for name in found},
            "recovery_median_s": round(statistics.median(recoveries), 1) if recoveries else None,
            "recovery_worst_s": _worst(hits),
        }


def _worst(hits: Sequence[Hit]) -> float | None:
    """The longest recovery; None if one did not come in time."""
    recoveries = [hit.recovery for hit in hits if hit.recovery is not None]
    return round(max(recoveries), 1) if len(recoveries) == len(hits) else None


def _shuffled(dice: random.Random, faults: Sequence[Fault]) -> list[Fault]:
    return dice.sample(list(faults), len(faults))
