"""Settings from environment variables."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

from telemetry.settings import Between, Port, SettingsError, load


@dataclass(frozen=True)
class Example:
    """Every type that a setting may have."""

    host: str
    password: str
    port: Port = 1883
    ratio: Annotated[float, Between(0, 1)] = 0.5
    verbose: bool = False
    sites: tuple[str, ...] = ("a",)


REQUIRED = {"APP_HOST": "broker", "APP_PASSWORD": "hush"}


def test_defaults_stand_in_for_what_is_not_set_or_empty() -> None:
    assert load(Example, "APP", {**REQUIRED, "APP_PORT": ""}) == Example("broker", "hush")


def test_every_type_is_read() -> None:
    given = {
        **REQUIRED,
        "APP_PORT": "8883",
        "APP_RATIO": "0.25",
        "APP_VERBOSE": "Yes",
        "APP_SITES": "north, south,",
    }
    wanted = Example("broker", "hush", 8883, 0.25, verbose=True, sites=("north", "south"))
    assert load(Example, "APP", given) == wanted


def test_all_faults_are_told_at_once() -> None:
    given = {"APP_PORT": "0", "APP_RATIO": "much", "APP_VERBOSE": "perhaps"}
    with pytest.raises(SettingsError) as caught:
        load(Example, "APP", given)
    assert str(caught.value).splitlines() == [
        "APP_HOST is not set: expected a text",
        "APP_PASSWORD is not set: expected a text",
        "APP_PORT='0': expected a whole number from 1 to 65535",
        "APP_RATIO='much': expected a number from 0 to 1",
        "APP_VERBOSE='perhaps': expected true or false",
    ]


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from file\n", encoding="utf-8")
    settings = load(Example, "APP", {"APP_HOST": "b", "APP_PASSWORD_FILE": str(secret)})
    assert settings.password == "from file"  # noqa: S105


def test_only_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="APP_HOST is not set"):
        load(Example, "APP", {"APP_HOST_FILE": str(tmp_path), "APP_PASSWORD": "hush"})


def test_a_secret_given_twice_is_a_fault() -> None:
    with pytest.raises(SettingsError, match="both set"):
        load(Example, "APP", {**REQUIRED, "APP_PASSWORD_FILE": "/some/file"})


def test_a_missing_or_empty_secret_file_is_named(tmp_path: Path) -> None:
    given = {"APP_HOST": "b", "APP_PASSWORD_FILE": str(tmp_path / "secret")}
    with pytest.raises(SettingsError, match=r"APP_PASSWORD_FILE=.*No such file"):
        load(Example, "APP", given)
    (tmp_path / "secret").write_text("\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"APP_PASSWORD_FILE=.*is empty"):
        load(Example, "APP", given)


def test_a_wrong_secret_is_not_shown() -> None:
    @dataclass(frozen=True)
    class Pin:
        access_token: int

    with pytest.raises(SettingsError) as caught:
        load(Pin, "APP", {"APP_ACCESS_TOKEN": "hunter2"})
    assert "APP_ACCESS_TOKEN=(hidden)" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_type_that_settings_do_not_know_is_the_programs_fault() -> None:
    @dataclass(frozen=True)
    class Odd:
        value: dict[str, str]

    with pytest.raises(TypeError, match="cannot be of type"):
        load(Odd, "APP", {"APP_VALUE": "x"})
