"""The comparison of the stores: silent while they agree, and exact when they do not."""

from testinfra.host import Host

from tools.pipeline import Pipeline, eventually

TOOL = "/opt/streaming_job/tool spark_app.reconcile --hours 2 --grace 0"


def test_stores_agree_and_a_lost_row_is_named(hosts: dict[str, Host], pipeline: Pipeline) -> None:
    core, site = hosts["core1"], pipeline.site("reconcile")
    pipeline.simulate("--site", site, "--devices", "4", "--rate", "100", "--count", "400")
    eventually("the archive", lambda: len(pipeline.archived_readings(site)), lambda n: n >= 400)
    said = core.run(TOOL)
    assert said.rc == 0, said.stdout + said.stderr
    assert " 0 missing" in said.stdout

    device = f"{site}-0001"
    database = hosts["db1"]
    pipeline.change(database, "CREATE TABLE taken (LIKE sensor_data)")
    pipeline.change(
        database,
        f"WITH gone AS (DELETE FROM sensor_data WHERE device_id = '{device}' AND seq = 7 "  # noqa: S608
        "RETURNING *) INSERT INTO taken SELECT * FROM gone",
    )
    try:
        said = core.run(TOOL)
        assert said.rc == 1
        assert "1 readings are in Kafka, neither stored nor refused" in said.stdout
        assert "1 readings are archived, not stored" in said.stdout
        assert said.stdout.count(f"{device} seq 7 at ") == 2
    finally:
        pipeline.change(database, "INSERT INTO sensor_data SELECT * FROM taken")
        pipeline.change(database, "DROP TABLE taken")
    assert core.run(TOOL).rc == 0
