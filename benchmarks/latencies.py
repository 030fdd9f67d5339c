"""Latencies that the pipeline itself measured, over any time."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from spark_app import schema
from spark_app.histogram import Histogram

STAGES = tuple(stage.metric_name for stage in schema.STAGES)
PERCENTS = (50, 95, 99)
_ROWS = """
SELECT bucket_index, bucket_count, min_ms, max_ms, sum_ms, negative_count FROM pipeline_kpi
WHERE metric_name = %s AND time >= %s AND time < %s
"""

Ask = Callable[..., Sequence[tuple[Any, ...]]]


def histogram(ask: Ask, stage: str, start: datetime, end: datetime) -> Histogram:
    """Return a stage's latencies, in µs, of the readings committed from start to end.

    Args:
        ask: from a statement and its parameters to rows.
        stage: one of STAGES.
        start: of the time, with its zone.
        end: of the time, not part of it.
    """
    total = Histogram()
    for indexes, counts, least, greatest, sum_ms, negative in ask(_ROWS, stage, start, end):
        buckets = dict(zip(indexes, counts, strict=True))
        micros = [round(1000 * value) for value in (sum_ms, least, greatest)]
        total.add(Histogram(buckets, micros[0], micros[1], micros[2], negative))
    return total


def percentiles(found: Histogram) -> dict[str, float]:
    """Return p50, p95 and p99 in ms."""
    return {f"p{share}": found.percentile(share / 100) / 1000 for share in PERCENTS}
