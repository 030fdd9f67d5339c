"""One signed archive with all that hosts of one processor need, for sites without any network.

`make` packs this project, the artifacts and Debian's packages with all that those need; `unpack`
checks an archive's signature and every file, and lays it out for playbooks/offline.yml. Signatures
are OpenSSH's (`ssh-keygen -Y`): docs/decisions/0020-bundle.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import runpy
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from pull.channel import sha256
from pull.signature import SIGNER
from tools.artifacts import fetch
from tools.sbom import HOSTS

ROOT = Path(__file__).resolve().parent.parent
# A signature for another purpose does not count.
NAMESPACE = "edge-telemetry-bundle"
PYTHON = {"trixie": "3.13", "forky": "3.14"}
APT = """Dir "{root}";
Dir::State::status "{root}/status";
Dir::Etc::Parts "/etc/apt/apt.conf.d";
APT::Architecture "{arch}";
APT::Architectures {{"{arch}";}};
APT::Install-Recommends "false";
APT::Sandbox::User "root";
"""
SOURCES = """Types: deb
URIs: {mirror}
Suites: {release}{updates}
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


class BundleError(Exception):
    """An archive could not be made or must not be used; the text says why and what to do."""


def say(text: str) -> None:
    """Prints a progress line at once."""
    print(f"bundle: {text}", file=sys.stderr, flush=True)


def run(command: list[str], what: str, **options: Any) -> str:  # noqa: ANN401 - subprocess's
    """Runs a command and returns its output; what it was for is part of the error."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, check=False, capture_output=True, text=True, **options
    )
    if done.returncode:
        message = f"{what}: `{' '.join(command)}` ended with {done.returncode}:\n{done.stderr}"
        raise BundleError(message)
    return done.stdout


def mirror() -> str:
    """Where this machine has Debian's packages from."""
    wanted = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Label: Debian"]
    found = run(wanted, "asking apt for its mirror").split()
    if not found:
        message = (
            "this machine's apt sources have no Debian: run `apt-get update`, or give --mirror"
        )
        raise BundleError(message)
    return found[0]


def debian(packages: list[str], release: str, arch: str, source: str, to: Path) -> None:
    """Packages of Debian and all that they need, as an apt repository in one tar.

    Resolved as for a host that has nothing, so it is whole whatever a host has. Nothing is
    unpacked: the processor may be another than this machine's.
    """
    with tempfile.TemporaryDirectory() as work:
        root = Path(work)
        for folder in ("etc/apt/sources.list.d", "etc/apt/preferences.d", "etc/apt/apt.conf.d"):
            (root / folder).mkdir(parents=True)
        (root / "var/lib/apt/lists/partial").mkdir(parents=True)
        (root / "var/cache/apt/archives/partial").mkdir(parents=True)
        (root / "status").touch()
        (root / "apt.conf").write_text(APT.format(root=root, arch=arch))
        # The next release has no updates of its own.
        updates = "" if release == "forky" else f" {release}-updates"
        text = SOURCES.format(mirror=source, release=release, updates=updates)
        (root / "etc/apt/sources.list.d/debian.sources").write_text(text)
        environment = {**os.environ, "APT_CONFIG": str(root / "apt.conf")}
        run(["apt-get", "update"], f"package lists of {release}", env=environment)
        install = ["apt-get", "install", "--yes", "--download-only", *packages]
        run(install, f"packages for {release} on {arch}", env=environment)
        debs = root / "var/cache/apt/archives"
        shutil.rmtree(debs / "partial")
        (debs / "lock").unlink(missing_ok=True)
        index = run(["dpkg-scanpackages", "--multiversion", "."], "index of packages", cwd=debs)
        (debs / "Packages").write_text(index)
        say(f"{release}: {len([*debs.glob('*.deb')])} packages")
        to.parent.mkdir(exist_ok=True)
        runpy.run_path(str(ROOT / "roles/artifact/files/fetch.py"))["pack"](debs, to)


def project(to: Path) -> None:
    """The files of this project that git knows, as they are now."""
    listed = run(["git", "ls-files", "-z"], "the project's files", cwd=ROOT).split("\0")
    with tarfile.open(to, "w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted(filter(None, listed)):
            member = tar.gettarinfo(ROOT / name, name)
            member.uid = member.gid = member.mtime = 0
            member.uname = member.gname = "root"
            with (ROOT / name).open("rb") as file:
                tar.addfile(member, file)


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below a folder by its name, but for the manifest and its signature."""
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    return {name: sha256(folder / name) for name in names if not name.startswith("manifest.")}


def seal(folder: Path, about: dict[str, Any], key: Path) -> str:
    """Writes and signs the manifest of a folder; returns the version, made of all that it has."""
    files = contents(folder)
    version = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:12]
    manifest = {"version": version, **about, "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    sign = ["ssh-keygen", "-Y", "sign", "-f", str(key), "-n", NAMESPACE]
    run([*sign, str(folder / "manifest.json")], "signing")
    (folder / "manifest.json.sig").rename(folder / "manifest.sig")
    return version


def make(options: argparse.Namespace) -> Path:
    """Makes the archive and returns its path."""
    sets: dict[str, dict[str, Any]] = json.loads(options.sets)
    options.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.to) as work:
        folder = Path(work)
        project(folder / "project.tar")
        (folder / "artifacts").mkdir()
        for release, wanted in sets.items():
            names = sorted({name for kind in wanted["kinds"] for name in HOSTS[kind]})
            for found in fetch(names, options.arch, PYTHON[release]).values():
                shutil.copy(found["archive"], folder / "artifacts")
            source = options.mirror or mirror()
            debian(wanted["packages"], release, options.arch, source, folder / f"apt/{release}.tar")
        version = seal(folder, {"arch": options.arch, "sets": sets}, options.key)
        path = Path(options.to / f"edge-telemetry-{version}-{options.arch}.tar")
        with tarfile.open(path.with_suffix(".part"), "w") as tar:
            for name in sorted(p.name for p in folder.iterdir()):
                tar.add(folder / name, name)
    return path.with_suffix(".part").rename(path)


def verify(folder: Path, signers: Path) -> dict[str, Any]:
    """Checks signature and files, and returns the manifest.

    Raises:
        BundleError: nobody in signers signed it, or a file is missing, changed or not named.
    """
    check = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", SIGNER, "-n", NAMESPACE]
    with (folder / "manifest.json").open("rb") as manifest:
        run([*check, "-s", str(folder / "manifest.sig")], "signature", stdin=manifest)
    said: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    found = contents(folder)
    names = {*said["files"], *found}
    if changed := sorted(n for n in names if said["files"].get(n) != found.get(n)):
        message = f"not as they were signed: {', '.join(changed)}; fetch the archive anew"
        raise BundleError(message)
    return said


def unpack(options: argparse.Namespace) -> Path:
    """Checks an archive and unpacks it to a folder of its version, which is returned."""
    options.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.to) as work:
        folder = Path(work) / "bundle"
        try:
            with tarfile.open(options.archive) as tar:
                tar.extractall(folder, filter="data")
            manifest = verify(folder, options.signers)
        except (tarfile.TarError, OSError, ValueError) as error:
            message = f"{options.archive} is no whole archive ({error}); fetch it anew"
            raise BundleError(message) from error
        with tarfile.open(folder / "project.tar") as tar:
            tar.extractall(folder / "project", filter="data")
        target = Path(options.to / manifest["version"])
        if not target.exists():
            folder.rename(target)
    return target


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="make or unpack an archive for an offline site")
    commands = parser.add_subparsers(required=True)
    maker = commands.add_parser("make", help="pack project, artifacts and Debian's packages")
    maker.add_argument("--arch", choices=("amd64", "arm64"), required=True)
    maker.add_argument("--sets", required=True, help="JSON: {release: {kinds: […], packages: […]}}")
    maker.add_argument("--key", type=Path, required=True, help="private SSH key that signs")
    maker.add_argument("--to", type=Path, required=True, help="folder for the archive")
    maker.add_argument("--mirror", default="", help="Debian mirror; this machine's own without")
    maker.set_defaults(work=make)
    taker = commands.add_parser("unpack", help="check and unpack")
    taker.add_argument("archive", type=Path)
    taker.add_argument("--signers", type=Path, required=True, help="`edge-telemetry KEY` per line")
    taker.add_argument("--to", type=Path, required=True, help="folder for the unpacked versions")
    taker.set_defaults(work=unpack)
    options = parser.parse_args()
    try:
        print(options.work(options))
    except BundleError as error:
        sys.exit(f"bundle: {error}")


if __name__ == "__main__":
    main()
