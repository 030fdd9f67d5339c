"""What a gateway remembers, and what it puts back; packages and units are for the scenario."""

import importlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "playbooks" / "library"))
release: Any = importlib.import_module("gateway_release")


@dataclass
class Commands:
    """Stands for the machine: no package is installed, and units do as they are told."""

    check_mode: bool = False
    seen: list[list[str]] = field(default_factory=list)

    def run_command(self, command: list[str], **_: Any) -> tuple[int, str, str]:
        self.seen.append(command)
        return 0, "", ""


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture
def gateway(tmp_path: Path, commands: Commands) -> Any:
    for path, text in (
        ("etc/mosquitto/mosquitto.conf", "listener 1883\n"),
        ("etc/mosquitto/passwords", "secret\n"),
        ("etc/systemd/system/mosquitto.service.d/restart.conf", "[Service]\n"),
        ("etc/mqtt-bridge/credentials/mqtt_password", "secret"),
        ("etc/systemd/system/mqtt-bridge.service", "[Unit]\n"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    (tmp_path / "etc/mosquitto/passwords").chmod(0o600)
    install(tmp_path, "bridge1-0.1+a")
    return release.Gateway(tmp_path, commands)


def install(root: Path, name: str) -> None:
    """As role python_app does."""
    wheels, _, version = name.partition("-")
    for folder in (f"opt/wheels/bridge/{wheels}", f"opt/wheels/edge_telemetry/{version}"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "opt/mqtt_bridge" / name).mkdir(parents=True)
    (root / "opt/mqtt_bridge" / name / ".installed").touch()
    current = root / "opt/mqtt_bridge/current"
    current.unlink(missing_ok=True)
    current.symlink_to(f"/opt/mqtt_bridge/{name}")


def tree(root: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in (root / "etc").rglob("*") if path.is_file()]
    return {str(p.relative_to(root)): (p.read_bytes(), p.stat().st_mode) for p in files}


def test_all_is_put_back(gateway: Any, commands: Commands, tmp_path: Path) -> None:
    before = tree(tmp_path)
    assert gateway.remember("r1")
    install(tmp_path, "bridge1-0.1+b")
    (tmp_path / "etc/mosquitto/mosquitto.conf").write_text("listener 2883\n", encoding="utf-8")
    (tmp_path / "etc/mosquitto/passwords").chmod(0o644)
    (tmp_path / "etc/mosquitto/new.conf").touch()
    (tmp_path / "etc/mqtt-bridge/credentials/mqtt_password").unlink()
    told = gateway.restore("r1")
    assert tree(tmp_path) == before
    assert gateway.release() == "/opt/mqtt_bridge/bridge1-0.1+a"
    assert told["restarted"] == ["mosquitto", "mqtt-bridge"]
    restarts = [["systemctl", "restart", unit] for unit in ("mosquitto", "mqtt-bridge")]
    assert commands.seen[-3:] == [["systemctl", "daemon-reload"], *restarts]
    assert gateway.memories() == []


def test_only_what_changed_is_restarted(gateway: Any, tmp_path: Path) -> None:
    gateway.remember("r1")
    install(tmp_path, "bridge1-0.1+b")
    assert gateway.restore("")["restarted"] == ["mqtt-bridge"]


def test_a_second_try_keeps_the_memory_of_the_first(gateway: Any, tmp_path: Path) -> None:
    assert gateway.remember("r1")
    install(tmp_path, "bridge1-0.1+b")
    assert not gateway.remember("r1")
    gateway.restore("r1")
    assert gateway.release() == "/opt/mqtt_bridge/bridge1-0.1+a"


def test_under_check_nothing_changes(gateway: Any, commands: Commands, tmp_path: Path) -> None:
    gateway.remember("r1")
    install(tmp_path, "bridge1-0.1+b")
    commands.check_mode = True
    told = gateway.restore("")
    assert told["diff"]["after"] == "current -> /opt/mqtt_bridge/bridge1-0.1+a\n"
    assert gateway.release() == "/opt/mqtt_bridge/bridge1-0.1+b"
    assert len(gateway.memories()) == 1


def test_it_says_why_it_cannot_go_back(gateway: Any) -> None:
    with pytest.raises(release.ReleaseError, match="no earlier release"):
        gateway.restore("")
    gateway.remember("r1")
    with pytest.raises(release.ReleaseError, match="was made for r1, not for r2"):
        gateway.restore("r2")


def test_old_releases_go_and_those_of_memories_stay(gateway: Any, tmp_path: Path) -> None:
    for number, letter in enumerate("bcde"):
        memory = tmp_path / release.MEMORIES / f"2026010{number}T000000Z"
        memory.mkdir(parents=True)
        content = f'{{"name": "{letter}", "release": "{gateway.release()}"}}'
        (memory / "memory.json").write_text(content, encoding="utf-8")
        install(tmp_path, f"bridge1-0.1+{letter}")
    gone = {Path(path).name for path in gateway.prune(keep=2)}
    assert gone == {
        *("20260100T000000Z", "20260101T000000Z"),
        *("bridge1-0.1+a", "bridge1-0.1+b", "0.1+a", "0.1+b"),
    }
    left = {path.name for path in (tmp_path / "opt/mqtt_bridge").iterdir()}
    assert left == {"current", "bridge1-0.1+c", "bridge1-0.1+d", "bridge1-0.1+e"}
    assert (tmp_path / "opt/wheels/bridge/bridge1").exists()
