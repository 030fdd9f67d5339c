"""Mosquitto's password file as the role writes it."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def module() -> ModuleType:
    path = ROOT / "roles" / "mosquitto" / "library" / "mosquitto_passwords.py"
    spec = importlib.util.spec_from_file_location("mosquitto_passwords", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_a_hash_fits_its_password_alone_and_has_a_salt(module: ModuleType) -> None:
    line = module.hashed("päss:word")
    assert line.startswith("$7$1000$")
    assert module.fits("päss:word", line)
    assert not module.fits("password", line)
    assert line != module.hashed("päss:word")


@pytest.mark.parametrize("line", ["", "$7$", "$6$salt$hash", "$7$x$y$z", "plain", "$7$1000$AAAA$?"])
def test_what_is_no_such_hash_fits_nothing(module: ModuleType, line: str) -> None:
    assert not module.fits("", line)
    assert not module.fits("plain", line)


def test_only_the_line_of_a_changed_password_changes(module: ModuleType) -> None:
    before = {"same": module.hashed("a"), "new": module.hashed("b"), "gone": module.hashed("c")}
    after = module.merged(before, {"same": "a", "new": "d", "added": "e"})
    assert after["same"] == before["same"]
    assert module.fits("d", after["new"])
    assert set(after) == {"same", "new", "added"}
