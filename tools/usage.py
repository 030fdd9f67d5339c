"""What each service of the demo's hosts has used: processor time, memory."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

UNITS = {
    "gw1": ("mosquitto", "mqtt-bridge"),
    "core1": ("kafka", "minio", "spark-master", "spark-worker", "streaming-job"),
    "db1": ("postgresql@18-main",),
}
# Of all processes of a unit. Pss counts a page that several of them share once; Pss of what has
# just ended is not there any more.
_LOOK = (
    "for u in {units}; do g=/sys/fs/cgroup$(systemctl show -P ControlGroup $u); m=0; "
    "for p in $(find $g -name cgroup.procs -exec cat {{}} +); do "
    "k=$(awk '/^Pss:/{{print $2}}' /proc/$p/smaps_rollup 2>/dev/null); m=$((m + ${{k:-0}})); done; "
    "echo $u $(awk '/^usage_usec/{{print $2}}' $g/cpu.stat) $m; done"
)


@dataclass(frozen=True)
class Usage:
    """Processor seconds since the service began, and resident memory now, MB."""

    cpu_seconds: float
    resident_mb: float


def look(group: str = "demo", hosts: Mapping[str, tuple[str, ...]] = UNITS) -> dict[str, Usage]:
    """What each service uses, by `host unit`.

    Raises:
        subprocess.CalledProcessError: a host is not up.
    """
    found = {}
    for host, units in hosts.items():
        script = _LOOK.format(units=" ".join(units))
        command = ["podman", "exec", f"edge-{group}-{host}", "sh", "-c", script]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for line in output.splitlines():
            unit, micros, kib = line.split()
            found[f"{host} {unit}"] = Usage(int(micros) / 1e6, round(int(kib) * 1024 / 1e6, 1))
    return found
