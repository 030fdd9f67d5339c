"""The histogram's percentiles against exact ones, however the data was split into batches."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_app.histogram import Histogram

LATENCIES = st.lists(
    st.one_of(
        st.integers(0, 2_000),
        st.integers(1_000, 60_000_000),
        st.integers(-5_000_000, 5_000_000),
        st.integers(-(10**15), 10**15),
    ),
    min_size=1,
    max_size=400,
)


def exact(values: list[int], share: float) -> int:
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


@given(LATENCIES, st.data())
def test_percentiles_are_within_one_percent_over_any_split(
    values: list[int], data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(values)), max_size=8))
    edges = [0, *sorted(cuts), len(values)]
    merged = Histogram()
    for start, end in pairwise(edges):
        merged.add(Histogram.of(np.array(values[start:end], dtype=np.int64)))
    for share in (0.0, 0.01, 0.5, 0.95, 0.99, 1.0):
        wanted = exact(values, share)
        assert abs(merged.percentile(share) - wanted) <= 0.01 * abs(wanted)


@given(LATENCIES)
def test_merging_changes_nothing_but_the_order(values: list[int]) -> None:
    whole = Histogram.of(np.array(values, dtype=np.int64))
    parts = Histogram()
    for value in reversed(values):
        parts.add(Histogram.of(np.array([value], dtype=np.int64)))
    assert parts == whole
    assert whole.samples == len(values)
    assert whole.total == sum(values)
    assert (whole.least, whole.greatest) == (min(values), max(values))
    assert whole.negative == sum(value < 0 for value in values)


@given(LATENCIES)
def test_survives_the_way_to_the_driver(values: list[int]) -> None:
    histogram = Histogram.of(np.array(values, dtype=np.int64))
    assert Histogram.from_dict(json.loads(json.dumps(histogram.to_dict()))) == histogram


def test_empty_one_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="empty"):
        Histogram.of(np.array([], dtype=np.int64)).percentile(0.5)
