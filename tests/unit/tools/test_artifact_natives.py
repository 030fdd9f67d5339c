"""Programs for another processor, or for smaller pages, are found."""

import io
import struct
import sys
import zipfile
from pathlib import Path

import pytest

from tools.artifacts import MACHINES, native, wrong

ARM = MACHINES["arm64"]


def elf(machine: int, address: int = 0x10000, offset: int = 0x10000) -> bytes:
    """The head of a program with one segment to load."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQ", 3, machine, 1, 0, 64, 0)
    head += struct.pack("<IHHHHHH", 0, 64, 56, 1, 0, 0, 0)
    return head + struct.pack("<IIQQQQQQ", 1, 5, offset, address, address, 1, 1, 0x1000)


def packed(*parts: bytes, name: str = "lib{}.so") -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for number, part in enumerate(parts):
            archive.writestr(name.format(number), part)
    return data.getvalue()


def test_this_machines_own_python_is_read() -> None:
    found = native(Path(sys.executable).resolve().read_bytes())
    assert found is not None
    assert found.machine in MACHINES.values()
    assert native(b"#!/bin/sh\n") is None


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("bin/minio", elf(ARM), []),
        ("bin/minio", elf(MACHINES["amd64"]), ["bin/minio is not for arm64"]),
        ("a.whl", packed(b"text", elf(ARM)), []),
        ("a.whl", packed(elf(MACHINES["amd64"])), ["a.whl/lib0.so is not for arm64"]),
        # Laid out for 4 KiB: file and memory begin at different places of a page of 16.
        (
            "a.whl",
            packed(elf(ARM, address=0x11000)),
            ["a.whl/lib0.so does not load where pages have 16 KiB"],
        ),
        ("a.jar", packed(elf(MACHINES["amd64"]), elf(ARM), elf(8)), []),
        (
            "a.jar",
            packed(elf(MACHINES["amd64"])),
            ["a.jar has native libraries, but none for arm64"],
        ),
        ("a.jar", packed(b"classes"), []),
        ("a-linux-x86_64.jar", packed(elf(MACHINES["amd64"])), []),
        # A jar in a wheel is a jar.
        ("a.whl", packed(packed(elf(MACHINES["amd64"]), elf(ARM)), name="{}.jar"), []),
        ("a.jar", packed(elf(ARM, address=0x11000), name="native/android-aarch64/{}.so"), []),
    ],
)
def test_what_does_not_run_is_named(name: str, data: bytes, said: list[str]) -> None:
    assert [*wrong(name, data, "arm64")] == said


def test_pages_do_not_matter_elsewhere() -> None:
    assert not [*wrong("x", elf(MACHINES["amd64"], address=0x11000), "amd64")]
