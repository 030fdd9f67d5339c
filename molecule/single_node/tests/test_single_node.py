"""One host holds all: readings go the whole way in it."""

import pytest

from tools.hops import ROOT, System
from tools.pipeline import Pipeline, eventually
from tools.usage import UNITS, look

ADDRESS = "10.91.0.21"
COUNT = 500


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    secrets = ROOT / "inventories" / "single_node" / ".secrets"
    return Pipeline(System(ADDRESS, ADDRESS, ADDRESS, secrets))


def test_readings_arrive_in_the_database_and_in_the_archive(pipeline: Pipeline) -> None:
    site = pipeline.site("single")
    pipeline.simulate("--site", site, "--devices", "5", "--rate", "100", "--count", str(COUNT))
    rows = eventually("the rows", lambda: pipeline.stored(site), lambda r: len(r) >= COUNT)
    assert len(rows) == len(set(rows)) == COUNT
    archived = eventually(
        "the archive", lambda: pipeline.archived_readings(site), lambda r: len(r) >= COUNT
    )
    assert archived == rows


def test_every_stage_was_timed(pipeline: Pipeline) -> None:
    assert all(stage["samples"] >= COUNT for stage in pipeline.stages("1 hour"))


def test_it_fits_a_raspberry_pi_of_4_gb() -> None:
    units = tuple(unit for on_host in UNITS.values() for unit in on_host)
    used = {name: found.resident_mb for name, found in look("test", {"node1": units}).items()}
    print({name: round(megabytes) for name, megabytes in used.items()}, round(sum(used.values())))
    # It leaves 3.7 GiB to the system, which takes some 300 MB itself.
    assert sum(used.values()) < 3400, used
