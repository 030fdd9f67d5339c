"""Rules of the house that hold for every role."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.role_docs import document

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(
    path.name for path in (ROOT / "roles").iterdir() if path.is_dir() and path.name[0] != "."
)


def load(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_name_the_same_variables(role: str) -> None:
    defaults = set(load(ROOT / "roles" / role / "defaults" / "main.yml"))
    specs = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")
    options = specs["argument_specs"]["main"]["options"]
    required = {name for name, option in options.items() if option.get("required")}
    assert defaults - set(options) == set()
    # A required secret has no default.
    assert set(options) - defaults - required == set()


def secrets(options: dict[str, Any]) -> dict[str, Any]:
    """Options that hold a secret, those inside of others as well."""
    found = {}
    for name, option in options.items():
        if name.endswith(("password", "secret", "secret_key", "token")):
            found[name] = option
        found |= secrets(option.get("options", {}))
    return found


@pytest.mark.parametrize("role", ROLES)
def test_secrets_are_not_logged(role: str) -> None:
    specs = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")
    for name, option in secrets(specs["argument_specs"]["main"]["options"]).items():
        assert option.get("no_log"), name


@pytest.mark.parametrize("role", ROLES)
def test_variables_carry_the_role_name(role: str) -> None:
    for name in load(ROOT / "roles" / role / "defaults" / "main.yml"):
        assert name.startswith(f"{role}_")


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_scenario_with_tests(role: str) -> None:
    scenario = ROOT / "roles" / role / "molecule" / "default"
    assert (scenario / "inventory.yml").exists()
    assert list((scenario / "tests").glob("test_*.py"))


@pytest.mark.parametrize("role", ROLES)
def test_no_role_reads_the_inventory_groups(role: str) -> None:
    for path in (ROOT / "roles" / role).rglob("*"):
        if path.is_file() and path.suffix in {".yml", ".j2"}:
            assert "groups[" not in path.read_text(encoding="utf-8"), path


def test_the_scenario_of_every_role_is_run() -> None:
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    lists = [line for line in lines if line.startswith(("ROLES :=", "LONG_ROLES :="))]
    assert sorted(role for line in lists for role in line.split()[2:]) == ROLES


@pytest.mark.parametrize("role", ROLES)
def test_readme_is_made_from_the_specs(role: str) -> None:
    folder = ROOT / "roles" / role
    assert (folder / "README.md").read_text(encoding="utf-8") == document(folder), "run `make docs`"
