"""The gate of a wave: what was measured before and after, and the limits, make the verdict.

Pure functions; playbooks/gateways.yml measures and obeys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tools.health import metric

# Fewer readings in a window say nothing of a rate.
_LEAST_READINGS = 30


@dataclass(frozen=True)
class Limits:
    """From when on a gateway fails; playbooks/vars/rollout.yml says what each is."""

    probes_lost: float
    readings_missing: float
    latency_factor: float
    latency_slack_ms: float
    restarts: float
    dead_letters: float
    dropped: float
    waiting_seconds: float
    readings_share: float


@dataclass(frozen=True)
class Figures:
    """What one gateway did in a span of time; None: it did not say.

    Attributes:
        probes_lost: probes that were sent and are not in the database.
        latency_ms: 95th percentile, from the sending of a probe to Kafka's time of it.
        readings: of its sensors, in the database.
        missing: numbers of its sensors' readings that the ledger misses.
        restarts: of the bridge, that nobody asked for.
        dropped: messages that the MQTT broker's full queues have cost.
        waiting_seconds: age of the oldest message that Kafka did not have at the end.
    """

    seconds: float
    probes: int
    probes_lost: int
    latency_ms: float | None
    readings: int
    missing: int
    restarts: int | None
    dead_letters: float | None
    dropped: float | None
    subscribed: bool
    waiting_seconds: float | None

    @property
    def readings_per_minute(self) -> float:
        """How many of its sensors' readings came."""
        return 60 * self.readings / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Failing:
    """A limit that was not kept, in figures and in words."""

    gate: str
    before: float | None
    after: float | None
    limit: float | None
    text: str


@dataclass(frozen=True)
class Verdict:
    """What is to be done with a wave.

    Attributes:
        failing: by gateway, the limits that were not kept; gateways without any passed.
        dark: gateways that could not be reached any more while the release was on trial.
        back: gateways that go back to their release of before.
        stop: why nothing goes to further gateways; empty: the rollout goes on.
    """

    failing: dict[str, list[Failing]] = field(default_factory=dict)
    dark: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    stop: str = ""


def figures(start: Mapping[str, Any], end: Mapping[str, Any], rows: Mapping[str, Any]) -> Figures:
    """Return the figures of a span.

    Args:
        start: the gateway at its start: `bridge`, its metrics as Prometheus has them, and
            `restarts`, the count of systemd.
        end: the same at its end.
        rows: what the database says of the span; playbooks/files/rollout.sql.
    """
    text = end["bridge"]
    return Figures(
        seconds=rows["seconds"],
        probes=rows["sent"],
        probes_lost=rows["sent"] - rows["arrived"],
        latency_ms=rows["p95_ms"],
        readings=rows["readings"],
        missing=rows["missing"],
        restarts=_whole(_grown(start["restarts"], end["restarts"])),
        dead_letters=_counted(start, end, "bridge_dead_letters_total"),
        dropped=_counted(start, end, "bridge_broker_dropped_total"),
        subscribed=metric(text, "bridge_mqtt_connected") == 1,
        waiting_seconds=metric(text, "bridge_oldest_waiting_seconds"),
    )


def judge(before: Figures, after: Figures, limits: Limits) -> list[Failing]:
    """Return the limits that a gateway does not keep with its new release."""
    return list(_failing(before, after, limits))


def _failing(before: Figures, after: Figures, limits: Limits) -> Iterator[Failing]:
    if not after.subscribed:
        yield Failing("bridge", None, 0, 1, "the bridge is not subscribed at the MQTT broker")
    if after.probes_lost > limits.probes_lost:
        text = f"{after.probes_lost} of {after.probes} probes did not arrive in the database"
        yield Failing("probes", before.probes_lost, after.probes_lost, limits.probes_lost, text)
    most_missing = before.missing + limits.readings_missing
    if after.missing > most_missing:
        text = f"{after.missing} readings of its sensors are missing by their numbers"
        yield Failing("missing", before.missing, after.missing, most_missing, text)
    if before.latency_ms is not None and after.latency_ms is not None:
        most_ms = max(before.latency_ms, 0) * limits.latency_factor + limits.latency_slack_ms
        if after.latency_ms > most_ms:
            text = f"its probes took {after.latency_ms:.0f} ms to Kafka (95th percentile)"
            yield Failing("latency", before.latency_ms, after.latency_ms, most_ms, text)
    least = before.readings_per_minute * limits.readings_share
    if before.readings >= _LEAST_READINGS and after.readings_per_minute < least:
        text = f"only {after.readings_per_minute:.0f} readings a minute of its sensors arrive"
        rates = before.readings_per_minute, after.readings_per_minute
        yield Failing("readings", *rates, least, text)
    for gate, what in (
        ("restarts", "the bridge ended and was started again {:.0f} times"),
        ("dead_letters", "Kafka refused {:.0f} of its messages for good"),
        ("dropped", "the MQTT broker's full queues cost {:.0f} messages"),
        ("waiting_seconds", "its oldest message has been waiting for Kafka for {:.0f} s"),
    ):
        figure, most = getattr(after, gate), getattr(limits, gate)
        if figure is not None and figure > most:
            yield Failing(gate, getattr(before, gate), figure, most, what.format(figure))


def conclude(
    failing: Mapping[str, list[Failing]],
    dark: list[str],
    *,
    most_failing_percent: float,
    most_dark_percent: float,
) -> Verdict:
    """Return what is to be done with a wave of these gateways.

    Args:
        failing: what `judge` said of each gateway that can be reached.
        dark: those that cannot be reached any more.
        most_failing_percent: of these gateways, that may go back without the others.
        most_dark_percent: of all, that may have gone dark since the release came.
    """
    failed = [name for name, gates in failing.items() if gates]
    size = len(failing) + len(dark)
    stop = ""
    if failed and 100 * len(failed) > most_failing_percent * len(failing):
        stop = f"{len(failed)} of {len(failing)} gateways of the wave failed"
    elif dark and 100 * len(dark) > most_dark_percent * size:
        stop = f"{len(dark)} of {size} gateways of the wave went dark with the new release"
    back = list(failing) if stop else failed
    return Verdict({name: failing[name] for name in failed}, dark, back, stop)


def plain(value: Figures | Failing) -> dict[str, Any]:
    """Return a value for JSON."""
    return asdict(value)


def _counted(start: Mapping[str, Any], end: Mapping[str, Any], name: str) -> float | None:
    return _grown(metric(start["bridge"], name), metric(end["bridge"], name))


def _grown(start: float | None, end: float | None) -> float | None:
    """What a count grew by; one that is smaller than before began anew."""
    if start is None or end is None or end < start:
        return end
    return end - start


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
