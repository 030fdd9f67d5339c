"""Settings of the job as the environment gives them."""

import pytest

from spark_app.settings import PREFIX, JobSettings
from telemetry.settings import SettingsError, load

REQUIRED = {
    "JOB_KAFKA_BOOTSTRAP_SERVERS": "core1:9092",
    "JOB_DATABASE_HOST": "db1",
    "JOB_DATABASE_PASSWORD": "p",
    "JOB_S3_ENDPOINT": "http://core1:9000",
    "JOB_S3_ACCESS_KEY": "a",
    "JOB_S3_SECRET_KEY": "s",
    "JOB_CHECKPOINT_DIR": "/var/lib/streaming-job",
}


def test_defaults_are_those_of_the_contract() -> None:
    settings = load(JobSettings, PREFIX, REQUIRED)
    assert settings.raw_topic == "sensor.raw"
    assert settings.store_trigger == "200 milliseconds"
    assert settings.archive_trigger == "1 minute"
    assert settings.database_name == "sensordb"


@pytest.mark.parametrize("name", REQUIRED)
def test_missing_variable_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load(JobSettings, PREFIX, {k: v for k, v in REQUIRED.items() if k != name})


def test_mode_is_one_of_two() -> None:
    assert load(JobSettings, PREFIX, REQUIRED).store_mode == "micro-batch"
    assert load(JobSettings, PREFIX, REQUIRED | {"JOB_STORE_MODE": "real-time"})
    with pytest.raises(SettingsError, match="'fast': expected one of micro-batch, real-time"):
        load(JobSettings, PREFIX, REQUIRED | {"JOB_STORE_MODE": "fast"})
