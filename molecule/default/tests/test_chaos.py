"""The short form of `make chaos`: each kill once, and the faults of the network."""

import json
import time

from tests.chaos.campaign import Campaign
from tests.chaos.faults import kills, networks
from tools.pipeline import GROUP, Pipeline


def test_what_was_confirmed_arrives_once_whatever_is_killed(pipeline: Pipeline) -> None:
    faults = [*kills(), *networks(pipeline.system.core)]
    report = Campaign(pipeline, GROUP, seed=int(time.time())).run(faults, len(faults))
    print(json.dumps(report, indent=2))
    assert report["passed"], report
