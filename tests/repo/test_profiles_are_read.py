"""What configures a service that profiles size goes by them, or it would be sized anew."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SIZED = {
    "base",
    "kafka",
    "minio",
    "mosquitto",
    "mqtt_bridge",
    "spark",
    "streaming_job",
    "timescaledb",
}
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))


def test_the_profiles_size_these_roles() -> None:
    text = (ROOT / "playbooks/vars/profiles.yml").read_text(encoding="utf-8")
    names = re.findall(r"(?m)^([a-z_]+):", text)
    assert {role for role in SIZED if any(name.startswith(f"{role}_") for name in names)} == SIZED


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.name)
def test_a_play_with_such_a_role_reads_them(path: Path) -> None:
    for play in yaml.safe_load(path.read_text(encoding="utf-8")):
        roles = {role["role"] if isinstance(role, dict) else role for role in play.get("roles", [])}
        if roles & SIZED:
            assert "vars/profiles.yml" in play.get("vars_files", []), play["name"]
