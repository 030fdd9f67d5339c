"""`python -m pull.gateway`: look which release this gateway is to have, take it, and tell.

`check` looks alone, and fails where it does not see the store. What is not signed, older than what
was seen, or not as it was signed is refused. A release's own playbooks/pulled.yml installs it,
measures it and goes back by itself where it has to.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pull.channel import Channel, ChannelError, File, Known, decide, digest, key, reasons, sha256
from pull.settings import Settings
from pull.signature import verified
from pull.store import MissingError, StoreError
from telemetry.settings import SettingsError, load

_ARCHES = {"x86_64": "amd64", "aarch64": "arm64"}
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_SYSTEMS_PYTHON = Path("/usr/bin/python3")
# What it said last is in the report; the journal has all.
_TAIL_LINES = 20


def say(text: str) -> None:
    """Print a line to the journal at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@dataclass
class Puller:
    """One look at the channel, and what follows from it."""

    settings: Settings
    known: Known = field(default_factory=Known)

    def __post_init__(self) -> None:
        """Read what this gateway remembers."""
        self.memory = self.settings.home / "known.json"
        if self.memory.exists():
            self.known = Known.parse(json.loads(self.memory.read_text(encoding="utf-8")))

    def remember(self) -> None:
        """Write down what is known, whole or not at all."""
        part = self.memory.with_suffix(".part")
        part.write_text(json.dumps(asdict(self.known)) + "\n", encoding="utf-8")
        os.sync()
        part.replace(self.memory)

    def look(self) -> Channel:
        """Return the channel, if it is one to follow.

        Raises:
            StoreError: the store was not reached.
            ChannelError: it must not be followed.
        """
        text = verified(self.settings.store.get("channel"), Path(self.settings.signers))
        channel = Channel.parse(text)
        self.known.follow(channel, text)
        return channel

    def run(self) -> dict[str, Any]:
        """Look, do what is to be done, and return the report."""
        report: dict[str, Any] = {"state": "refused", "why": ""}
        try:
            channel = self.look()
            self.remember()
            report |= {"sequence": channel.sequence, "wanted": channel.version}
            report |= self.obey(channel)
        except ChannelError as error:
            report["why"] = str(error)
        return report | {
            "gateway": self.settings.gateway,
            "at": int(time.time()),
            "version": self.known.version,
            # Of a kilobyte, and again each time: whoever looks later sees why, too.
            "book": self.known.book,
        }

    def obey(self, channel: Channel) -> dict[str, Any]:
        """Take the release if it is this gateway's turn; return what came of it."""
        files = channel.of(self.settings.gateway, _ARCHES[platform.machine()], _PYTHON)
        release = digest(files)
        state, why = decide(channel, self.known, self.settings.gateway, release)
        if state == "current":
            # Another release for other gateways may be the same for this one.
            self.known.version = channel.version
            self.remember()
        if state != "take":
            return {"state": state, "why": why}
        say(f"taking release {channel.version} ({release})")
        folder = self.fetch(files, release)
        code, tail = self.install(folder, release)
        outcome, self.known.book = self.outcome(release, code, tail)
        if outcome["state"] == "passed":
            self.known.version, self.known.release = channel.version, release
            self.known.failed.clear()
            self.tidy(files, folder)
        elif outcome["state"] in {"back", "stuck"}:
            self.known.failed[release] = channel.sequence
            self.known.reason = outcome["why"]
        self.remember()
        return outcome

    def fetch(self, files: dict[str, File], release: str) -> Path:
        """Bring what is not here yet, and lay the release out.

        Raises:
            ChannelError: a file is not as it was signed.
        """
        kept = self.settings.home / "files"
        kept.mkdir(parents=True, exist_ok=True)
        for name, file in files.items():
            path = kept / file.sha256
            if path.exists() and sha256(path) == file.sha256:
                continue
            part = path.with_suffix(".part")
            self.settings.store.download(key(name, file), part, file.size)
            if sha256(part) != file.sha256:
                part.unlink()
                message = f"{name} is not as it was signed; it was thrown away"
                raise ChannelError(message)
            part.rename(path)
        folder = self.settings.home / "releases" / release
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "artifacts").mkdir(parents=True)
        for name, file in files.items():
            if name.startswith("artifacts/"):
                (folder / name).hardlink_to(kept / file.sha256)
        mine = f"hosts/{self.settings.gateway}.yml"
        (folder / "settings.yml").hardlink_to(kept / files[mine].sha256)
        with tarfile.open(kept / files["project.tar"].sha256) as tar:
            tar.extractall(folder / "project", filter="data")
        return folder

    def install(self, folder: Path, release: str) -> tuple[int, list[str]]:
        """Run the release's own playbook here; return its status and its last lines."""
        home = self.settings.home
        (home / "books").mkdir(exist_ok=True)
        host = {"ansible_connection": "local", "ansible_python_interpreter": str(_SYSTEMS_PYTHON)}
        inventory = folder / "inventory.json"
        groups = {"gateway": {"hosts": {self.settings.host: host}}}
        inventory.write_text(json.dumps(groups), encoding="utf-8")
        extra = {
            "artifact_cache": str(folder / "artifacts"),
            "edge_rollout_name": release,
            "edge_rollout_folder": str(home / "books"),
            "edge_rollout_asking": "rollout_ask_store.yml",
        }
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            f"--inventory={inventory}",
            f"--vault-password-file={self.settings.settings_password_file}",
            f"--extra-vars=@{folder / 'settings.yml'}",
            f"--extra-vars={json.dumps(extra)}",
            "playbooks/pulled.yml",
        ]
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(folder / "project" / "ansible.cfg"),
            "ANSIBLE_HOME": str(home / "ansible"),
            # The home of root cannot be seen by the unit.
            "ANSIBLE_REMOTE_TMP": str(home / "ansible" / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
            "HOME": str(home),
            "PYTHONUNBUFFERED": "1",
        }
        tail: list[str] = []
        with subprocess.Popen(
            command,
            cwd=folder / "project",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            for line in process.stdout or ():
                say(line.rstrip())
                tail = [*tail, line.rstrip()][-_TAIL_LINES:]
        return process.returncode, tail

    def outcome(
        self, release: str, code: int, tail: list[str]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what came of a release, and the rollout's own book that says so."""
        path = self.settings.home / "books" / f"rollout-{release}.json"
        book = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        state = book.get("gateways", {}).get(self.settings.host, {}).get("state", "")
        why = "; ".join(reasons(book, self.settings.host))
        if state in {"back", "stuck"}:
            # Nobody answered, so nothing was measured: that says nothing of the release.
            if state == "back" and "Ask | " in why:
                state = "unmeasured"
            return {"state": state, "why": why}, book
        if state == "passed" and code == 0:
            return {"state": "passed", "why": ""}, book
        return {"state": "unready", "why": why or "\n".join(tail)}, book

    def tidy(self, files: dict[str, File], folder: Path) -> None:
        """Remove what belongs to other releases; a card need not hold it."""
        wanted = {file.sha256 for file in files.values()}
        for path in (self.settings.home / "files").iterdir():
            if path.name not in wanted:
                path.unlink()
        for path in folder.parent.iterdir():
            if path != folder:
                shutil.rmtree(path)


def main() -> int:
    """Run; return the exit status: 1 where a channel was refused or a release did not pass."""
    try:
        puller = Puller(load(Settings, "PULL"))
    except SettingsError as error:
        say(str(error))
        return 2
    checks = sys.argv[1:] == ["check"]
    try:
        if checks:
            channel = puller.look()
            say(f"release {channel.version}, sequence {channel.sequence}, is well signed")
            return 0
        report = puller.run()
        say(f"{report['state']}: {report['why'] or report['version']}")
        name = f"reports/{puller.settings.gateway}"
        puller.settings.store.put(name, json.dumps(report).encode())
    except StoreError as error:
        say(f"store: {error}")
        # An uplink may be away for days, and that is no fault of this host; it looks again.
        return checks and not isinstance(error, MissingError)
    except ChannelError as error:
        say(f"refused: {error}")
        return 1
    return report["state"] not in {"current", "waiting", "passed"}


if __name__ == "__main__":
    sys.exit(main())
