"""A bundle has every package that a role installs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
TABLE = yaml.safe_load((ROOT / "playbooks/vars/bundle.yml").read_text(encoding="utf-8"))
# They come from vendors' repositories, or are for those alone.
NOT_DEBIAN = {"grafana", "python3-debian"}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None


def names(value: Any, variables: dict[str, Any]) -> Iterator[str]:
    """Packages in a `name:` of apt, with variables of the role put in."""
    for item in value if isinstance(value, list) else [value]:
        found = re.fullmatch(r"\{\{ (\w+) \}\}", item)
        if found and found[1] in variables:
            yield from names(variables[found[1]], variables)
        else:
            yield re.sub(r"\{\{ timescaledb_postgresql_version \}\}", "18", item)


def installed() -> Iterator[str]:
    """Packages that tasks of roles name, by themselves or in the role's variables."""
    for tasks in ROOT.glob("roles/*/tasks/*.yml"):
        role = tasks.parents[1]
        files = (role / "defaults/main.yml", role / "vars/main.yml")
        variables = {key: value for path in files for key, value in (read(path) or {}).items()}
        for task in read(tasks):
            if "name" in (options := task.get("ansible.builtin.apt", {})):
                yield from names(options["name"], variables)


def test_every_package_is_in_the_bundle() -> None:
    found = {name for name in installed() if "{{" not in name}
    assert len(found) > 15
    held = {name for part in TABLE["bundle_packages"].values() for name in part}
    assert found - held - NOT_DEBIAN == set()


def test_packages_named_by_tables_are_in_the_bundle() -> None:
    exporters = read(ROOT / "roles/exporters/vars/main.yml")
    wanted = {entry["package"] for entry in exporters.values() if isinstance(entry, dict)}
    timescaledb = read(ROOT / "roles/timescaledb/vars/main.yml")["timescaledb_packages"]["debian"]
    wanted |= {*names(timescaledb, {})}
    held = {name for part in TABLE["bundle_packages"].values() for name in part}
    assert wanted <= held
