"""Makes one view of what playbooks/health.yml found on the hosts, and says what is wrong in it.

A report is a mapping from each host's name to what playbooks/health.yml calls `health`: texts as
the programs gave them. Nothing here talks to a host.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

Host = dict[str, Any]
Report = dict[str, Host]
# chronyc's comma-separated form of `tracking`.
CLOCK_SOURCE, CLOCK_OFFSET, CLOCK_LEAP = 1, 4, 13


@dataclass(frozen=True)
class Problem:
    """One wrong thing: where, what, and what to do."""

    host: str
    what: str
    message: str
    advice: str
    severity: str = "error"


@dataclass(frozen=True)
class Service:
    """A unit; `answer` is `yes`, or what its role's question came to."""

    host: str
    role: str
    unit: str
    systemd: str
    answer: str


@dataclass(frozen=True)
class Gateway:
    """A bridge; None is what it does not say.

    Attributes:
        last_reading_seconds: age of its newest row in the database.
        broker_dropped: messages that the MQTT broker's full queues have cost.
    """

    host: str
    name: str
    mqtt: bool | None
    kafka: bool | None
    oldest_waiting_seconds: float | None
    spool_records: float | None
    in_flight: float | None
    last_reading_seconds: float | None
    broker_dropped: float | None = None


@dataclass(frozen=True)
class Query:
    """A query of the streaming job, and the records in Kafka that it has not read."""

    host: str
    name: str
    up: bool
    lag_records: float | None


@dataclass(frozen=True)
class Backup:
    """A database's last good backup, as pgBackRest tells it; None where there is none.

    Attributes:
        kind: full, diff or incr.
        age_seconds: since it ended.
        stored_bytes: what it added to the repository.
        wal_archived: whether the archive took the last WAL segment that it was given.
    """

    host: str
    kind: str | None = None
    age_seconds: float | None = None
    stored_bytes: int | None = None
    wal_archived: bool | None = None


@dataclass(frozen=True)
class Machine:
    """A host: its fullest file system and its clock."""

    host: str
    reached: bool
    disk: str | None = None
    disk_free_bytes: int | None = None
    disk_free_percent: float | None = None
    clock_synchronised: bool | None = None
    clock_offset_ms: float | None = None
    clock_source: str | None = None


@dataclass
class Status:
    """Everything that is shown."""

    services: list[Service] = field(default_factory=list)
    gateways: list[Gateway] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    ledger: dict[str, int] = field(default_factory=dict)
    backups: list[Backup] = field(default_factory=list)
    machines: list[Machine] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def well(self) -> bool:
        """Whether nothing is wrong; warnings do not count."""
        return all(problem.severity != "error" for problem in self.problems)

    def document(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        return {"well": self.well, **asdict(self)}


def assess(report: Report) -> Status:
    """The whole view of a report."""
    status = Status()
    database = figures(report)
    status.stages = database.get("stages", [])
    status.ledger = database.get("ledger", {})
    ages = database.get("last_reading_seconds") or {}
    for name, host in report.items():
        # The database knows of a gateway that cannot be reached, too.
        if host["gateway"]:
            gateway = gateway_of(name, host, ages)
            status.gateways.append(gateway)
            status.problems += wrong_gateway(gateway, host)
        if host["error"]:
            status.machines.append(Machine(name, reached=False))
            status.problems.append(unreached(name, host))
            continue
        services = list(services_of(name, host))
        queries = list(queries_of(name, host))
        backups = list(backups_of(name, host))
        machine = machine_of(name, host)
        status.services += services
        status.queries += queries
        status.backups += backups
        status.machines.append(machine)
        status.problems += [
            *wrong_services(services),
            *wrong_queries(queries, host),
            *wrong_backups(backups, host),
            *wrong_machine(machine, host),
            *wrong_figures(name, host),
            *wrong_ledger(name, facts_of(host).get("ledger", {})),
        ]
    return status


def one_line(text: str, most: int = 200) -> str:
    """A message without line breaks, and no longer than a reader wants."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def metric(text: str, name: str) -> float | None:
    """A metric without labels in Prometheus' text form."""
    found = re.search(rf"(?m)^{name} (\S+)", text)
    return float(found[1]) if found else None


def labelled(text: str, name: str, label: str) -> dict[str, float]:
    """A metric's values by its only label."""
    return {key: float(value) for key, value in re.findall(
        rf'(?m)^{name}{{{label}="([^"]*)"}} (\S+)', text
    )}  # fmt: skip


def unit_states(text: str) -> dict[str, str]:
    """`running`, or what is not as it should be such as `failed (exit-code)`, by unit."""
    states = {}
    for block in text.split("\n\n"):
        unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in unit:
            active, sub = unit["ActiveState"], unit["SubState"]
            state = sub if active == "active" else f"{active} ({sub})"
            states[unit["Id"].removesuffix(".service")] = state
    return states


def services_of(name: str, host: Host) -> Iterator[Service]:
    """Each unit of each role on a host."""
    states = unit_states(host["systemd"])
    for role, units in host["units"].items():
        answer = refusal(host["failures"][role]) if role in host["failures"] else "yes"
        for unit in units:
            yield Service(name, role, unit, states.get(unit, "unknown"), answer)


def refusal(failure: dict[str, Any]) -> str:
    """What a role's question came to; what a web server says of a good answer tells nothing."""
    said = "" if failure["status"] == 200 else one_line(failure["said"])  # noqa: PLR2004
    return f"no: {failure['question']}" + (f": {said}" if said else "")


def wrong_services(services: list[Service]) -> Iterator[Problem]:
    """Units that do not run; where all of a role run, its service that answers wrongly."""
    blamed = set()
    for service in services:
        if " " in service.systemd or service.systemd == "unknown":
            blamed.add(service.role)
            advice = f"journalctl -u {service.unit} -n 50; then systemctl start {service.unit}"
            yield Problem(service.host, service.unit, f"is {service.systemd}", advice)
    for service in services:
        if service.answer != "yes" and service.role not in blamed:
            blamed.add(service.role)
            message = f"runs, but this does not hold: {service.answer.removeprefix('no: ')}"
            advice = f"journalctl -u {service.unit} -n 50"
            yield Problem(service.host, service.unit, message, advice)


def queries_of(name: str, host: Host) -> Iterator[Query]:
    """The streaming job's queries."""
    lags = labelled(host["job"], "job_kafka_lag_records", "query")
    for query, up in labelled(host["job"], "job_query_up", "query").items():
        yield Query(name, query, up == 1, lags.get(query))


def wrong_queries(queries: list[Query], host: Host) -> Iterator[Problem]:
    """Queries that wait for something or do not keep up."""
    most = host["limits"]["lag_records"]
    for query in queries:
        what = f"query {query.name}"
        if not query.up:
            message = "does not run; it waits for what it needs"
            advice = "journalctl -u streaming-job -n 50 says for what"
            yield Problem(query.host, what, message, advice)
        elif query.lag_records is not None and query.lag_records > most:
            message = f"{query.lag_records:,.0f} records in Kafka are not read yet"
            advice = "if it does not shrink, processing_metrics shows which phase takes the time"
            yield Problem(query.host, what, message, advice)


def gateway_of(name: str, host: Host, ages: dict[str, float | None]) -> Gateway:
    """The bridge's own figures, and the age of its last reading in the database."""
    text = host.get("bridge", "")
    connected = {peer: metric(text, f"bridge_{peer}_connected") for peer in ("mqtt", "kafka")}
    return Gateway(
        host=name,
        name=host["gateway"],
        mqtt=None if connected["mqtt"] is None else connected["mqtt"] == 1,
        kafka=None if connected["kafka"] is None else connected["kafka"] == 1,
        oldest_waiting_seconds=metric(text, "bridge_oldest_waiting_seconds"),
        spool_records=metric(text, "bridge_spool_records"),
        in_flight=metric(text, "bridge_in_flight"),
        last_reading_seconds=ages.get(host["gateway"]),
        broker_dropped=metric(text, "bridge_broker_dropped_total"),
    )


def wrong_gateway(gateway: Gateway, host: Host) -> Iterator[Problem]:
    """A gateway whose readings do not get through, or that has none."""
    limits = host["limits"]
    waiting = gateway.oldest_waiting_seconds
    if gateway.kafka is False:
        message = "does not reach Kafka; readings wait on the gateway"
        advice = "look at its uplink, then at Kafka; it goes on by itself"
        yield Problem(gateway.host, "uplink", message, advice)
    elif waiting is not None and waiting > limits["waiting_seconds"]:
        message = f"its oldest message has been waiting for Kafka for {duration(waiting)}"
        advice = "journalctl -u mqtt-bridge -n 50; look at the brokers' disks and load"
        yield Problem(gateway.host, "uplink", message, advice)
    if gateway.broker_dropped:
        message = (
            f"its MQTT broker dropped {gateway.broker_dropped:,.0f} messages: a queue was full"
        )
        advice = "raise mosquitto_max_queued_bytes; journalctl -u mqtt-bridge | grep broker_dropped"
        yield Problem(gateway.host, "mosquitto", message, advice, "warning")
    silence, most = gateway.last_reading_seconds, limits["silent_minutes"] * 60
    if most and silence is not None and silence > most:
        message = f"the last reading of {gateway.name} in the database is {duration(silence)} old"
        advice = "look at its sensors and at what is wrong between it and the database"
        yield Problem(gateway.host, "readings", message, advice)


def backups_of(name: str, host: Host) -> Iterator[Backup]:
    """What pgBackRest says, on a host where backups are on."""
    if not (host["backups"] or host["backups_error"]):
        return
    failing = facts_of(host).get("archive_fails")
    archived = None if failing is None else not failing
    stanza: dict[str, Any] = next(iter(json.loads(host["backups"] or "[]")), {})
    good = [backup for backup in stanza.get("backup", []) if not backup["error"]]
    if good:
        last = good[-1]
        age_seconds = host["seconds_now"] - last["timestamp"]["stop"]
        stored = last["info"]["repository"].get("delta")
        yield Backup(name, last["type"], age_seconds, stored, archived)
    else:
        yield Backup(name, wal_archived=archived)


def wrong_backups(backups: list[Backup], host: Host) -> Iterator[Problem]:
    """A database without a backup, or with one that is too old."""
    most = host["limits"]["backup_hours"] * 3600
    for backup in backups:
        if backup.wal_archived is False:
            message = "WAL is not archived; a restore would end before it"
            advice = "/var/log/postgresql says why; is the repository full or away?"
            yield Problem(backup.host, "backup", message, advice, "warning")
        if backup.age_seconds is None:
            said = one_line(host["backups_error"])
            message = f"there is none: {said}" if said else "there is none yet"
            advice = "ansible-playbook playbooks/backup.yml takes one, or says why not"
            yield Problem(backup.host, "backup", message, advice, "warning")
        elif backup.age_seconds > most:
            message = f"the last good one is {duration(backup.age_seconds)} old"
            advice = "journalctl -u 'sensordb-backup@*' -n 50; systemctl list-timers"
            yield Problem(backup.host, "backup", message, advice, "warning")


def machine_of(name: str, host: Host) -> Machine:
    """The file system with the least free space, and the clock."""
    rows = [line.split(None, 2) for line in host["disks"].splitlines()[1:]]
    sizes = [(int(free), int(size), target) for size, free, target in rows if int(size)]
    # One that is mounted twice is named by its shorter path.
    fullest = min(
        sizes, key=lambda s: (round(s[0] / s[1], 2), len(s[2])), default=(None, None, None)
    )
    free, size, target = fullest
    track = host["tracking"].strip().split(",")
    known = len(track) > CLOCK_LEAP
    # Without a source the offset is zero and means nothing.
    held = known and track[CLOCK_LEAP] != "Not synchronised"
    return Machine(
        host=name,
        reached=True,
        disk=target,
        disk_free_bytes=free,
        disk_free_percent=None if free is None or size is None else round(100 * free / size, 1),
        clock_synchronised=held if known else None,
        clock_offset_ms=round(abs(float(track[CLOCK_OFFSET])) * 1000, 3) if held else None,
        clock_source=(track[CLOCK_SOURCE] or None) if known else None,
    )


def wrong_machine(machine: Machine, host: Host) -> Iterator[Problem]:
    """A disk that fills up, a clock that nothing holds."""
    limits = host["limits"]
    free = machine.disk_free_percent
    if free is not None and free < limits["disk_free_percent"]:
        message = f"{machine.disk} has {free:.1f} % free"
        advice = f"du -xh {machine.disk} | sort -h | tail; shorten retention or add space"
        yield Problem(machine.host, "disk", message, advice)
    severity = "error" if limits["clock_required"] else "warning"
    if machine.clock_synchronised is False:
        message = "is not synchronised, so latencies and times may be wrong"
        advice = "chronyc sources; set base_ntp_servers to servers that it reaches"
        yield Problem(machine.host, "clock", message, advice, severity)
    elif (machine.clock_offset_ms or 0) > limits["clock_offset_ms"]:
        message = f"is {machine.clock_offset_ms:.0f} ms from its time servers"
        yield Problem(machine.host, "clock", message, "chronyc sourcestats", severity)


def figures(report: Report) -> dict[str, Any]:
    """What the first database that answered said: `stages`, `last_reading_seconds`."""
    return next(filter(None, map(facts_of, report.values())), {})


def facts_of(host: Host) -> dict[str, Any]:
    """What a host's database said; nothing where there is none."""
    lines = host.get("database", "").splitlines()
    return {key: value for line in lines for key, value in json.loads(line).items()}


def wrong_figures(name: str, host: Host) -> Iterator[Problem]:
    """Questions that the database refused, where it is up."""
    if host["database_error"] and "timescaledb" not in host["failures"]:
        advice = "does the schema exist? the streaming job makes it when it starts"
        yield Problem(name, "figures", one_line(host["database_error"]), advice)


def wrong_ledger(name: str, ledger: dict[str, int]) -> Iterator[Problem]:
    """Numbers that devices gave and that never arrived. Devices with QoS 0 lose some by nature."""
    if ledger.get("missing"):
        message = (
            f"{ledger['missing']:,} readings of {ledger['devices_missing']} devices are missing "
            "by their numbers in the last day"
        )
        advice = (
            "SELECT * FROM ledger_gap WHERE closed_at IS NULL; make reconcile tells whether Kafka "
            "or the archive has them, playbooks/replay.yml brings them back"
        )
        yield Problem(name, "ledger", message, advice, "warning")


def unreached(name: str, host: Host) -> Problem:
    """A host that could not be looked at."""
    advice = f"is it up, and does `ansible {name} -m ping` reach it?"
    message = f"is not reached: {one_line(host['error'].removeprefix('Task failed: '))}"
    return Problem(name, "host", message, advice)


def duration(seconds: float) -> str:
    """Seconds in the unit that people would use."""
    for unit, length, most in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172800)):
        if seconds < most:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
