"""Fetches artifacts once, on the controller, into one cache; prints {name: archive} as JSON.

Every archive is a plain tar made the same way each time (sorted, no owner, no dates), so one
SHA-256 in the table (vars/main.yml) covers all it holds. Kinds: `maven` (jars), `go` (a program
built from a pinned module), `python` (wheels by a lock with hashes), `project` (this repository's
own wheel), `jar` (a Maven project of this repository). Progress goes to standard error.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>local</groupId><artifactId>{name}</artifactId>
<version>1</version><dependencies>{dependencies}</dependencies></project>"""
DEPENDENCY = (
    "<dependency><groupId>{}</groupId><artifactId>{}</artifactId>"
    "<version>{}</version>{}</dependency>"
)
ALONE = (
    "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
)
PLATFORMS = {"amd64": "x86_64", "arm64": "aarch64"}


class FetchError(Exception):
    """An artifact could not be had; the text says which, why and what to do."""


def say(text: str) -> None:
    """Prints a progress line at once."""
    print(f"artifact: {text}", file=sys.stderr, flush=True)


def run(name: str, command: list[str], cwd: Path, **variables: str) -> str:
    """Runs a command and says every 15 s that it still runs; returns its output."""
    if shutil.which(command[0]) is None:
        message = f"{name}: the program {command[0]} is not installed; `make bootstrap` installs it"
        raise FetchError(message)
    started = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=cwd, env={**os.environ, **variables}, stdout=output, stderr=output
        )
        while True:
            try:
                code = process.wait(timeout=15)
                break
            except subprocess.TimeoutExpired:
                say(f"{name}: {command[0]} still at work after {time.monotonic() - started:.0f} s")
        output.seek(0)
        text = output.read().decode(errors="replace")
    if code != 0:
        tail = "\n".join(text.splitlines()[-25:])
        message = f"{name}: `{' '.join(command)}` ended with {code}:\n{tail}"
        raise FetchError(message)
    return text


def fetch_maven(name: str, entry: dict[str, Any], _: argparse.Namespace, folder: Path) -> None:
    """Jars by coordinates; with `closure: true` all that they need at run time as well."""
    exclusions = "" if entry.get("closure") else ALONE
    dependencies = [DEPENDENCY.format(*c.split(":"), exclusions) for c in entry["coordinates"]]
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "pom.xml").write_text(
            POM.format(name=name, dependencies="".join(dependencies)), encoding="utf-8"
        )
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime"]
        run(name, ["mvn", "-B", "-q", *goal, f"-DoutputDirectory={folder / 'libs'}"], Path(work))


def fetch_go(name: str, entry: dict[str, Any], options: argparse.Namespace, folder: Path) -> None:
    """One static program, built from source with a pinned toolchain; about four minutes."""
    say(f"{name}: building from source, about 4 minutes the first time")
    module = f"{entry['package']}@{entry['version']}"
    variables = {
        "CGO_ENABLED": "0",
        "GOOS": "linux",
        "GOARCH": options.arch,
        "GOTOOLCHAIN": entry["toolchain"],
        "GOFLAGS": "-trimpath -buildvcs=false",
        "GOBIN": "",
        "GOPATH": f"{options.cache}/go",
    }
    run(name, ["go", "install", "-ldflags=-s -w", module], options.cache, **variables)
    built = sorted((options.cache / "go" / "bin").rglob(Path(entry["package"]).name))
    (folder / "bin").mkdir()
    for path in built:
        shutil.move(path, folder / "bin" / path.name)


def fetch_python(
    name: str, entry: dict[str, Any], options: argparse.Namespace, folder: Path
) -> None:
    """Wheels for the target's Python and processor, by the lock's hashes."""
    lock = (HERE / entry["lock"]).read_text(encoding="utf-8")
    # Each block of a lock is `name==version` with its hashes on continued lines.
    blocks = re.findall(r"(?m)^[A-Za-z0-9].*(?:\n .*)*", lock)
    from_source = tuple(f"{package}==" for package in entry.get("from_source", ()))
    built = [block for block in blocks if block.startswith(from_source)] if from_source else []
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory() as work:
        for chosen, command in (
            ([b for b in blocks if b not in built], ["download", *target(options)]),
            (built, ["wheel", "--no-deps", "--no-build-isolation", "--no-cache-dir"]),
        ):
            requirements = Path(work) / "requirements.txt"
            requirements.write_text("\n".join(chosen), encoding="utf-8")
            if chosen:
                hashes = ["--require-hashes", "--requirement", str(requirements)]
                where = "--dest" if command[0] == "download" else "--wheel-dir"
                run(name, [*pip, *command, where, str(folder), *hashes], Path(work))
    # Hosts install by name and version from this folder alone; the hashes were checked here.
    plain = "\n".join(block.split(" \\")[0] for block in blocks)
    (folder / "requirements.txt").write_text(plain + "\n", encoding="utf-8")


def target(options: argparse.Namespace) -> list[str]:
    """What pip needs to choose wheels for another machine than this one."""
    machine = PLATFORMS[options.arch]
    tags = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")
    platforms = [f"--platform={tag}_{machine}" for tag in tags]
    return ["--only-binary=:all:", f"--python-version={options.python}", "--no-deps", *platforms]


def project_files() -> list[Path]:
    """The files of this repository that make its wheel."""
    folders = ("bridge", "pull", "simulator", "spark_app", "sql", "telemetry")
    found = [ROOT / "pyproject.toml"]
    for folder in folders:
        found += sorted(p for p in (ROOT / folder).rglob("*") if p.suffix in {".py", ".sql"})
    return found


def project_version() -> str:
    """Version of the wheel: the project's own and a hash of its files, so a change is a release."""
    digest = hashlib.sha256()
    for path in project_files():
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    own = re.search(r'(?m)^version = "([^"]+)"', text)
    if own is None:
        message = f'{ROOT}/pyproject.toml has no line `version = "…"`; add it'
        raise FetchError(message)
    return f"{own[1]}+{digest.hexdigest()[:12]}"


def fetch_project(name: str, _: dict[str, Any], __: argparse.Namespace, folder: Path) -> None:
    """The wheel of this repository's own Python packages."""
    version = project_version()
    with tempfile.TemporaryDirectory() as work:
        for path in project_files():
            copy = Path(work) / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        settings = Path(work) / "pyproject.toml"
        own = version.partition("+")[0]
        text = settings.read_text(encoding="utf-8")
        settings.write_text(text.replace(f'version = "{own}"', f'version = "{version}"'))
        pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
        run(name, [*pip, f"--wheel-dir={folder}", work], Path(work), SOURCE_DATE_EPOCH="315532800")
    (folder / "requirements.txt").write_text(f"edge-telemetry=={version}\n", encoding="utf-8")


def jar_files(entry: dict[str, Any]) -> list[Path]:
    """The files that make a jar of this repository."""
    folder = ROOT / entry["folder"]
    return [folder / "pom.xml", *sorted((folder / "src" / "main").rglob("*.java"))]


def jar_version(entry: dict[str, Any]) -> str:
    """Hash of its files, so a change is a release."""
    digest = hashlib.sha256()
    for path in jar_files(entry):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def fetch_jar(name: str, entry: dict[str, Any], _: argparse.Namespace, folder: Path) -> None:
    """A jar of this repository, built by Maven; its tests are not run here."""
    with tempfile.TemporaryDirectory() as work:
        for path in jar_files(entry):
            copy = Path(work) / path.relative_to(ROOT / entry["folder"])
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        run(name, ["mvn", "-B", "-q", "package", "-Dmaven.test.skip=true"], Path(work))
        (folder / "libs").mkdir()
        for path in (Path(work) / "target").glob("*.jar"):
            shutil.move(path, folder / "libs" / path.name)


KINDS = {
    "maven": fetch_maven,
    "go": fetch_go,
    "python": fetch_python,
    "project": fetch_project,
    "jar": fetch_jar,
}


def version_of(entry: dict[str, Any], options: argparse.Namespace) -> str:
    """The version as it stands in the names of the archive and of the host's folder."""
    if entry["kind"] == "project":
        return project_version()
    if entry["kind"] == "jar":
        return jar_version(entry)
    if entry["kind"] == "python":
        lock = (HERE / entry["lock"]).read_bytes()
        return f"{hashlib.sha256(lock).hexdigest()[:12]}-py{options.python}"
    return str(entry["version"])


def pack(folder: Path, archive: Path) -> None:
    """Makes the tar of a folder; the same files give the same bytes, on any machine."""
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                data = path.read_bytes()
                member = tarfile.TarInfo(str(path.relative_to(folder)))
                member.size = len(data)
                member.mode = 0o755 if path.parent.name == "bin" else 0o644
                tar.addfile(member, io.BytesIO(data))


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(name: str, archive: Path, entry: dict[str, Any], arch: str) -> None:
    """Compares an archive with the table, for the kinds that have one sum.

    Raises:
        FetchError: the sums differ; the archive is removed.
    """
    if entry["kind"] not in {"maven", "go"}:
        return  # pip checks each wheel by the lock's hashes; the project is its own source
    expected = entry["sha256"].get(arch, entry["sha256"].get("any"))
    found = sha256(archive)
    if found != expected:
        rejected = archive.rename(archive.with_suffix(".rejected"))
        message = (
            f"{name}: {rejected} has SHA-256 {found}, the table says {expected}. Either the "
            "download was changed on its way, or the version in roles/artifact/vars/main.yml was: "
            "compare its files with a copy you trust, then correct the table."
        )
        raise FetchError(message)


def fetch(name: str, entry: dict[str, Any], options: argparse.Namespace) -> dict[str, str]:
    """Returns version and archive of one artifact, from the cache or fetched now."""
    version = version_of(entry, options)
    any_arch = entry["kind"] in {"maven", "project", "jar"}
    arch = "any" if any_arch else options.arch
    archive = options.cache / f"{name}-{version}-{arch}.tar"
    if not archive.exists():
        started = time.monotonic()
        say(f"{name} {version}: fetching")
        with tempfile.TemporaryDirectory(dir=options.cache) as work:
            folder = Path(work) / "content"
            folder.mkdir()
            KINDS[entry["kind"]](name, entry, options, folder)
            part = archive.with_suffix(".part")
            pack(folder, part)
        check(name, part, entry, options.arch)
        part.rename(archive)
        size = archive.stat().st_size / 1e6
        say(f"{name} {version}: {size:.0f} MB in {time.monotonic() - started:.0f} s")
    return {"version": version, "archive": str(archive)}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="fetch artifacts into the controller's cache")
    parser.add_argument("names", nargs="+", help="names in the artifact table")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--arch", choices=sorted(PLATFORMS), default="amd64")
    parser.add_argument("--python", default="3.13", help="the hosts' Python, for wheels")
    options = parser.parse_args()
    table = yaml.safe_load((HERE.parent / "vars" / "main.yml").read_text(encoding="utf-8"))
    options.cache = options.cache.expanduser()
    options.cache.mkdir(parents=True, exist_ok=True)
    with (options.cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            done = {n: fetch(n, table["artifact_table"][n], options) for n in options.names}
        except KeyError as error:
            sys.exit(
                f"artifact: no artifact {error} in the table; it has {[*table['artifact_table']]}"
            )
        except FetchError as error:
            sys.exit(f"artifact: {error}")
    print(json.dumps(done))


if __name__ == "__main__":
    main()
