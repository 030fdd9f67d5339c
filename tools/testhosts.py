"""Test hosts without Docker: Debian with systemd in podman, on one machine, as root.

`setup` installs what is missing and builds the images once, `run -- COMMAND` runs a command that
may talk to podman, `down` removes hosts and network of one group. How it works and why:
docs/decisions/0002-test-hosts.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATE = Path("/run/edge-telemetry")
# Lets Ansible in as root, over SSH as on any host; lives as long as the hosts at most.
KEY = STATE / "key"
# Where podman notes which host has which address.
ADDRESSES = Path("/run/containers/networks/ipam.db")
# Podman's mark that the machine was not started anew since its last command.
ALIVE = Path("/run/libpod/alive")
PACKAGES = (
    *("podman", "crun", "conmon", "netavark", "aardvark-dns", "fuse-overlayfs"),
    *("iptables", "nftables", "mmdebstrap", "openssh-client"),
)
IMAGE_PACKAGES = (
    "systemd,systemd-sysv,dbus,openssh-server,python3,python3-apt,sudo,iproute2,ca-certificates,"
    "procps,curl"
)
# Debian's testing suite was last signed with an end date that has passed; test hosts only.
IMAGES: dict[str, list[str]] = {
    "trixie": [],
    "forky": ["--aptopt=Acquire::Check-Valid-Until false"],
}
HOLDER = """
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /sys/fs/cgroup/hosts
echo $$ > /sys/fs/cgroup/hosts/cgroup.procs
exec sleep infinity
"""


def say(text: str) -> None:
    """Prints a progress line at once."""
    print(f"testhosts: {text}", flush=True)


def is_cgroup_v2() -> bool:
    """Whether the machine itself mounts cgroup v2, which systemd in a container needs."""
    return Path("/sys/fs/cgroup/cgroup.controllers").exists()


def holder_pid() -> int | None:
    """The process that keeps the private mount namespace alive, if it still runs."""
    try:
        pid = int((STATE / "holder.pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if command.startswith(b"sleep\0infinity") else None


def hosts_run() -> bool:
    """Whether any container lives here: each has a conmon, whatever podman believes."""
    command = ["pgrep", "--exact", "--runstates=DRS", "conmon"]
    return subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0


def start_holder() -> int:
    """Starts a process with a mount namespace in which /sys/fs/cgroup is cgroup v2."""
    # Where /run outlives a restart of the machine, podman believes that its hosts still run, and
    # every command fails on their namespaces that are gone.
    if not hosts_run():
        ALIVE.unlink(missing_ok=True)
    STATE.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        ["unshare", "--mount", "--cgroup", "sh", "-ec", HOLDER],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    (STATE / "holder.pid").write_text(f"{process.pid}\n")
    deadline = time.monotonic() + 10
    while holder_pid() != process.pid:
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(
                "testhosts: cannot mount cgroup2 in a private namespace; "
                "run as root on a kernel with cgroup v2"
            )
        time.sleep(0.05)
    return process.pid


def sweep() -> None:
    """Removes what hosts that ended unasked left in the kernel: podman cannot, once they are dead.

    A bridge without members serves nobody, catches the traffic of new hosts with the same
    addresses, and keeps a network with these from being made.
    """
    listed = subprocess.run(["ip", "-json", "link"], check=True, capture_output=True, text=True)
    links = json.loads(listed.stdout)
    # The members of dead hosts stay while aardvark-dns holds the namespace of their mounts.
    used = {link.get("master") for link in links} if hosts_run() else set()
    for link in links:
        name = link["ifname"]
        if name.startswith("podman") and name not in used:
            say(f"removing {name}, left by hosts that are gone")
            subprocess.run(["ip", "link", "delete", name], check=True)
    if not podman("ps", "--all", "--quiet").stdout.strip():
        ADDRESSES.unlink(missing_ok=True)


def wrap(command: list[str]) -> list[str]:
    """The command as it must be started so that podman finds cgroup v2 and its containers."""
    if is_cgroup_v2():
        return command
    pid = holder_pid() or start_holder()
    return ["nsenter", "--target", str(pid), "--mount", "--cgroup", "--wd=.", "--", *command]


def environment() -> dict[str, str]:
    """The caller's environment, with the settings of podman and Java for test hosts."""
    # Java 17 looks for limits in a cgroup that is not there in the private namespace.
    java = f"{os.environ.get('JAVA_TOOL_OPTIONS', '')} -XX:-UseContainerSupport".strip()
    return {
        **os.environ,
        "CONTAINERS_CONF": str(ROOT / "tools" / "containers.conf"),
        "JAVA_TOOL_OPTIONS": java,
    }


def podman(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs podman where the test hosts are and returns what it printed."""
    return subprocess.run(
        wrap(["podman", *arguments]), env=environment(), check=check, capture_output=True, text=True
    )


def setup() -> None:
    """Installs the missing packages, sweeps, makes the key, builds the missing images."""
    query = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *PACKAGES]
    known = subprocess.run(query, check=False, capture_output=True, text=True).stdout.splitlines()
    missing = [name for name in PACKAGES if f"{name} installed" not in known]
    if missing:
        say(f"installing {' '.join(missing)}")
        apt = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=apt)
        install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends"]
        subprocess.run([*install, *missing], check=True, env=apt, stdout=subprocess.DEVNULL)
    sweep()
    if not KEY.exists():
        STATE.mkdir(parents=True, exist_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(KEY)], check=True)
    for suite, options in IMAGES.items():
        label = (
            "image",
            "inspect",
            "--format={{.Labels.packages}}",
            f"localhost/edge-host:{suite}",
        )
        if podman(*label, check=False).stdout.strip() != IMAGE_PACKAGES:
            build_image(suite, options)


def build_image(suite: str, options: list[str]) -> None:
    """Makes a Debian root file system with systemd and imports it as an image."""
    say(f"building the image edge-host:{suite} (about 20 s)")
    STATE.mkdir(parents=True, exist_ok=True)
    archive = STATE / f"{suite}.tar"
    started = time.monotonic()
    subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={IMAGE_PACKAGES}"),
            *options,
            suite,
            str(archive),
        ],
        check=True,
    )
    label = f"--change=LABEL packages={IMAGE_PACKAGES}"
    podman("import", label, str(archive), f"edge-host:{suite}")
    archive.unlink()
    say(f"built edge-host:{suite} in {time.monotonic() - started:.0f} s")


def down(group: str) -> None:
    """Removes the hosts and the network of a group; with the last host goes the namespace."""
    if shutil.which("podman") is None:
        return
    names = podman("ps", "--all", "--filter", f"label=edge-group={group}", "--format={{.Names}}")
    for name in names.stdout.split():
        say(f"removing {name}")
        podman("rm", "--force", "--time=0", "--volumes", name)
    podman("network", "rm", "--force", f"edge-{group}", check=False)
    sweep()
    left = podman("ps", "--all", "--quiet").stdout.split()
    pid = holder_pid()
    if not left and pid is not None:
        os.kill(pid, signal.SIGTERM)
        (STATE / "holder.pid").unlink()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup", help="install what is missing, build the images once")
    run = commands.add_parser("run", help="run a command that may talk to podman")
    run.add_argument("words", nargs="+", metavar="COMMAND")
    remove = commands.add_parser("down", help="remove the hosts of a group")
    remove.add_argument("group")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("testhosts: needs root, for containers with systemd; run it with sudo")
    if arguments.command == "setup":
        setup()
    elif arguments.command == "down":
        down(arguments.group)
    else:
        command = wrap(arguments.words)
        os.execvpe(command[0], command, environment())


if __name__ == "__main__":
    main()
