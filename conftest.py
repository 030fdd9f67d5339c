"""Tells testinfra which test hosts a scenario has, for the tests of every role and of the whole."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import testinfra
import yaml
from hypothesis import HealthCheck, settings
from testinfra.host import Host

# Tests of the scenarios share tools/ with the demo, wherever pytest was started.
sys.path.insert(0, str(Path(__file__).resolve().parent))

# Machines are shared: how long an example takes says nothing of the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# Of the hosts' containers; `demo` to try a test of the pipeline on the demo's.
GROUP = os.environ.get("EDGE_GROUP", "test")


def scenario_hosts() -> list[str]:
    """Names of the hosts in the running scenario's inventory; none outside of molecule."""
    scenario = os.environ.get("MOLECULE_SCENARIO_DIRECTORY")
    if scenario is None:
        return []
    # The scenarios of the root take one of inventories/; a role's has a file of its own.
    path = Path(os.environ.get("EDGE_INVENTORY", f"{scenario}/inventory.yml"))
    inventory = yaml.safe_load(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    groups = [inventory["all"]]
    while groups:
        group = groups.pop() or {}
        found |= set(group.get("hosts", {}))
        groups += group.get("children", {}).values()
    return sorted(found)


def pytest_configure(config: pytest.Config) -> None:
    """Runs a test that takes `host` once for each host of the scenario."""
    if names := scenario_hosts():
        config.option.hosts = ",".join(f"podman://edge-{GROUP}-{name}" for name in names)


@pytest.fixture(scope="session")
def hosts() -> dict[str, Host]:
    """All hosts of the scenario by name, for tests that follow a reading from one to the next."""
    return {name: testinfra.get_host(f"podman://edge-{GROUP}-{name}") for name in scenario_hosts()}
