"""What is done to the hosts: shell commands that break something, and those that mend it."""

from __future__ import annotations

from dataclasses import dataclass

# Units, by the host that runs them.
UNITS = {
    "mosquitto": "gw1",
    "mqtt-bridge": "gw1",
    "kafka": "core1",
    "streaming-job": "core1",
    "spark-worker": "core1",
    "spark-master": "core1",
    "minio": "core1",
    "postgresql@18-main": "db1",
}
# Where each store keeps its data.
STORES = {
    "mqtt-bridge": "/var/lib/mqtt-bridge",
    "mosquitto": "/var/lib/mosquitto",
    "kafka": "/var/lib/kafka",
    "minio": "/var/lib/minio",
    "postgresql@18-main": "/var/lib/postgresql/18/main",
}
# nftables rules on the gateway, for packets to and from the core.
NETWORKS = {
    "network cut": "{way} drop",
    "network loses 5 %": "{way} numgen random mod 100 < 5 drop",
}
ONE_WAY = "network lets nothing out"


@dataclass(frozen=True)
class Fault:
    """One way to break the system.

    Attributes:
        kind: its name in the report.
        host: where the commands run.
        breaks: breaks it.
        seconds: how long it stays broken.
        mends: mends it; empty where the system has to by itself.
    """

    kind: str
    host: str
    breaks: str
    seconds: float = 0.0
    mends: str = ""


def kills() -> list[Fault]:
    """SIGKILL for each service, and for all processes of each host at once."""
    of_units = [
        Fault(f"kill {unit}", host, f"systemctl kill --signal=KILL {unit}")
        for unit, host in UNITS.items()
    ]
    hosts = [
        Fault(f"kill all on {host}", host, "kill -KILL -1") for host in ("gw1", "core1", "db1")
    ]
    return of_units + hosts


def stops() -> list[Fault]:
    """SIGSTOP: a service that hangs, its connections open."""
    return [
        Fault(
            f"stop {unit}",
            UNITS[unit],
            f"systemctl kill --signal=STOP {unit}",
            15,
            f"systemctl kill --signal=CONT {unit}",
        )
        for unit in ("mosquitto", "mqtt-bridge", "kafka", "minio", "postgresql@18-main")
    ]


def networks(core: str) -> list[Fault]:
    """The way between the gateway and the core's address."""
    both = [f"ip daddr {core}", f"ip saddr {core}"]
    faults = [
        Fault(kind, "gw1", _nft([rule.format(way=way) for way in both]), 20, _NFT_OFF)
        for kind, rule in NETWORKS.items()
    ]
    return [*faults, Fault(ONE_WAY, "gw1", _nft([f"{both[0]} drop"]), 20, _NFT_OFF)]


def full_disks() -> list[Fault]:
    """Each store on a small file system that fills up.

    The store moves to it and back, which is an orderly restart more.
    """
    return [
        Fault(f"disk full under {unit}", UNITS[unit], _fill(unit, path), 20, _empty(unit, path))
        for unit, path in STORES.items()
    ]


_NFT_OFF = "nft delete table inet chaos"


def _nft(rules: list[str]) -> str:
    commands = ["nft add table inet chaos"]
    for hook in ("input", "output"):
        commands.append(
            f"nft 'add chain inet chaos {hook} {{ type filter hook {hook} priority 0; }}'"
        )
        commands += [f"nft 'add rule inet chaos {hook} {rule}'" for rule in rules]
    return " && ".join(commands)


def _fill(unit: str, path: str) -> str:
    return f"""
set -e
systemctl stop {unit}
rm -rf {path}.kept && cp -a --sparse=always {path} {path}.kept
size=$(( $(du -sk {path} | cut -f1) + 8192 ))
owner=$(stat -c uid=%u,gid=%g,mode=%a {path})
mount -t tmpfs -o size=${{size}}k,$owner chaos {path}
cp -a --sparse=always {path}.kept/. {path}/
systemctl start {unit}
dd if=/dev/zero of={path}/chaos.fill bs=64k status=none || true
"""


def _empty(unit: str, path: str) -> str:
    """Make room and give it 20 s to heal by itself before it moves back."""
    return f"""
set -e
rm {path}/chaos.fill
sleep 20
systemctl is-active {unit}
systemctl stop {unit}
rm -rf {path}.kept && cp -a --sparse=always {path} {path}.kept
umount {path}
cp -a --sparse=always {path}.kept/. {path}/
rm -rf {path}.kept
systemctl start {unit}
"""
