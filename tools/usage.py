"""What each service of the demo's hosts has used: processor time, memory."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

UNITS = {
    "gw1": ("mosquitto", "mqtt-bridge"),
    "core1": ("kafka", "minio", "spark-master", "spark-worker", "streaming-job"),
    "db1": ("postgresql@18-main",),
}
# Beside the pipeline, where the inventory has the group `monitoring`.
MONITORING = {
    "gw1": ("prometheus-node-exporter",),
    "core1": (
        *("prometheus-node-exporter", "prometheus", "prometheus-alertmanager"),
        "grafana",
    ),
    "db1": tuple(f"prometheus-{of}-exporter" for of in ("node", "postgres", "sql", "pgbackrest")),
}
# Of all processes of a unit that runs. Pss counts a page that several of them share once; Pss of
# what has just ended is not there any more.
_LOOK = (
    'for u in {units}; do c=$(systemctl show -P ControlGroup $u); [ -n "$c" ] || continue; '
    "g=/sys/fs/cgroup$c; m=0; "
    "for p in $(find $g -name cgroup.procs -exec cat {{}} +); do "
    "k=$(awk '/^Pss:/{{print $2}}' /proc/$p/smaps_rollup 2>/dev/null); m=$((m + ${{k:-0}})); done; "
    "echo $u $(awk '/^usage_usec/{{print $2}}' $g/cpu.stat) $m; done"
)


@dataclass(frozen=True)
class Usage:
    """Processor seconds since the service began, and resident memory now, MB."""

    cpu_seconds: float
    resident_mb: float


def look(
    group: str = "demo", units: Mapping[str, Sequence[str]] = MappingProxyType(UNITS)
) -> dict[str, Usage]:
    """What each service that runs uses, by `host unit`.

    Raises:
        subprocess.CalledProcessError: a host is not up.
    """
    found = {}
    for host, names in units.items():
        script = _LOOK.format(units=" ".join(names))
        command = ["podman", "exec", f"edge-{group}-{host}", "sh", "-c", script]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for line in output.splitlines():
            unit, micros, kib = line.split()
            found[f"{host} {unit}"] = Usage(int(micros) / 1e6, round(int(kib) * 1024 / 1e6, 1))
    return found
