"""Fetches all artifacts for a processor and looks into them: `python -m tools.artifacts`.

Each program and native library must be for that processor, and a jar that brings some for one
processor must bring some for the other. On arm64 they must also be laid out for pages of 16 KiB, as
the kernel of a Raspberry Pi 5 has them. Ends with status 1 and a line for each file that is not.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.sbom import ARTIFACT, artifact_table

# e_machine of each processor.
MACHINES = {"amd64": 62, "arm64": 183}
LARGEST_PAGE = 16384
# Jars of one processor by their name, which have a sibling, and one for shells that nothing starts.
SPARED = re.compile(r"-linux-(x86_64|riscv64)\.jar$|/jline-2[.\d]+\.jar$")
_LOAD = 1


@dataclass(frozen=True)
class Native:
    """A 64-bit ELF file: its processor, and whether pages of 16 KiB can hold its segments."""

    machine: int
    fits_large_pages: bool


def native(data: bytes) -> Native | None:
    """What an ELF file says of itself; None for other files."""
    if data[:6] != b"\x7fELF\x02\x01":
        return None
    (machine,) = struct.unpack_from("<H", data, 18)
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    fits = True
    for number in range(count):
        kind, _, offset, address = struct.unpack_from("<IIQQ", data, table + number * size)
        # The loader maps whole pages: file and memory must begin at the same place in one.
        fits = fits and (kind != _LOAD or (address - offset) % LARGEST_PAGE == 0)
    return Native(machine, fits)


def files(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """The file itself, or those in it if it is a wheel or jar, and so on inwards."""
    if name.endswith((".whl", ".jar")):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                yield from files(f"{name}/{member}", archive.read(member))
    else:
        yield name, data


def wrong(name: str, data: bytes, arch: str) -> Iterator[str]:
    """What is wrong for a processor in one file of an artifact, or in those that it holds."""
    jars: dict[str, set[int]] = {}
    for path, content in files(name, data):
        elf = native(content)
        # What jars bring for telephones is never loaded here.
        if elf is None or "/android" in path:
            continue
        jar, is_in_jar, _ = path.rpartition(".jar/")
        if is_in_jar:
            # It chooses at run time among what it has.
            jars.setdefault(f"{jar}.jar", set()).add(elf.machine)
        elif elf.machine != MACHINES[arch]:
            yield f"{path} is not for {arch}"
        if elf == Native(MACHINES["arm64"], fits_large_pages=False) and arch == "arm64":
            yield f"{path} does not load where pages have 16 KiB"
    for jar, machines in jars.items():
        ours = machines & {*MACHINES.values()}
        if ours and MACHINES[arch] not in ours and not SPARED.search(jar):
            yield f"{jar} has native libraries, but none for {arch}"


def fetch(names: list[str], arch: str, python: str) -> dict[str, dict[str, str]]:
    """Version and archive of each artifact, through the role's own program."""
    program = [sys.executable, str(ARTIFACT / "files" / "fetch.py")]
    cache = Path("~/.cache/edge-telemetry/artifacts").expanduser()
    options = [f"--cache={cache}", f"--arch={arch}", f"--python={python}"]
    done = subprocess.run([*program, *options, *names], check=True, stdout=subprocess.PIPE)
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)  # noqa: S101 - of a program of ours
    return answer


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="fetch artifacts for a processor and check them")
    parser.add_argument("names", nargs="*", help="names in the artifact table; all without")
    parser.add_argument("--arch", choices=sorted(MACHINES), default="arm64")
    parser.add_argument("--python", default="3.13", help="the hosts' Python, for wheels")
    options = parser.parse_args()
    failed = False
    names = options.names or [*artifact_table()]
    for name, found in fetch(names, options.arch, options.python).items():
        faults: list[str] = []
        natives, members = 0, 0
        with tarfile.open(found["archive"]) as tar:
            for member in tar:
                data = tar.extractfile(member)
                content = data.read() if data else b""
                members += 1
                natives += sum(native(part) is not None for _, part in files(member.name, content))
                faults += wrong(member.name, content, options.arch)
        print(f"{name} {found['version']}: {members} files, {natives} native, {len(faults)} wrong")
        for fault in faults:
            print(f"  {fault}")
        failed = failed or bool(faults)
    sys.exit(failed)


if __name__ == "__main__":
    main()
