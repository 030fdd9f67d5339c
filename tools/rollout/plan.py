"""Which gateways a rollout goes to, in which order and in which waves; and its name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What makes a gateway, besides the inventory.
_FOLDERS = ("bridge", "telemetry", "roles", "playbooks")
_SUFFIXES = frozenset({".py", ".yml", ".yaml", ".j2", ".txt", ".toml", ".sql"})


def name(inventories: Iterable[str]) -> str:
    """Return a name for what the gateways are to become: whatever changes makes another name."""
    files = [ROOT / "pyproject.toml"]
    for place in [*(ROOT / folder for folder in _FOLDERS), *map(Path, inventories)]:
        files += [place] if place.is_file() else sorted(place.rglob("*"))
    digest = hashlib.sha256()
    for path in files:
        if path.is_file() and path.suffix in _SUFFIXES and "molecule" not in path.parts:
            digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def order(gateways: Iterable[str], canaries: Sequence[str]) -> list[str]:
    """Return the gateways with the canaries first, each part in its given order."""
    return sorted(
        gateways, key=lambda gateway: canaries.index(gateway) if gateway in canaries else 10**9
    )


def waves(sizes: Sequence[int | str], left: int, passed: int) -> list[int]:
    """Return the sizes of the waves that are left.

    Args:
        sizes: of all waves as `serial` has them, numbers or such as "10%" of all gateways; the
            last one stands for all further ones.
        left: gateways that are reached and have not passed.
        passed: gateways that have passed in an earlier run; their waves are done.
    """
    total = left + passed
    found: list[int] = []
    done = 0
    step = 0
    while done < total:
        size = sizes[min(step, len(sizes) - 1)]
        count = int(total * float(size[:-1]) / 100) if isinstance(size, str) else size
        end = min(done + max(count, 1), total)
        # A wave that an earlier run left in the middle goes on with the rest of it.
        if end > max(done, passed):
            found.append(end - max(done, passed))
        done = end
        step += 1
    return found
