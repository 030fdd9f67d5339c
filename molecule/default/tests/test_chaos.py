"""The short form of `make chaos`: half of the kills and network faults, not always the same ones.

With EDGE_LONG (`make test-full`) it is all of them.
"""

import json
import os
import time

from tests.chaos.campaign import Campaign
from tests.chaos.faults import kills, networks
from tools.pipeline import GROUP, Pipeline


def test_what_was_confirmed_arrives_once_whatever_is_killed(pipeline: Pipeline) -> None:
    faults = [*kills(), *networks(pipeline.system.core)]
    count = len(faults) if "EDGE_LONG" in os.environ else len(faults) // 2
    report = Campaign(pipeline, GROUP, seed=int(time.time())).run(faults, count)
    print(json.dumps(report, indent=2))
    assert report["passed"], report
