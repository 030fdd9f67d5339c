"""What is done to the hosts: shell commands that break something, and those that mend it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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


DELAY_SECONDS = 0.5
# Whose clock is stepped: all that tells the time on the gateway, and the database. libfaketime of
# Debian 13, which core1 has, lets a process spin in its timed waits.
CLOCKS = {"gw1": "mosquitto mqtt-bridge", "db1": "postgresql@18-main"}


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
    # The master may then count the dead worker's cores as given, and give no others.
    both = (
        "systemctl kill --signal=KILL spark-master; sleep 10; "
        "systemctl kill --signal=KILL spark-worker"
    )
    return [*of_units, *hosts, Fault("kill spark-worker as its master recovers", "core1", both)]


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


def delays(core: str) -> list[Fault]:
    """Half a second more each way between the bridge and Kafka, by a proxy on the gateway."""
    program = Path(__file__).with_name("delay.py").read_text(encoding="utf-8")
    return [
        Fault(
            f"network {DELAY_SECONDS:g} s slower",
            "gw1",
            _DELAY.format(
                program=program,
                core=core,
                seconds=DELAY_SECONDS,
                port=_PROXY_PORT,
                have_nft=_HAVE_NFT,
            ),
            30,
            "nft delete table ip chaos; systemctl stop chaos-delay",
        )
    ]


def clocks() -> list[Fault]:
    """Steps of an hour and back, under running services.

    The hosts share the machine's clock, so it is libfaketime that tells the services another time.
    """
    return [
        Fault(
            f"clock {step} on {host}",
            host,
            _STEP.format(units=units, step=step),
            20,
            _STEP_BACK.format(units=units),
        )
        for host, units in CLOCKS.items()
        for step in ("+1h", "-1h")
    ]


def full_disks() -> list[Fault]:
    """Each store on a small file system that fills up.

    The store moves to it and back, which is an orderly restart more.
    """
    return [
        Fault(f"disk full under {unit}", UNITS[unit], _fill(unit, path), 20, _empty(unit, path))
        for unit, path in STORES.items()
    ]


_PROXY_PORT = 19092
# Connections that are there already are cut first: they would not go through the proxy.
_DELAY = """
set -e
cat > /run/chaos-delay.py <<'PROGRAM'
{program}
PROGRAM
systemd-run --quiet --collect --unit chaos-delay --property User=nobody \\
  /usr/bin/python3 /run/chaos-delay.py {port} {core} 9092 {seconds}
{have_nft}
nft add table ip chaos
nft 'add chain ip chaos cut {{ type filter hook output priority 0; }}'
kafka='ip daddr {core} tcp dport 9092 meta skuid != nobody'
nft "add rule ip chaos cut $kafka reject with tcp reset"
sleep 2
nft flush chain ip chaos cut
nft 'add chain ip chaos turn {{ type nat hook output priority -100; }}'
nft "add rule ip chaos turn $kafka redirect to :{port}"
"""

_STEP = """
set -e
test -e /usr/lib/*/faketime/libfaketimeMT.so.1 || apt-get install --quiet --yes faketime >/dev/null
echo +0 > /run/faketime
for unit in {units}; do
  mkdir -p /run/systemd/system/$unit.service.d
  cat > /run/systemd/system/$unit.service.d/chaos.conf <<UNIT
[Service]
Environment=LD_PRELOAD=$(echo /usr/lib/*/faketime/libfaketimeMT.so.1)
Environment=FAKETIME_TIMESTAMP_FILE=/run/faketime
Environment=FAKETIME_NO_CACHE=1
Environment=FAKETIME_DONT_FAKE_MONOTONIC=1
UNIT
done
systemctl daemon-reload
systemctl restart {units}
sleep 10
echo {step} > /run/faketime.new && mv /run/faketime.new /run/faketime
"""
_STEP_BACK = """
set -e
echo +0 > /run/faketime.new && mv /run/faketime.new /run/faketime
sleep 10
for unit in {units}; do rm /run/systemd/system/$unit.service.d/chaos.conf; done
systemctl daemon-reload
systemctl restart {units}
"""

_HAVE_NFT = "{ command -v nft || apt-get install --quiet --yes nftables; } > /dev/null"
_NFT_OFF = "nft delete table inet chaos"


def _nft(rules: list[str]) -> str:
    commands = [_HAVE_NFT, "nft add table inet chaos"]
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
