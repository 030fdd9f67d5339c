"""Ansible module: remembers what a gateway is, and puts that back."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: gateway_release
short_description: Remembers what a gateway is, and puts that back
description:
  - A memory holds the configuration files of MQTT broker and bridge, where the link C(current) of
    the bridge leads, and the versions of the broker's packages.
  - Memories are a stack; putting one back takes it off.
options:
  state:
    description:
      - C(remembered) makes a memory unless there is one of that name.
      - C(restored) puts the newest back, restarts what is changed by it, and takes it off.
      - C(pruned) removes all but the newest memories, and the bridge's releases that neither they
        nor C(current) lead to.
    choices: [remembered, restored, pruned]
    required: true
  name:
    description: What the memory is made for; for C(restored) the newest must have it, if given.
    type: str
    default: ""
  keep:
    description: Memories that C(pruned) leaves.
    type: int
    default: 3
  root:
    description: Folder that stands for the root of the file system.
    type: path
    default: /
author: The edge-telemetry authors
"""
EXAMPLES = """
- gateway_release: {state: remembered, name: "2026-03"}
- gateway_release: {state: restored}
"""
RETURN = """
release:
  description: Where C(current) leads afterwards.
  type: str
  returned: success
restarted:
  description: Units that were restarted.
  type: list
  returned: restored
packages:
  description: Packages that should have gone back to another version and could not, and why.
  type: str
  returned: restored
removed:
  description: Memories and releases that were removed.
  type: list
  returned: pruned
"""
MEMORIES = "var/lib/gateway-releases"
APP = "opt/mqtt_bridge"
WHEELS = ("opt/wheels/bridge", "opt/wheels/edge_telemetry")
FILES = {
    "mosquitto": ("etc/mosquitto", "etc/systemd/system/mosquitto.service.d"),
    "mqtt-bridge": ("etc/mqtt-bridge", "etc/systemd/system/mqtt-bridge.service"),
}
PACKAGES = ("mosquitto*", "libmosquitto*")


class ReleaseError(Exception):
    """It cannot be done; says why and what to do."""


@dataclass(frozen=True)
class Gateway:
    """A gateway's files below a root, and the module that runs its commands."""

    root: Path
    module: AnsibleModule

    def memories(self) -> list[Path]:
        """All memories, the oldest first."""
        return sorted(p for p in (self.root / MEMORIES).glob("*") if (p / "memory.json").exists())

    def release(self) -> str | None:
        """Where `current` leads."""
        link = self.root / APP / "current"
        return str(link.readlink()) if link.is_symlink() else None

    def packages(self) -> dict[str, str]:
        """Versions of the packages that are installed."""
        form = "${binary:Package} ${Version} ${db:Status-Status}\n"
        _, out, _ = self.module.run_command(["dpkg-query", "--show", f"-f={form}", *PACKAGES])
        rows = [line.split() for line in out.splitlines()]
        return {row[0]: row[1] for row in rows if row[2:] == ["installed"]}

    def remember(self, name: str) -> bool:
        """Make a memory; tell whether there was none of that name."""
        if any(read(path)["name"] == name for path in self.memories()):
            return False
        if self.release() is None:
            message = f"{self.root / APP}/current is no link: install this gateway by site.yml"
            raise ReleaseError(message)
        if self.module.check_mode:
            return True
        folder = self.root / MEMORIES / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        # It holds credentials.
        part.mkdir(mode=0o700)
        with tarfile.open(part / "files.tar", "w") as tar:
            for path in self.roots():
                tar.add(path, str(path.relative_to(self.root)))
        memory = {"name": name, "release": self.release(), "packages": self.packages()}
        (part / "memory.json").write_text(json.dumps(memory, indent=1) + "\n", encoding="utf-8")
        os.sync()
        part.rename(folder)
        return True

    def roots(self) -> list[Path]:
        """Files and folders that are part of a memory and are there."""
        found = [self.root / name for names in FILES.values() for name in names]
        return [path for path in found if path.exists()]

    def restore(self, name: str) -> dict[str, Any]:
        """Put the newest memory back and take it off; tell what changed."""
        memories = self.memories()
        if not memories:
            message = f"there is no earlier release in {self.root / MEMORIES} to go back to"
            raise ReleaseError(message)
        folder = memories[-1]
        memory = read(folder)
        if name and memory["name"] != name:
            message = f"the newest memory, {folder}, was made for {memory['name']}, not for {name}"
            raise ReleaseError(message)
        with tarfile.open(folder / "files.tar") as tar:
            differing = list(self.differing(tar))
            units = [
                unit
                for unit, places in FILES.items()
                if any(path.startswith(places) for path in differing)
            ]
            moved = memory["release"] != self.release()
            if moved and "mqtt-bridge" not in units:
                units.append("mqtt-bridge")
            before = "".join(f"{p}\n" for p in differing) + f"current -> {self.release()}\n"
            told: dict[str, Any] = {
                "changed": True,
                "restarted": units,
                "diff": {"before": before, "after": f"current -> {memory['release']}\n"},
            }
            if self.module.check_mode:
                return told
            self.put_back(tar, differing)
        self.link(memory["release"])
        told["packages"] = self.put_packages_back(memory["packages"])
        self.restart(units)
        shutil.rmtree(folder)
        return told

    def differing(self, tar: tarfile.TarFile) -> Iterator[str]:
        """Files that are not as the memory has them, or that it does not have."""
        known = {member.name: member for member in tar.getmembers() if member.isfile()}
        for name, member in known.items():
            path = self.root / name
            content = tar.extractfile(member)
            wanted = content.read() if content else b""
            if not path.is_file() or (wanted, *owner(member)) != (path.read_bytes(), *rights(path)):
                yield name
        for place in self.roots():
            for path in [place, *place.rglob("*")]:
                name = str(path.relative_to(self.root))
                if path.is_file() and name not in known:
                    yield name

    def put_back(self, tar: tarfile.TarFile, differing: list[str]) -> None:
        """Make these files as the memory has them."""
        known = set(tar.getnames())
        for name in differing:
            if name in known:
                tar.extract(name, self.root, filter="fully_trusted")
            else:
                (self.root / name).unlink()

    def link(self, release: str) -> None:
        """Have `current` lead to a release."""
        target = self.root / release.lstrip("/")
        if not (target / ".installed").exists():
            message = f"{target} is not there any more: install the wanted release by site.yml"
            raise ReleaseError(message)
        part = self.root / APP / ".current"
        part.unlink(missing_ok=True)
        part.symlink_to(release)
        part.replace(self.root / APP / "current")

    def put_packages_back(self, wanted: dict[str, str]) -> str:
        """Install these versions where others are; return why it was not possible."""
        here = self.packages()
        other = [f"{p}={v}" for p, v in wanted.items() if here.get(p) not in {None, v}]
        if not other:
            return ""
        options = ["--yes", "--no-install-recommends", "--allow-downgrades"]
        # Our files are newer than the package's.
        options += ["--option=Dpkg::Options::=--force-confold"]
        code, _, error = self.module.run_command(
            ["apt-get", "install", *options, *other],
            environ_update={"DEBIAN_FRONTEND": "noninteractive"},
        )
        return f"{', '.join(other)}: {error.strip()}" if code else ""

    def restart(self, units: list[str]) -> None:
        """Have systemd read its files anew, and restart these units."""
        self.module.run_command(["systemctl", "daemon-reload"], check_rc=True)
        for unit in units:
            self.module.run_command(["systemctl", "restart", unit], check_rc=True)

    def prune(self, keep: int) -> list[str]:
        """Remove what is too old to go back to."""
        memories = self.memories()
        old = memories[: max(len(memories) - keep, 0)]
        kept = {read(path)["release"] for path in memories if path not in old} | {self.release()}
        names = {Path(release).name for release in kept if release}
        releases = [
            path
            for path in sorted((self.root / APP).glob("*"))
            if path.is_dir() and not path.is_symlink() and path.name not in names
        ]
        # A wheel may be of another program's release, too.
        used = names | {p.parent.name for p in self.root.glob("opt/*/*/.installed")}
        used -= {path.name for path in releases}
        wheels = [
            path
            for place in WHEELS
            for path in sorted((self.root / place).glob("*"))
            if not any(path.name in name for name in used)
        ]
        gone = [*old, *releases, *wheels]
        if not self.module.check_mode:
            for path in gone:
                shutil.rmtree(path)
        return [str(path) for path in gone]


def owner(member: tarfile.TarInfo) -> tuple[int, int, int]:
    """Mode, user and group of a file in an archive."""
    return member.mode & 0o7777, member.uid, member.gid


def rights(path: Path) -> tuple[int, int, int]:
    """The same of a file on disk."""
    stat = path.stat()
    return stat.st_mode & 0o7777, stat.st_uid, stat.st_gid


def read(folder: Path) -> dict[str, Any]:
    """What a memory says."""
    memory: dict[str, Any] = json.loads((folder / "memory.json").read_text(encoding="utf-8"))
    return memory


def main() -> None:
    """The module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["remembered", "restored", "pruned"], "required": True},
            "name": {"type": "str", "default": ""},
            "keep": {"type": "int", "default": 3},
            "root": {"type": "path", "default": "/"},
        },
        supports_check_mode=True,
    )
    gateway = Gateway(Path(module.params["root"]), module)
    try:
        if module.params["state"] == "remembered":
            told: dict[str, Any] = {"changed": gateway.remember(module.params["name"])}
        elif module.params["state"] == "restored":
            told = gateway.restore(module.params["name"])
        else:
            removed = gateway.prune(module.params["keep"])
            told = {"changed": bool(removed), "removed": removed}
    except (ReleaseError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(release=gateway.release(), **told)


if __name__ == "__main__":
    main()
