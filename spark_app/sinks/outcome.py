"""What a partition's writer tells the driver: counts, latencies, and what went wrong."""

import importlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeVar

import pyarrow as pa

from spark_app.histogram import Histogram

OUTCOME_SCHEMA = "outcome string"

# Of patient tasks: a batch's work in one go would fill small machines for seconds.
_NICENESS = 10
_RESTS = 9  # times as long as the work before
_LONGEST_REST_SECONDS = 5.0  # of a task in all

T = TypeVar("T")


@dataclass(frozen=True)
class Fault:
    """Why a partition was not written.

    Attributes:
        kind: `missing_module`: a Python package is not there; `unavailable`: all else.
        text: what was wrong and where, in one line.
    """

    kind: Literal["missing_module", "unavailable"]
    text: str


class SinkFaultError(Exception):
    """A sink cannot write now."""

    def __init__(self, fault: Fault) -> None:
        """Keep the fault for whoever decides what to do."""
        super().__init__(fault.text)
        self.fault = fault


@dataclass
class Outcome:
    """Figures of one partition, or of several put together.

    Attributes:
        batch_id: number of the batch among all that this query ever had.
        stored: readings that the batch put there, in this try or an earlier one.
        inserted: those of this try.
        committed_ns: when the (last) commit had returned, ns since the epoch.
        refused: partition, offset and reason of records that the sink itself refused.
        latencies: by metric name, of rows that were new.
        clocks: the same of CLOCK_METRICS, by gateway.
        spools: by gateway, the number of its newest message, and how many waited behind it.
    """

    batch_id: int = -1
    rows_in: int = 0
    stored: int = 0
    inserted: int = 0
    duplicate: int = 0
    late: int = 0
    rejected: int = 0
    payload_bytes: int = 0
    objects: int = 0
    committed_ns: int = 0
    refused: list[tuple[int, int, str]] = field(default_factory=list)
    latencies: dict[str, Histogram] = field(default_factory=dict)
    clocks: dict[str, dict[str, Histogram]] = field(default_factory=dict)
    spools: dict[str, tuple[int, int]] = field(default_factory=dict)
    fault: Fault | None = None

    def add(self, other: "Outcome") -> None:
        """Take in the figures of another partition; the first fault is kept."""
        self.rows_in += other.rows_in
        self.stored += other.stored
        self.inserted += other.inserted
        self.duplicate += other.duplicate
        self.late += other.late
        self.rejected += other.rejected
        self.payload_bytes += other.payload_bytes
        self.objects += other.objects
        self.committed_ns = max(self.committed_ns, other.committed_ns)
        self.refused += other.refused
        self._add_measured(other)
        for gateway, spool in other.spools.items():
            self.spools[gateway] = max(spool, self.spools.get(gateway, spool))
        self.fault = self.fault or other.fault

    def continue_from(self, earlier: "Outcome") -> None:
        """Take over what an earlier try at the same batch measured of the rows it stored."""
        self.late += earlier.late
        self._add_measured(earlier)

    def note_clocks(self, gateway: str, histograms: dict[str, Histogram]) -> None:
        """Take in figures of a gateway's clock."""
        _merge(self.clocks.setdefault(gateway, {}), histograms)

    def _add_measured(self, other: "Outcome") -> None:
        _merge(self.latencies, other.latencies)
        for gateway, histograms in other.clocks.items():
            self.note_clocks(gateway, histograms)

    def to_json(self) -> str:
        """Return it as text, for the way from an executor to the driver."""
        values = vars(self) | {
            "latencies": _to_dict(self.latencies),
            "clocks": {gateway: _to_dict(h) for gateway, h in self.clocks.items()},
            "fault": self.fault and vars(self.fault),
        }
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Rebuild what `to_json` returned."""
        values: dict[str, Any] = json.loads(text)
        values["latencies"] = _from_dict(values["latencies"])
        values["clocks"] = {gateway: _from_dict(h) for gateway, h in values["clocks"].items()}
        values["spools"] = {gateway: tuple(spool) for gateway, spool in values["spools"].items()}
        values["refused"] = [tuple(entry) for entry in values["refused"]]
        values["fault"] = values["fault"] and Fault(**values["fault"])
        return cls(**values)


def _merge(into: dict[str, Histogram], other: dict[str, Histogram]) -> None:
    for name, histogram in other.items():
        into.setdefault(name, Histogram()).add(histogram)


def _to_dict(histograms: dict[str, Histogram]) -> dict[str, object]:
    return {name: histogram.to_dict() for name, histogram in histograms.items()}


def _from_dict(values: dict[str, Any]) -> dict[str, Histogram]:
    return {name: Histogram.from_dict(value) for name, value in values.items()}


Writer = Callable[[pa.Table], Outcome]


def unhurried(items: Iterator[T]) -> Iterator[T]:
    """Yield what comes, resting after each: whoever makes them then has to rest as well."""
    left = _LONGEST_REST_SECONDS
    begin = time.monotonic()
    for item in items:
        yield item
        rest = min(_RESTS * (time.monotonic() - begin), left)
        time.sleep(rest)
        left -= rest
        begin = time.monotonic()


@dataclass(frozen=True)
class PartitionTask:
    """A writer in the form that `DataFrame.mapInArrow` takes.

    The batch's number comes this way because as a literal it would make Spark compile the plan
    anew for each batch.

    Attributes:
        is_patient: its process does nothing else, and lets all others go first.
    """

    write: Writer
    batch_id: int
    is_patient: bool = False

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Write one partition; a fault is part of the outcome, not an exception."""
        if self.is_patient:
            os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
            batches = unhurried(batches)
        held = list(batches)
        if not held:
            return
        table = pa.Table.from_batches(held)
        batch_ids = pa.repeat(pa.scalar(self.batch_id, pa.int64()), table.num_rows)
        try:
            outcome = self.write(table.append_column("batch_id", batch_ids))
        except SinkFaultError as error:
            outcome = Outcome(fault=error.fault)
        yield pa.RecordBatch.from_pydict({"outcome": [outcome.to_json()]})


def require(module: str, package: str) -> Any:  # noqa: ANN401 - a module's own names
    """Import a module that may be missing.

    Raises:
        SinkFaultError: it cannot be imported; the text says where and how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        # Else a package installed in the meantime would not be found by the next try.
        importlib.invalidate_caches()
        text = (
            f"Python module {module} is missing on {socket.gethostname()} ({error}): install it "
            f"with `{sys.executable} -m pip install {package}`, or let PYSPARK_PYTHON (now "
            f"{os.environ.get('PYSPARK_PYTHON', 'not set')}) name a Python that has it"
        )
        raise SinkFaultError(Fault("missing_module", text)) from error
