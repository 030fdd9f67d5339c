"""What both modes of the store query promise: every reading once, whatever breaks.

The job runs as it does on a host, against a real Kafka and the server that EDGE_TEST_DSN names.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from psycopg2.extensions import parse_dsn
from sensors import Sensors, dead_letters

from benchmarks.processes import wait_for
from benchmarks.scratch import database
from benchmarks.services import create_topic, kafka
from benchmarks.store_job import DEAD, RAW, StoreJob

PARTITIONS = 2
# Short, so that the tests see several batches, and devices soon.
_SETTINGS = {"JOB_STORE_BATCH": "15 seconds", "JOB_DEVICE_REFRESH_SECONDS": "1"}

# Validation lets through nothing that the database refuses; this makes it refuse something.
_REFUSE_66 = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.temperature = 66 THEN
        RAISE EXCEPTION 'no 66' USING ERRCODE = '22003';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON sensor_data FOR EACH ROW EXECUTE FUNCTION refuse()
"""
_END_CONNECTIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'streaming-job store'
"""
_KINDS = """
SELECT sum(rows_stored)::int, sum(rows_duplicate)::int, sum(rows_late)::int,
    sum(rows_rejected)::int
FROM processing_metrics WHERE query = 'store'
"""


@pytest.fixture(scope="module", params=["micro-batch", "real-time"])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[StoreJob, Sensors]]:
    """Yield the job in one of its modes, and sensors."""
    server = os.environ.get("EDGE_TEST_DSN")
    if not server:
        pytest.skip("EDGE_TEST_DSN is not set: no TimescaleDB to store readings in")
    folder = tmp_path_factory.mktemp(request.param)
    with kafka(folder / "kafka") as broker, database(server) as scratch:
        create_topic(broker, RAW, PARTITIONS)
        create_topic(broker, DEAD, 1)
        job = StoreJob(folder, broker, scratch, request.param, _SETTINGS)
        job.ask(_REFUSE_66)
        try:
            job.start()
            yield job, Sensors(broker)
        finally:
            job.stop()


def is_complete(job: StoreJob, sensors: Sensors) -> None:
    """Wait for the job and compare what is stored with what was sent, row by row."""
    job.settle()
    stored = job.ask("SELECT device_id, seq FROM sensor_data")
    assert len(stored) == len(set(stored))
    assert set(stored) - sensors.sent.readings == set()
    assert sensors.sent.readings - set(stored) == set()


def noted(job: StoreJob) -> dict[str, int]:
    return dict(job.ask("SELECT kind, sum(readings)::int FROM ledger_note GROUP BY kind"))  # type: ignore[arg-type]


def test_each_record_is_a_row_a_copy_or_a_dead_letter(world: tuple[StoreJob, Sensors]) -> None:
    job, sensors = world
    sensors.send(500)
    sensors.send_twice()
    sensors.send_late(3600)
    sensors.send_garbage()
    sensors.send_odd("refused", temperature=66)
    sensors.send(500)
    is_complete(job, sensors)
    assert noted(job) == {"duplicate": 1, "late": 1, "rejected": 1}
    wait_for(lambda: job.ask(_KINDS)[0] == (1002, 1, 1, 2), "the figures", 10)
    wait_for(lambda: job.metric("job_rows_stored_total") == 1002, "the metrics", 20)
    assert job.metric('job_query_up{query="store"}') == 1
    assert job.metric("job_rows_rejected_total") == 2
    letters = dead_letters(job.kafka)
    reasons = sorted(letter["reason"].partition(":")[0] for letter in letters)
    assert reasons == ["not_json", "refused_by_database"]
    assert all(letter["origin_topic"] == RAW and letter["gateway"] == "gw1" for letter in letters)


def test_latencies_are_of_all_new_readings(world: tuple[StoreJob, Sensors]) -> None:
    job, sensors = world
    sensors.send(100)
    is_complete(job, sensors)
    wanted = len(sensors.sent.readings)

    def samples() -> set[int]:
        return {n for (n,) in job.ask("SELECT samples FROM get_pipeline_latency_stats('1 day')")}

    wait_for(lambda: samples() == {wanted}, f"{wanted} latencies", 10)
    ((lost,),) = job.ask("SELECT count(*) FROM reading_times WHERE committed_at IS NULL")
    assert lost == 0


def test_a_device_is_known_without_a_restart(world: tuple[StoreJob, Sensors]) -> None:
    job, sensors = world
    job.ask(
        "INSERT INTO devices (device_id, room) SELECT 'dev' || n, '7' FROM generate_series(0, 6) n"
    )
    # Micro-batches look at the table each second here.
    time.sleep(3)
    sensors.send(10)
    is_complete(job, sensors)
    newest = job.ask("SELECT site, room FROM sensor_data ORDER BY seq DESC LIMIT 10")
    assert set(newest) == {("lab", "7")}


def test_ended_connections_lose_and_double_nothing(world: tuple[StoreJob, Sensors]) -> None:
    job, sensors = world
    with sensors.flowing():
        for _ in range(3):
            time.sleep(2)
            wait_for(lambda: job.ask(_END_CONNECTIONS), "a connection to end")
    is_complete(job, sensors)


def test_ten_seconds_without_a_database_lose_and_double_nothing(
    world: tuple[StoreJob, Sensors],
) -> None:
    job, sensors = world
    name = parse_dsn(job.dsn)["dbname"]
    server = StoreJob(job.folder, job.kafka, os.environ["EDGE_TEST_DSN"], job.mode)
    with sensors.flowing():
        server.ask(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        for _ in range(10):
            server.ask(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name
            )
            time.sleep(1)
        server.ask(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    is_complete(job, sensors)


def test_a_killed_executor_loses_and_doubles_nothing(world: tuple[StoreJob, Sensors]) -> None:
    job, sensors = world
    with sensors.flowing():
        time.sleep(2)
        job.kill_executor()
        time.sleep(5)
    is_complete(job, sensors)


def test_the_other_mode_goes_on_where_this_one_ended(world: tuple[StoreJob, Sensors]) -> None:
    job, sensors = world
    before = Counter(noted(job))
    own = job.mode
    for mode in ({"micro-batch", "real-time"} - {own}).pop(), own:
        with sensors.flowing():
            time.sleep(1)
            job.stop()
            sensors.send_twice()
            job.mode = mode
            job.start()
            time.sleep(5)
        is_complete(job, sensors)
    assert Counter(noted(job)) - before == Counter({"duplicate": 2})
