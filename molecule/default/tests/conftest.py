"""The pipeline on the hosts of this scenario."""

import os

import pytest

from tools.hops import System
from tools.pipeline import Pipeline


@pytest.fixture(scope="session")
def pipeline() -> Pipeline:
    return Pipeline(System.demo(os.environ["EDGE_NETWORK"]))
