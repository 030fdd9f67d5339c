"""`make status`: one table of the whole system; ends with 1 if something is wrong.

Runs playbooks/health.yml, which changes nothing on the hosts. Ends with 2, and Ansible's own words,
if that fails.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.health import Machine, Report, Status, assess, duration

ROOT = Path(__file__).resolve().parent.parent
PLAYBOOK = ROOT / "playbooks" / "health.yml"
WRONG, NOT_RUN = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Looks, shows, and returns the exit status."""
    options = parser().parse_args(arguments)
    report = look(options.inventory or [str(ROOT / "inventories" / "demo")], options.extra_vars)
    if report is None:
        return NOT_RUN
    status = assess(report)
    text = json.dumps(status.document(), indent=2, ensure_ascii=False) if options.json else None
    print(text or "\n".join(lines(status)))
    return 0 if status.well else WRONG


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m tools.status", description=__doc__)
    made.add_argument("--json", action="store_true", help="the same for programs")
    made.add_argument(
        "-i", "--inventory", action="append", help="inventory, may be repeated (inventories/demo)"
    )
    made.add_argument(
        "-e", "--extra-vars", action="append", default=[], help="passed on to ansible-playbook"
    )
    return made


def look(inventories: Sequence[str], extra: Sequence[str]) -> Report | None:
    """What the playbook finds; if it cannot look, its last lines go to stderr."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        command = ["ansible-playbook", *(f"--inventory={name}" for name in inventories)]
        command += [f"--extra-vars={text}" for text in (*extra, f"health_report={file}")]
        run = subprocess.run(
            [*command, str(PLAYBOOK)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        found: Report = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    # Of an inventory that it cannot read Ansible says that it has no hosts, and ends well.
    if run.returncode != 0 or not found:
        said = "\n".join(run.stdout.splitlines()[-40:])
        print(f"{said}\nstatus: {PLAYBOOK.name} failed; above is why", file=sys.stderr)
    return found or None


def lines(status: Status) -> Iterator[str]:
    """The table, and a line for each wrong thing with one for what to do."""
    yield from table(
        ("host", "service", "systemd", "answers"),
        [(s.host, s.unit, s.systemd, s.answer.split(":")[0]) for s in status.services],
    )
    yield from table(
        ("gateway", "MQTT", "Kafka", "oldest waiting", "in spool", "in flight", "last reading"),
        [
            (
                gateway.name,
                yes(gateway.mqtt),
                yes(gateway.kafka),
                age(gateway.oldest_waiting_seconds),
                count(gateway.spool_records),
                count(gateway.in_flight),
                age(gateway.last_reading_seconds),
            )
            for gateway in status.gateways
        ],
    )
    yield from table(
        ("query", "runs", "lag in records"),
        [(query.name, yes(query.up), count(query.lag_records)) for query in status.queries],
    )
    yield from table(
        ("stage, last 5 minutes", "p50 ms", "p95 ms", "p99 ms", "samples"),
        [
            (
                stage["stage"],
                *(milliseconds(stage[name]) for name in ("p50_ms", "p95_ms", "p99_ms")),
                count(stage["samples"]),
            )
            for stage in status.stages
        ],
    )
    kinds = ("seen", "duplicate", "late", "rejected", "missing")
    yield from table(
        ("ledger, last day", *kinds),
        [("readings", *(count(status.ledger[kind]) for kind in kinds))] if status.ledger else [],
    )
    yield from table(
        ("database", "last backup", "age", "stored", "WAL archived"),
        [
            (
                backup.host,
                backup.kind or "NONE",
                age(backup.age_seconds),
                mebibytes(backup.stored_bytes),
                yes(backup.wal_archived),
            )
            for backup in status.backups
        ],
    )
    yield from table(
        ("host", "disk", "free", "clock", "offset"), [machine(m) for m in status.machines]
    )
    yield from verdict(status)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Columns as wide as their widest cell; nothing at all without rows."""
    if rows:
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        for row in (head, *rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            yield "  ".join(cells).rstrip()
        yield ""


def machine(found: Machine) -> tuple[str, ...]:
    """A host's cells."""
    if not found.reached:
        return (found.host, "NOT REACHED", "-", "-", "-")
    free = "-"
    if found.disk_free_bytes is not None and found.disk_free_percent is not None:
        free = f"{found.disk_free_percent:.0f} % ({found.disk_free_bytes / 2**30:.1f} GiB)"
    clock = {True: "synchronised", False: "not synchronised", None: "-"}[found.clock_synchronised]
    return (found.host, found.disk or "-", free, clock, milliseconds(found.clock_offset_ms, "ms"))


def verdict(status: Status) -> Iterator[str]:
    """What is wrong, errors first."""
    for problem in sorted(status.problems, key=lambda found: found.severity):
        label = "WRONG" if problem.severity == "error" else "warning"
        yield f"{label}  {problem.host} {problem.what}: {problem.message}"
        yield f"{'':{len(label)}}  -> {problem.advice}"
    errors = sum(problem.severity == "error" for problem in status.problems)
    yield f"{errors} wrong" if errors else "all well"


def yes(value: bool | None) -> str:  # noqa: FBT001 (a cell, not a switch)
    """A cell for something that is so or not."""
    return {True: "yes", False: "NO", None: "-"}[value]


def count(value: float | None) -> str:
    """A cell for a number of things."""
    return "-" if value is None else f"{value:,.0f}"


def age(value: float | None) -> str:
    """A cell for seconds."""
    return "-" if value is None else duration(value)


def mebibytes(value: int | None) -> str:
    """A cell for bytes."""
    return "-" if value is None else f"{value / 2**20:,.1f} MiB"


def milliseconds(value: float | None, unit: str = "") -> str:
    """A cell for a duration in milliseconds."""
    return "-" if value is None else f"{value:.1f} {unit}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
