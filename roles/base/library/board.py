"""Ansible module: what kind of machine a host is, and what of it the system cannot live with."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: board
short_description: Model, processor, memory, disk and power of a host
description:
  - Reads, changes nothing. What does not fit is named in C(problems), a sentence each.
options:
  memory_needed_mb:
    description: Memory in MiB that the host must have.
    type: int
    default: 0
  refuse_low_voltage:
    description: Whether a supply that is too weak just now is a problem, or only told.
    type: bool
    default: true
author: The edge-telemetry authors
"""
EXAMPLES = """
- board:
    memory_needed_mb: 3500
  register: base_board
"""
RETURN = """
summary:
  description: The machine in one line.
  type: str
  returned: always
problems:
  description: What it cannot be used with, a sentence each.
  type: list
  returned: always
flash:
  description: Whether the system is on an SD card or eMMC, which wear out by writing.
  type: bool
  returned: always
"""
# What the wheels of pyarrow and numpy are compiled for, by their manylinux baselines.
INSTRUCTIONS = {"x86_64": {"sse4_2", "popcnt"}, "aarch64": {"asimd"}}
# Sizes for which every native library of the artifacts is laid out; tools/artifacts.py holds it.
PAGE_SIZES = {4096, 16384}
# Bits of `vcgencmd get_throttled`; the same 16 bits higher: since the last boot.
POWER = {0: "low voltage", 1: "clock capped", 2: "throttled", 3: "too warm"}


@dataclass(frozen=True)
class Board:
    """What was found on a host."""

    model: str
    architecture: str
    instructions: frozenset[str]
    memory_mb: int
    page_size: int
    disk: str
    flash: bool
    power: int | None

    def power_words(self, shift: int) -> list[str]:
        """What the firmware says of the supply: now (shift 0), or since the last boot (16)."""
        bits = self.power or 0
        return [word for bit, word in POWER.items() if bits >> (bit + shift) & 1]


def read(path: Path) -> str:
    """A small file of the kernel's, or nothing where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def disk_of(root: Path) -> tuple[str, bool]:
    """What kind of disk the root file system is on, and whether that is a card or eMMC."""
    mounts = [line.split() for line in read(root / "proc/self/mounts").splitlines()]
    device = next((m[0] for m in reversed(mounts) if len(m) > 1 and m[1] == "/"), "")
    if card := re.match(r"/dev/(mmcblk\d+)", device):
        kind = read(root / "sys/block" / card[1] / "device/type")
        return {"SD": "SD card", "MMC": "eMMC"}.get(kind, "SD card or eMMC"), True
    if device.startswith("/dev/nvme"):
        return "SSD", False
    if disk := re.match(r"/dev/((?:sd|vd)[a-z]+)", device):
        turns = read(root / "sys/block" / disk[1] / "queue/rotational") == "1"
        return "disk" if turns else "SSD", False
    return device or "unknown disk", False


def find(root: Path, architecture: str, page_size: int, throttled: str) -> Board:
    """The board whose kernel's files are below root.

    Args:
        root: `/`, or a folder with the same files.
        architecture: as `uname -m` says it.
        page_size: bytes of a page of memory.
        throttled: what `vcgencmd get_throttled` printed; empty where there is no such command.
    """
    cpu = read(root / "proc/cpuinfo")
    words = re.search(r"(?m)^(?:flags|Features)\s*:(.*)$", cpu)
    memory = re.search(r"MemTotal:\s+(\d+) kB", read(root / "proc/meminfo"))
    power = re.search(r"throttled=(0x[0-9a-fA-F]+)", throttled)
    product = read(root / "sys/class/dmi/id/product_name")
    disk, flash = disk_of(root)
    return Board(
        model=read(root / "proc/device-tree/model") or product or "unknown model",
        architecture=architecture,
        instructions=frozenset(words[1].split() if words else ()),
        memory_mb=int(memory[1]) // 1024 if memory else 0,
        page_size=page_size,
        disk=disk,
        flash=flash,
        power=int(power[1], 16) if power else None,
    )


def problems(board: Board, memory_needed_mb: int, *, refuse_low_voltage: bool) -> list[str]:
    """What does not fit, each with what to do about it."""
    found = []
    if board.architecture not in INSTRUCTIONS:
        found.append(
            f"it runs a system for {board.architecture}; install the 64-bit one "
            "(Raspberry Pi OS has it for every model from the 3 on)"
        )
    elif missing := INSTRUCTIONS[board.architecture] - board.instructions:
        found.append(
            f"its processor lacks {', '.join(sorted(missing))}; of a virtual machine, "
            "let it have the processor of its host (`host` instead of `kvm64`)"
        )
    if board.page_size not in PAGE_SIZES:
        found.append(
            f"its pages of memory have {board.page_size} bytes; boot a kernel with 4 or 16 KiB"
        )
    if board.memory_mb < memory_needed_mb:
        found.append(
            f"it has {board.memory_mb} MiB of memory, and what the inventory puts on it needs "
            f"{memory_needed_mb}; below that a host can be a gateway only"
        )
    if refuse_low_voltage and POWER[0] in board.power_words(0):
        found.append(
            "its supply is too weak just now, which ruins SD cards; use the model's own supply "
            "and a short cable, or set base_refuse_low_voltage: false"
        )
    return found


def summary(board: Board) -> str:
    """The board in one line."""
    parts = [board.model, board.architecture, f"{board.memory_mb} MiB", board.disk]
    parts.append(f"pages of {board.page_size // 1024} KiB")
    if board.power is not None:
        parts.append(f"power: {', '.join(board.power_words(0)) or 'fine'}")
        if since := board.power_words(16):
            parts.append(f"since the last boot also {', '.join(since)}")
    return ", ".join(parts)


def main() -> None:
    """The module."""
    options: dict[str, Any] = {
        "memory_needed_mb": {"type": "int", "default": 0},
        "refuse_low_voltage": {"type": "bool", "default": True},
    }
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    asked = ""
    if command := module.get_bin_path("vcgencmd"):
        _, asked, _ = module.run_command([command, "get_throttled"])
    board = find(Path("/"), os.uname().machine, os.sysconf("SC_PAGE_SIZE"), asked)
    found = problems(
        board,
        module.params["memory_needed_mb"],
        refuse_low_voltage=module.params["refuse_low_voltage"],
    )
    facts = {**asdict(board), "instructions": sorted(board.instructions)}
    module.exit_json(changed=False, summary=summary(board), problems=found, **facts)


if __name__ == "__main__":
    main()
