"""What is found on the hosts becomes rows, and what is wrong in it is named."""

import copy
import json
from typing import Any

import pytest

from tools.health import Backup, Problem, Report, Status, assess, duration, unit_states

LIMITS = {
    "lag_records": 1000,
    "waiting_seconds": 60,
    "silent_minutes": 30,
    "disk_free_percent": 10,
    "clock_offset_ms": 100,
    "clock_required": False,
    "backup_hours": 26,
}
# As chronyc, df and the programs print them.
HELD = "0A5C000C,10.9.0.1,11,1795513334.3,0.000010757,-0.0,0.0,0.01,0.0,0.02,0.0,0.0,65.3,Normal"
FREE = "0000000,,0,0.0,0.000000000,0.0,0.0,0.0,0.0,0.0,1.0,1.0,0.0,Not synchronised"
DISKS = "1B-blocks Avail Mounted on\n1000 240 /\n1000 240 /etc/hosts\n500 400 /mnt/with space"
BRIDGE = """# HELP bridge_in_flight Messages
bridge_in_flight 3.0
bridge_mqtt_connected 1.0
bridge_kafka_connected 1.0
bridge_oldest_waiting_seconds 0.5
bridge_spool_records 12.0
"""
JOB = """job_query_up{query="store"} 1.0
job_query_up{query="archive"} 1.0
job_kafka_lag_records{query="store"} 7.0
"""
STAGE = {"stage": "MQTT → Kafka", "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0, "samples": 4}
LEDGER = {"seen": 9, "duplicate": 1, "late": 0, "rejected": 2, "missing": 0, "devices_missing": 0}
DATABASE = "\n".join(
    json.dumps(line)
    for line in (
        {"stages": [STAGE]},
        {"archive_fails": False},
        {"ledger": LEDGER},
        {"last_reading_seconds": {"gw": 5.0}},
    )
)
NOW = 1795600000


def backups(*ages: int, error: bool = False) -> str:
    """What pgBackRest says in JSON of backups that ended so many seconds ago; part of it."""
    made = [
        {
            "type": "diff",
            "error": error,
            "timestamp": {"stop": NOW - age},
            "info": {"repository": {"delta": 2**20}},
        }
        for age in ages
    ]
    return json.dumps([{"name": "sensordb", "backup": made}])


WHERE = {
    "gw": {"mosquitto": ["mosquitto"], "mqtt_bridge": ["mqtt-bridge"]},
    "core": {"spark": ["spark-master", "spark-worker"], "streaming_job": ["streaming-job"]},
    "db": {"timescaledb": ["postgresql@18-main"]},
}


def systemd(*units: str, state: str = "active", sub: str = "running") -> str:
    return "\n\n".join(f"Id={u}.service\nActiveState={state}\nSubState={sub}" for u in units)


def well() -> Report:
    """A report of three hosts on which nothing is wrong."""
    return {
        name: {
            "error": "",
            "limits": dict(LIMITS),
            "units": units,
            "failures": {},
            "systemd": systemd(*(unit for names in units.values() for unit in names)),
            "disks": DISKS,
            "tracking": HELD,
            "gateway": "gw" if name == "gw" else "",
            "bridge": BRIDGE if name == "gw" else "",
            "job": JOB if name == "core" else "",
            "database": DATABASE if name == "db" else "",
            "database_error": "",
            "backups": backups(90000, 3600) if name == "db" else "",
            "backups_error": "",
            "seconds_now": NOW,
        }
        for name, units in copy.deepcopy(WHERE).items()
    }


def with_changes(host: str, **changes: Any) -> Status:
    report = well()
    report[host].update(changes)
    return assess(report)


def only_problem(status: Status) -> Problem:
    (problem,) = status.problems
    assert problem.advice
    return problem


def test_nothing_is_wrong() -> None:
    status = assess(well())
    assert status.well
    assert status.problems == []
    assert [(s.host, s.unit, s.systemd, s.answer) for s in status.services] == [
        (host, unit, "running", "yes")
        for host, roles in WHERE.items()
        for units in roles.values()
        for unit in units
    ]
    (gateway,) = status.gateways
    assert (gateway.mqtt, gateway.kafka, gateway.in_flight) == (True, True, 3)
    assert (gateway.oldest_waiting_seconds, gateway.spool_records) == (0.5, 12)
    assert gateway.last_reading_seconds == 5
    assert [(q.name, q.up, q.lag_records) for q in status.queries] == [
        ("store", True, 7),
        ("archive", True, None),
    ]
    assert status.stages == [STAGE]
    assert status.ledger == LEDGER
    assert status.backups == [Backup("db", "diff", 3600, 2**20, wal_archived=True)]
    machine = status.machines[0]
    assert (machine.disk, machine.disk_free_bytes, machine.disk_free_percent) == ("/", 240, 24)
    assert (machine.clock_synchronised, machine.clock_offset_ms) == (True, 0.011)


def test_its_document_is_json_with_everything_in_it() -> None:
    document = json.loads(json.dumps(assess(well()).document()))
    assert document["well"] is True
    assert document["stages"] == [STAGE]
    assert set(document) == {
        *("well", "services", "gateways", "queries", "stages", "ledger", "backups", "machines"),
        "problems",
    }


def test_missing_numbers_are_a_warning_that_says_what_brings_them_back() -> None:
    ledger = json.dumps({"ledger": LEDGER | {"missing": 1200, "devices_missing": 3}})
    status = with_changes("db", database=f"{DATABASE}\n{ledger}")
    problem = only_problem(status)
    assert status.well
    assert problem.message.startswith("1,200 readings of 3 devices are missing")
    assert "replay.yml" in problem.advice


def test_messages_that_the_broker_dropped_are_a_warning() -> None:
    status = with_changes("gw", bridge=f"{BRIDGE}bridge_broker_dropped_total 17.0\n")
    problem = only_problem(status)
    assert status.well
    assert (problem.what, problem.severity) == ("mosquitto", "warning")
    assert "dropped 17 messages" in problem.message


def test_one_host_in_all_groups_has_each_row_once() -> None:
    report = well()
    one = report["gw"]
    for other in ("core", "db"):
        one["units"] |= report[other]["units"]
        one["systemd"] += "\n\n" + report[other]["systemd"]
    one |= {"job": JOB, "database": DATABASE}
    status = assess({"node": one})
    assert status.well
    units = [service.unit for service in status.services]
    assert len(units) == len(set(units)) == 6
    assert len(status.machines) == len(status.gateways) == 1
    assert len(status.queries) == 2


def test_a_host_that_is_not_reached_leaves_the_others() -> None:
    report = well()
    report["gw"] = {"error": "Task failed: No\nroute", "limits": LIMITS, "gateway": "gw"}
    status = assess(report)
    problem = only_problem(status)
    assert (problem.host, problem.what) == ("gw", "host")
    assert problem.message == "is not reached: No route"
    assert not status.well
    assert {service.host for service in status.services} == {"core", "db"}
    # Its readings came through nevertheless.
    assert status.gateways[0].last_reading_seconds == 5
    assert [machine.reached for machine in status.machines] == [False, True, True]


def test_a_stopped_unit_is_named_once_with_what_to_do() -> None:
    states = systemd("mosquitto") + "\n\n" + systemd("mqtt-bridge", state="failed", sub="failed")
    failure = {"question": "Subscribed", "status": -1, "said": "refused"}
    status = with_changes("gw", systemd=states, failures={"mqtt_bridge": failure}, bridge="")
    problem = only_problem(status)
    assert (problem.host, problem.what) == ("gw", "mqtt-bridge")
    assert problem.message == "is failed (failed)"
    assert "journalctl -u mqtt-bridge" in problem.advice
    assert status.gateways[0].mqtt is None


def test_a_unit_that_systemd_does_not_name_is_wrong() -> None:
    assert only_problem(with_changes("db", systemd="")).message == "is unknown"


@pytest.mark.parametrize(
    ("status_code", "said", "message"),
    [
        (0, "Connection refused", "hold: The master leads: Connection refused"),
        (200, "OK (unknown bytes)", "hold: The master leads"),
    ],
)
def test_a_service_that_runs_and_does_not_answer(status_code: int, said: str, message: str) -> None:
    failure = {"question": "The master leads", "status": status_code, "said": said}
    status = with_changes("core", failures={"spark": failure})
    # Once, although the role has two units.
    assert only_problem(status).message.endswith(message)
    assert not status.well


def test_a_query_that_waits() -> None:
    job = JOB.replace('up{query="store"} 1.0', 'up{query="store"} 0.0')
    problem = only_problem(with_changes("core", job=job))
    assert problem.what == "query store"


@pytest.mark.parametrize(("lag", "wrong"), [("1000.0", False), ("1001.0", True)])
def test_lag(lag: str, wrong: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    assert with_changes("core", job=JOB.replace("7.0", lag)).well is not wrong


@pytest.mark.parametrize(
    ("change", "by", "what"),
    [
        ("bridge_kafka_connected 1.0", "bridge_kafka_connected 0.0", "does not reach Kafka"),
        ("waiting_seconds 0.5", "waiting_seconds 600.0", "waiting for Kafka for 10 min"),
    ],
)
def test_readings_that_do_not_get_away(change: str, by: str, what: str) -> None:
    problem = only_problem(with_changes("gw", bridge=BRIDGE.replace(change, by)))
    assert what in problem.message


@pytest.mark.parametrize(
    ("age", "minutes", "wrong"),
    [(1801, 30, True), (1799, 30, False), (None, 30, False), (10**6, 0, False)],
    ids=["silent", "not yet", "never sent", "silence is allowed"],
)
def test_a_gateway_that_is_silent(age: float | None, minutes: int, wrong: bool) -> None:  # noqa: FBT001
    report = well()
    report["gw"]["limits"]["silent_minutes"] = minutes
    report["db"]["database"] = json.dumps({"last_reading_seconds": {"gw": age}})
    status = assess(report)
    assert [problem.what for problem in status.problems] == ["readings"] * wrong


def test_a_disk_that_fills_up() -> None:
    disks = DISKS + "\n1000 99 /var"
    status = with_changes("db", disks=disks)
    assert only_problem(status).message == "/var has 9.9 % free"
    assert status.machines[2].disk == "/var"


def test_no_disk_is_shown_where_df_said_nothing() -> None:
    status = with_changes("db", disks="")
    assert status.well
    assert status.machines[2].disk is None


@pytest.mark.parametrize(("required", "severity"), [(False, "warning"), (True, "error")])
def test_a_clock_that_nothing_holds(required: bool, severity: str) -> None:  # noqa: FBT001
    limits = LIMITS | {"clock_required": required}
    status = with_changes("gw", tracking=FREE, limits=limits)
    assert only_problem(status).severity == severity
    assert status.well is not required
    assert status.machines[0].clock_offset_ms is None


def test_a_clock_that_is_off() -> None:
    problem = only_problem(with_changes("gw", tracking=HELD.replace("0.000010757", "-0.2")))
    assert problem.message == "is 200 ms from its time servers"


def test_a_database_that_does_not_answer_takes_only_its_figures_away() -> None:
    failure = {"question": "PostgreSQL takes connections", "status": 0, "said": ""}
    status = with_changes(
        "db", database="", database_error="psql: no server", failures={"timescaledb": failure}
    )
    assert only_problem(status).what == "postgresql@18-main"
    assert status.stages == []
    assert status.gateways[0].last_reading_seconds is None


def test_a_question_that_the_database_refuses() -> None:
    status = with_changes("db", database="", database_error="ERROR: no such\nfunction")
    assert only_problem(status).message == "ERROR: no such function"


def test_states_of_units() -> None:
    text = systemd("a@1") + "\n\n" + systemd("b", state="activating", sub="auto-restart")
    assert unit_states(text) == {"a@1": "running", "b": "activating (auto-restart)"}


def test_durations() -> None:
    assert [duration(s) for s in (0.4, 119, 600, 7200, 172800)] == [
        *("0 s", "119 s", "10 min", "2 h", "2 d")
    ]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"backups": backups(100000)}, "the last good one is 28 h old"),
        ({"backups": backups(60, error=True)}, "there is none yet"),
        ({"backups": backups()}, "there is none yet"),
        ({"backups": "", "backups_error": "no such\nstore"}, "there is none: no such store"),
        ({"database": '{"archive_fails": true}'}, "WAL is not archived"),
    ],
)
def test_a_backup_that_is_missing_or_old_is_a_warning(said: dict[str, str], message: str) -> None:
    status = with_changes("db", **said)
    problem = only_problem(status)
    assert (problem.host, problem.what, problem.severity) == ("db", "backup", "warning")
    assert message in problem.message
    assert status.well


def test_without_backups_there_is_no_row() -> None:
    assert with_changes("db", backups="").backups == []
