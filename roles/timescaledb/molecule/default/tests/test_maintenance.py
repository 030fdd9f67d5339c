"""Roll-ups and retention as the timer does them."""

import shlex
from collections.abc import Iterator

import pytest
from testinfra.host import Host

UNIT = "sensordb-maintenance"
PSQL = "psql -XAtq -v ON_ERROR_STOP=1 -U sensor_user -d sensordb -c"
READINGS = """
INSERT INTO sensor_data (time, device_id, seq, temperature, appended_at, read_at, batch_id,
    kafka_partition, kafka_offset)
SELECT date_trunc('hour', now()) - interval '{age}' + n * interval '1 second', 'maintained', n, n,
    now(), now(), 0, 0, n FROM generate_series({first}, {last}) AS n
"""
ROLLED_UP = """
SELECT coalesce(sum(samples), 0), max(temperature_max) FROM sensor_data_{width}
WHERE device_id = 'maintained'
"""
CLEAN = """
DELETE FROM sensor_data WHERE device_id = 'maintained';
DELETE FROM sensor_data_1m WHERE device_id = 'maintained';
DELETE FROM sensor_data_1h WHERE device_id = 'maintained'
"""


def sql(host: Host, query: str) -> str:
    return str(host.check_output(f'{PSQL} "{query}"')).strip()


def maintain(host: Host) -> None:
    # The first may only wait for a run of the timer that began before.
    for _ in range(2):
        host.check_output(f"systemctl start {UNIT}.service")


@pytest.fixture
def readings(host: Host) -> Iterator[None]:
    """Two minutes and a bit of readings a week ago, and of 100 days ago."""
    for age in ("7 days", "100 days"):
        sql(host, READINGS.format(age=age, first=0, last=129))
    yield
    sql(host, CLEAN)


def test_the_timer_runs_by_itself_every_minute(host: Host) -> None:
    assert host.service(f"{UNIT}.timer").is_running
    assert host.service(f"{UNIT}.timer").is_enabled
    last = f"systemctl show --property=LastTriggerUSec --value {UNIT}.timer"
    before = host.check_output(last)
    waiting = f"until [ \"$({last})\" != '{before}' ]; do sleep 1; done"
    host.check_output(f"timeout 70 sh -c {shlex.quote(waiting)}")
    maintain(host)
    assert host.check_output(f"systemctl show --property=Result --value {UNIT}") == "success"


@pytest.mark.usefixtures("readings")
def test_late_readings_are_rolled_up_and_old_chunks_go(host: Host) -> None:
    sql(host, "UPDATE retention SET applied_at = NULL")
    maintain(host)
    for width in ("1m", "1h"):
        assert sql(host, ROLLED_UP.format(width=width)) == "260|129"
    old = "SELECT count(*) FROM sensor_data WHERE time < now() - interval '99 days'"
    assert sql(host, old) == "0"
    # Into a minute that was rolled up before.
    sql(host, READINGS.format(age="7 days", first=100, last=150) + " ON CONFLICT DO NOTHING")
    maintain(host)
    for width in ("1m", "1h"):
        assert sql(host, ROLLED_UP.format(width=width)) == "281|150"


def test_the_roles_settings_are_what_the_database_keeps_to(host: Host) -> None:
    kept = sql(host, "SELECT relation, keep FROM retention ORDER BY 1").splitlines()
    assert kept == [
        "pipeline_kpi|7 days",
        "pipeline_kpi_1m|1 year",
        "processing_metrics|90 days",
        "sensor_data|90 days",
        "sensor_data_1h|",
        "sensor_data_1m|2 years",
    ]


def test_its_user_is_the_databases_user_and_no_more(host: Host) -> None:
    become = f"setpriv --reuid={UNIT} --regid={UNIT} --clear-groups"
    assert host.check_output(f"{become} psql -wXAt -U sensor_user -d sensordb -c 'SELECT 1'") == "1"
    refused = host.run(f"{become} psql -wXAt -U postgres -d sensordb -c 'SELECT 1'")
    assert "Peer authentication failed" in refused.stderr
