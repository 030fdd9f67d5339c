"""Which profile a host gets, and that what the inventory says wins; asked of Ansible itself."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PROFILES = ROOT / "playbooks" / "vars" / "profiles.yml"
KEYS = (
    *("base_profile", "base_memory_needed_mb", "kafka_heap", "kafka_raw_partitions"),
    *("streaming_job_raw_partitions", "timescaledb_memory_mb", "mosquitto_max_queued_bytes"),
)
FACTS = {"architecture": "aarch64", "memtotal_mb": 3794, "virtualization_role": "host"}
ALL = ["gateway", "kafka", "minio", "spark", "streaming_job", "database"]
# Facts of a host, its groups, and what the inventory says of it.
HOSTS: dict[str, tuple[dict[str, Any], list[str], dict[str, Any]]] = {
    "pi4-2gb": ({"memtotal_mb": 1846}, ["gateway"], {}),
    "pi5-8gb": ({"memtotal_mb": 8052}, ["gateway"], {"mosquitto_max_queued_bytes": 7}),
    "guest": ({"memtotal_mb": 3900, "virtualization_role": "guest"}, ["gateway"], {}),
    "small-node": ({}, ALL, {"kafka_heap": "300m"}),
    "server": ({"memtotal_mb": 32000, "architecture": "x86_64"}, ["database"], {}),
    "named": ({}, ["gateway"], {"edge_profile": "pi-8gb"}),
}


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What Ansible makes of the profiles, by host."""
    folder = tmp_path_factory.mktemp("profiles")
    hosts = {
        name: {"found": {**FACTS, **facts}, **said} for name, (facts, _, said) in HOSTS.items()
    }
    groups = {g: {"hosts": {n: {} for n, (_, own, _) in HOSTS.items() if g in own}} for g in ALL}
    answer = ", ".join(f"'{key}': {key}" for key in KEYS)
    play = {
        "hosts": "all",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        "vars_files": [str(PROFILES)],
        "tasks": [
            # With `cacheable` they count as the host's own facts.
            {"set_fact": {"cacheable": True, **{k: f"{{{{ found.{k} }}}}" for k in FACTS}}},
            {
                "copy": {
                    "dest": f"{folder}/{{{{ inventory_hostname }}}}.json",
                    "content": f"{{{{ {{{answer}}} | to_json }}}}",
                }
            },
        ],
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "children": groups}}))
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    command = ["ansible-playbook", "-i", f"{folder}/hosts.yml", f"{folder}/play.yml"]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in HOSTS}


@pytest.mark.parametrize(
    ("host", "profile"),
    [
        ("pi4-2gb", "pi-2gb"),
        ("pi5-8gb", "pi-8gb"),
        ("guest", "vm"),
        ("small-node", "pi-4gb"),
        ("server", "vm"),
        ("named", "pi-8gb"),
    ],
)
def test_profile_of_each(values: dict[str, dict[str, Any]], host: str, profile: str) -> None:
    assert values[host]["base_profile"] == profile


def test_the_inventory_wins(values: dict[str, dict[str, Any]]) -> None:
    assert values["pi5-8gb"]["mosquitto_max_queued_bytes"] == 7
    assert values["small-node"]["kafka_heap"] == "300m"
    assert values["small-node"]["timescaledb_memory_mb"] == 640


def test_memory_follows_what_is_on_the_host(values: dict[str, dict[str, Any]]) -> None:
    needed = {name: found["base_memory_needed_mb"] for name, found in values.items()}
    assert (needed["pi4-2gb"], needed["server"], needed["small-node"]) == (400, 1700, 3400)
    assert values["server"]["timescaledb_memory_mb"] == 32000


def test_kafka_and_the_job_agree(values: dict[str, dict[str, Any]]) -> None:
    assert values["small-node"]["kafka_raw_partitions"] == 2
    for found in values.values():
        assert found["kafka_raw_partitions"] == found["streaming_job_raw_partitions"]


def test_each_profile_sizes_the_same() -> None:
    profiles = yaml.safe_load(PROFILES.read_text(encoding="utf-8"))["edge_profiles"]
    assert len({frozenset(sizes) for sizes in profiles.values()}) == 1
