"""The gate of a rollout: figures before and after, limits, verdict."""

from dataclasses import replace
from typing import Any

import pytest

from tools.rollout.gate import Figures, Limits, conclude, figures, judge

LIMITS = Limits(
    probes_lost=0,
    readings_missing=0,
    latency_factor=2,
    latency_slack_ms=250,
    restarts=0,
    dead_letters=0,
    dropped=0,
    waiting_seconds=30,
    readings_share=0.5,
)
WELL = Figures(
    seconds=60,
    probes=120,
    probes_lost=0,
    latency_ms=12.0,
    readings=600,
    missing=0,
    restarts=0,
    dead_letters=0,
    dropped=0,
    subscribed=True,
    waiting_seconds=0.1,
)


def gates(after: Figures, before: Figures = WELL) -> list[str]:
    return [failing.gate for failing in judge(before, after, LIMITS)]


def test_what_is_as_before_passes() -> None:
    assert gates(WELL) == []


@pytest.mark.parametrize(
    ("changed", "gate"),
    [
        ({"subscribed": False}, "bridge"),
        ({"probes_lost": 1}, "probes"),
        ({"missing": 1}, "missing"),
        ({"latency_ms": 12 * 2 + 251}, "latency"),
        ({"readings": 299}, "readings"),
        ({"restarts": 1}, "restarts"),
        ({"dead_letters": 1}, "dead_letters"),
        ({"dropped": 1}, "dropped"),
        ({"waiting_seconds": 31}, "waiting_seconds"),
    ],
)
def test_each_figure_has_its_gate(changed: dict[str, Any], gate: str) -> None:
    (failing,) = judge(WELL, replace(WELL, **changed), LIMITS)
    assert failing.gate == gate
    assert failing.limit is not None
    assert failing.after is not None
    assert failing.text


def test_at_the_limit_it_passes() -> None:
    assert gates(replace(WELL, latency_ms=12 * 2 + 250, readings=300, waiting_seconds=30)) == []


def test_what_was_missing_before_is_not_the_releases_fault() -> None:
    lossy = replace(WELL, missing=5)
    assert gates(lossy, before=lossy) == []
    assert gates(replace(lossy, missing=6), before=lossy) == ["missing"]


def test_a_rate_of_few_readings_says_nothing() -> None:
    assert gates(replace(WELL, readings=0), before=replace(WELL, readings=29)) == []
    assert gates(replace(WELL, readings=0), before=replace(WELL, readings=30)) == ["readings"]


def test_a_rate_is_compared_by_time() -> None:
    assert gates(replace(WELL, seconds=600, readings=6000)) == []
    assert gates(replace(WELL, seconds=600, readings=600)) == ["readings"]


def test_without_a_latency_nothing_is_compared() -> None:
    assert gates(replace(WELL, latency_ms=9000), before=replace(WELL, latency_ms=None)) == []


ROWS = {
    "seconds": 30.5,
    "sent": 20,
    "arrived": 18,
    "p95_ms": 14.25,
    "readings": 77,
    "missing": 3,
}


def metrics(**values: float) -> str:
    return "".join(f"bridge_{name} {value}\n" for name, value in values.items())


def test_counts_are_of_the_span() -> None:
    start = {"bridge": metrics(dead_letters_total=2, broker_dropped_total=7), "restarts": 1}
    text = metrics(
        dead_letters_total=5, broker_dropped_total=7, mqtt_connected=1, oldest_waiting_seconds=0.5
    )
    found = figures(start, {"bridge": text, "restarts": 3}, ROWS)
    assert found == Figures(30.5, 20, 2, 14.25, 77, 3, 2, 3, 0, True, 0.5)  # noqa: FBT003


def test_a_count_that_began_anew_counts_from_there() -> None:
    start = {"bridge": metrics(dead_letters_total=9), "restarts": 4}
    end = {"bridge": metrics(dead_letters_total=2), "restarts": 1}
    found = figures(start, end, ROWS)
    assert (found.dead_letters, found.restarts) == (2, 1)


def test_a_bridge_that_does_not_answer_fails() -> None:
    start = {"bridge": metrics(mqtt_connected=1), "restarts": 0}
    found = figures(start, {"bridge": "", "restarts": 0}, {**ROWS, "arrived": 20, "missing": 0})
    assert gates(found) == ["bridge", "readings"]


BAD = judge(WELL, replace(WELL, probes_lost=1), LIMITS)
NONE_MAY_FAIL = {"most_failing_percent": 0.0, "most_dark_percent": 50.0}


def test_one_that_fails_takes_its_wave_back() -> None:
    verdict = conclude({"a": BAD, "b": []}, [], **NONE_MAY_FAIL)
    assert verdict.back == ["a", "b"]
    assert verdict.stop == "1 of 2 gateways of the wave failed"


def test_within_the_percentage_only_the_failing_go_back() -> None:
    verdict = conclude({"a": BAD, "b": []}, [], most_failing_percent=50, most_dark_percent=50)
    assert (verdict.back, verdict.stop) == (["a"], "")


def test_dark_gateways_do_not_fail_a_wave() -> None:
    verdict = conclude({"a": []}, ["b"], **NONE_MAY_FAIL)
    assert (verdict.back, verdict.stop, verdict.dark) == ([], "", ["b"])


def test_a_release_that_most_go_dark_with_stops() -> None:
    verdict = conclude({"a": []}, ["b", "c"], **NONE_MAY_FAIL)
    assert verdict.back == ["a"]
    assert verdict.stop == "2 of 3 gateways of the wave went dark with the new release"
