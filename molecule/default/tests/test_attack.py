"""What should be refused is refused: `make attack` on the hosts of this scenario."""

import os

from tests.security.__main__ import main
from tools.pipeline import GROUP, Pipeline


def test_devices_of_the_inventory_are_known_to_the_database(pipeline: Pipeline) -> None:
    rows = pipeline.query(
        "SELECT device_id, site, room, model FROM devices WHERE gateway = 'gw1' ORDER BY 1"
    )
    assert ("office-1", "office", "2.14", "SHT45") in rows
    assert [name for name, *_ in rows] == ["office-1", "office-2", "roof-1"]


def test_nobody_gets_in_who_should_not() -> None:
    assert main(["--group", GROUP, "--network", os.environ["EDGE_NETWORK"]]) == 0
