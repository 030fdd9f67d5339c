"""`python -m tests.chaos`: break the demo's hosts while readings flow, and count what arrived.

Ends with 1 if a confirmed reading is lost or twice, or a recovery took too long; leaves
results/chaos.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tests.chaos import faults
from tests.chaos.campaign import Campaign
from tools.hops import System
from tools.pipeline import Pipeline

KINDS = ["kills", "stops", "networks", "delays", "disks", "clocks"]
RESULTS = Path(__file__).resolve().parents[2] / "results" / "chaos.json"


def main() -> int:
    """Run, show, write, and return the exit status."""
    options = parser().parse_args()
    system = System.demo(options.network)
    sets = {
        "kills": faults.kills(),
        "stops": faults.stops(),
        "networks": faults.networks(system.core),
        "delays": faults.delays(system.core),
        "disks": faults.full_disks(),
        "clocks": faults.clocks(),
    }
    chosen = [fault for name in options.kinds for fault in sets[name]]
    if options.only:
        chosen = [fault for fault in chosen if options.only in fault.kind]
    campaign = Campaign(Pipeline(system), options.group, options.seed)
    report = campaign.run(chosen, options.count or len(chosen))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for kind, figures in report["kinds"].items():
        print(
            f"{kind:32} x{figures['count']:<3} confirmed {figures['confirmed']:7}  lost "
            f"{figures['lost']}  twice {figures['duplicated']}  recovery s "
            f"{figures['recovery_median_s']} (worst {figures['recovery_worst_s']})"
        )
    for host, units in report["failed_units"].items():
        print(f"{host}: did not come back: {', '.join(units)}")
    print(
        f"{report['faults']} faults, {report['confirmed']} confirmed readings: lost "
        f"{report['lost']}, twice {report['duplicated']}, worst recovery "
        f"{report['recovery_worst_s']} s; {'passed' if report['passed'] else 'FAILED'}"
    )
    return 0 if report["passed"] else 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    made.add_argument("--group", default="demo", help="group of test hosts (%(default)s)")
    made.add_argument("--network", help="their network, such as 10.91.0; the demo's by default")
    made.add_argument("--count", type=int, help="how many faults; each kind once by default")
    made.add_argument("--seed", type=int, default=int(time.time()), help="of their order")
    made.add_argument("--only", help="only kinds with this text in their name")
    made.add_argument(
        "--kinds",
        nargs="+",
        default=KINDS,
        choices=KINDS,
        help="(%(default)s)",
    )
    return made


if __name__ == "__main__":
    sys.exit(main())
