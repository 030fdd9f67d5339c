"""Runs on a host, as root: where secrets lie open. Reads their names and values as JSON."""

import grp
import json
import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# What packages bring, what is not of this host, and what are no files.
SKIPPED = {"/proc", "/sys", "/dev", "/usr", "/boot", "/var/lib/apt", "/var/lib/dpkg"}
MOST_BYTES = 256 * 1024 * 1024
# A service alone is in the group of its name.
OWN_GROUPS = {user.pw_name for user in pwd.getpwall()}


def journal() -> Iterator[tuple[str, bytes]]:
    """What was said since the start; its files are compressed."""
    command = ["journalctl", "--boot", "--output=cat", "--no-pager"]
    yield "journal", subprocess.run(command, capture_output=True, check=True).stdout


def processes() -> Iterator[tuple[str, bytes]]:
    """Command lines, which all may read, and environments, which their user may."""
    for process in Path("/proc").glob("[0-9]*"):
        for part in ("cmdline", "environ"):
            try:
                name = (process / "comm").read_text().strip()
                yield f"{part} of a process {name}", (process / part).read_bytes()
            except OSError:
                continue


def is_open(path: Path, status: os.stat_result) -> bool:
    """Whether others than root and the service whose file it is may read it."""
    may, group_may = status.st_mode & stat.S_IROTH, status.st_mode & stat.S_IRGRP
    for parent in path.parents:
        above = parent.stat().st_mode
        may &= stat.S_IROTH if above & stat.S_IXOTH else 0
        group_may &= stat.S_IRGRP if above & (stat.S_IXGRP | stat.S_IXOTH) else 0
    return bool(may or (group_may and grp.getgrgid(status.st_gid).gr_name not in OWN_GROUPS))


def files() -> Iterator[tuple[str, bytes]]:
    """Files that others may read."""
    for folder, below, names in os.walk("/"):
        below[:] = [name for name in below if str(Path(folder, name)) not in SKIPPED]
        for name in names:
            path = Path(folder, name)
            try:
                status = path.lstat()
                if (
                    stat.S_ISREG(status.st_mode)
                    and status.st_size < MOST_BYTES
                    and is_open(path, status)
                ):
                    yield str(path), path.read_bytes()
            except OSError:
                continue


def main() -> None:
    """Print a list of [where, name of the secret]."""
    secrets = {name: value.encode() for name, value in json.load(sys.stdin).items()}
    found = {
        (where, name)
        for source in (journal, processes, files)
        for where, content in source()
        for name, value in secrets.items()
        if value in content
    }
    json.dump(sorted(found), sys.stdout)


if __name__ == "__main__":
    main()
