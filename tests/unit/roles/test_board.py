"""What a host is, from the files of its kernel, and what of it is refused."""

import runpy
from pathlib import Path
from typing import Any

import pytest

BOARD = runpy.run_path(
    str(Path(__file__).resolve().parents[3] / "roles" / "base" / "library" / "board.py")
)
PI_FEATURES = "Features\t: fp asimd evtstrm crc32 cpuid\n"


def kernel(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def pi(root: Path, **changes: Any) -> Any:
    """A Raspberry Pi 5 with an SD card, but for the changes."""
    kernel(
        root,
        {
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "proc/cpuinfo": f"processor\t: 0\n{PI_FEATURES}",
            "proc/meminfo": "MemTotal:        8245640 kB\nMemFree: 1 kB\n",
            "proc/self/mounts": "proc /proc proc rw 0 0\n/dev/mmcblk0p2 / ext4 rw 0 0\n",
            "sys/block/mmcblk0/device/type": "SD\n",
            **changes.pop("files", {}),
        },
    )
    given = {"architecture": "aarch64", "page_size": 16384, "throttled": "throttled=0x0\n"}
    return BOARD["find"](root, **{**given, **changes})


def problems(board: Any, needed: int = 3400, *, strict: bool = True) -> str:
    found: list[str] = BOARD["problems"](board, needed, refuse_low_voltage=strict)
    return "; ".join(found)


def test_a_raspberry_pi_5_will_do(tmp_path: Path) -> None:
    board = pi(tmp_path)
    assert problems(board) == ""
    assert board.flash
    assert BOARD["summary"](board) == (
        "Raspberry Pi 5 Model B Rev 1.0, aarch64, 8052 MiB, SD card, pages of 16 KiB, power: fine"
    )


@pytest.mark.parametrize(
    ("mount", "files", "disk", "flash"),
    [
        ("/dev/mmcblk0p2", {"sys/block/mmcblk0/device/type": "MMC"}, "eMMC", True),
        ("/dev/nvme0n1p2", {}, "SSD", False),
        ("/dev/sda2", {"sys/block/sda/queue/rotational": "0"}, "SSD", False),
        ("/dev/sda2", {"sys/block/sda/queue/rotational": "1"}, "disk", False),
        ("overlay", {}, "overlay", False),
    ],
)
def test_disks(
    tmp_path: Path, mount: str, files: dict[str, str], disk: str, *, flash: bool
) -> None:
    # What a host mounts later over its root is what counts.
    mounts = f"rootfs / rootfs rw 0 0\n{mount} / ext4 rw 0 0\n"
    board = pi(tmp_path, files={"proc/self/mounts": mounts, **files})
    assert (board.disk, board.flash) == (disk, flash)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "armv7l"}, "install the 64-bit one"),
        ({"page_size": 65536}, "pages of memory have 65536 bytes"),
        ({"throttled": "throttled=0x50005"}, "supply is too weak just now"),
        ({"files": {"proc/meminfo": "MemTotal: 1892000 kB\n"}}, "it has 1847 MiB of memory"),
        ({"files": {"proc/cpuinfo": "Features\t: fp\n"}}, "processor lacks asimd"),
        (
            {
                "architecture": "x86_64",
                "page_size": 4096,
                "files": {"proc/cpuinfo": "flags\t\t: fpu sse2 popcnt\n"},
            },
            "processor lacks sse4_2",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    found = BOARD["problems"](pi(tmp_path, **changes), 3400, refuse_low_voltage=True)
    assert len(found) == 1
    assert said in found[0]


def test_a_weak_supply_of_before_is_told_and_not_refused(tmp_path: Path) -> None:
    board = pi(tmp_path, throttled="throttled=0x50000")
    assert problems(board) == ""
    assert "since the last boot also low voltage, throttled" in BOARD["summary"](board)
    weak = pi(tmp_path, throttled="throttled=0x1")
    assert problems(weak, strict=False) == ""


def test_a_machine_that_tells_nothing_of_its_power(tmp_path: Path) -> None:
    assert "power" not in BOARD["summary"](pi(tmp_path, throttled=""))
