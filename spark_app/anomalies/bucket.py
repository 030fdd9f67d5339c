"""The devices of one bucket: their states, and what a batch of their readings tells.

A bucket is what Spark keeps as one state: many devices, so that one call judges them all in step.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from spark_app.anomalies.detector import KINDS, STATE, VERSION, Tuning, new_states
from spark_app.anomalies.lockstep import judge
from spark_app.anomalies.rules import outside_limits, silence_limit, too_damp

QUANTITIES = ("temperature", "humidity")

# The quantity of an anomaly that concerns all of a device's.
WHOLE_DEVICE = "all"

COLUMNS = (
    "time", "device_id", "quantity", "kind", "value", "expected_low", "expected_high", "score",
    "detector_version",
)  # fmt: skip

_HEADER_END = b"\n"


@dataclass
class _Device:
    """What is known of a device beside its series."""

    arrived: float  # seconds since 1970, by Kafka's clock, of its newest reading
    silent: bool = False


@dataclass
class Bucket:
    """States of some devices.

    Attributes:
        clock: seconds since 1970 up to which all readings are here, by Kafka's clock.
    """

    clock: float = 0.0
    tuning: Tuning | None = None
    _series: dict[tuple[str, str], int] = field(default_factory=dict)
    _states: npt.NDArray[np.void] = field(default_factory=lambda: new_states(0))
    _devices: dict[str, _Device] = field(default_factory=dict)
    _impossible: set[tuple[str, str]] = field(default_factory=set)  # in their newest reading

    @classmethod
    def from_bytes(cls, data: bytes, tuning: Tuning | None = None) -> "Bucket":
        """Read what `to_bytes` wrote; of another version no more than the clock."""
        header, _, states = data.partition(_HEADER_END)
        known = json.loads(header)
        if known["version"] != VERSION:
            return cls(known["clock"], tuning)
        return cls(
            known["clock"],
            tuning,
            {(device, quantity): row for row, (device, quantity) in enumerate(known["series"])},
            np.frombuffer(states, STATE).copy(),
            {name: _Device(*about) for name, about in known["devices"].items()},
            {(device, quantity) for device, quantity in known["impossible"]},
        )

    def to_bytes(self) -> bytes:
        """Return all of it; STATE.itemsize and the names per series."""
        header = {
            "version": VERSION,
            "clock": self.clock,
            "series": list(self._series),
            "devices": {name: [d.arrived, d.silent] for name, d in self._devices.items()},
            "impossible": sorted(self._impossible),
        }
        return json.dumps(header).encode() + _HEADER_END + self._states.tobytes()

    def observe(self, readings: pd.DataFrame) -> pd.DataFrame:
        """Judge and learn a batch.

        Args:
            readings: `device_id`, `time` and `appended_at` (UTC), QUANTITIES and `dew_point`, each
                of which may be missing (NaN). In any order; what is no newer than what its series
                has seen is passed over.

        Returns:
            Anomalies: COLUMNS; a score of 1 is just one, more is stranger.
        """
        if readings.empty:
            return _anomalies([])
        arrived = _seconds(readings["appended_at"])
        self.clock = max(self.clock, float(arrived.max()))
        found = [self._arrivals(readings["device_id"].to_numpy(object), arrived)]
        long = self._long(readings)
        found.append(self._impossible_values(long))
        found.append(self._strange_values(long[~long["impossible"]]))
        found.append(self.silent_devices())
        return pd.concat([part for part in found if len(part)] or found[:1], ignore_index=True)

    def silent_devices(self) -> pd.DataFrame:
        """Return the devices that have become silent by now, which is `clock`."""
        limits = self._silence_limits()
        rows = []
        for name, device in self._devices.items():
            waited = self.clock - device.arrived
            if not device.silent and waited > limits.get(name, np.inf):
                device.silent = True
                rows.append(_silence(name, self.clock, waited, limits[name]))
        return _anomalies(rows)

    def _arrivals(
        self, devices: npt.NDArray[np.object_], arrived: npt.NDArray[np.float64]
    ) -> pd.DataFrame:
        """Note who sent; return those that were silent for a while between two readings."""
        limits = self._silence_limits()
        order = np.argsort(arrived, kind="stable")
        rows = []
        for name, moments in pd.Series(arrived[order]).groupby(devices[order], sort=False):
            device = self._devices.setdefault(str(name), _Device(float(moments.iloc[0])))
            gaps = np.diff(moments.to_numpy(), prepend=device.arrived)
            longest = int(np.argmax(gaps))
            limit = limits.get(str(name), np.inf)
            if gaps[longest] > limit and not (device.silent and longest == 0):
                end = float(moments.iloc[longest])
                rows.append(_silence(str(name), end - gaps[longest] + limit, gaps[longest], limit))
            device.arrived = max(device.arrived, float(moments.iloc[-1]))
            device.silent = False
        return _anomalies(rows)

    def _silence_limits(self) -> dict[str, float]:
        limits: dict[str, float] = {}
        for (device, _), limit in zip(self._series, silence_limit(self._states), strict=True):
            limits[device] = min(limits.get(device, np.inf), float(limit))
        return limits

    def _long(self, readings: pd.DataFrame) -> pd.DataFrame:
        """Return one row per value: series, seconds, device_id, quantity, value, impossible."""
        parts = [
            pd.DataFrame(
                {
                    "device_id": readings["device_id"],
                    "quantity": quantity,
                    "seconds": _seconds(readings["time"]),
                    "value": readings[quantity].astype(np.float64),
                    "damp": too_damp(readings["dew_point"].to_numpy(np.float64)),
                }
            )
            for quantity in QUANTITIES
        ]
        long = pd.concat(parts, ignore_index=True)
        long = long[long["value"].notna()]
        keys = list(zip(long["device_id"], long["quantity"], strict=True))
        for key in dict.fromkeys(keys):
            self._series.setdefault(key, len(self._series))
        more = len(self._series) - len(self._states)
        self._states = np.concatenate([self._states, new_states(more)])
        long["series"] = np.array([self._series[key] for key in keys], np.int64)
        long = long[long["seconds"] > self._states["seconds"][long["series"]]]
        long = long.sort_values(["series", "seconds"], kind="stable")
        long = long[~long.duplicated(["series", "seconds"])].reset_index(drop=True)
        bad = outside_limits(long["quantity"].to_numpy(object), long["value"].to_numpy())
        long["impossible"] = bad | long["damp"].to_numpy(bool)
        return long

    def _impossible_values(self, long: pd.DataFrame) -> pd.DataFrame:
        """Return where series begin to have impossible values."""
        if long.empty:
            return _anomalies([])
        first = ~long.duplicated("series")
        earlier = [
            key in self._impossible for key in zip(long["device_id"], long["quantity"], strict=True)
        ]
        before = (
            long["impossible"].shift(fill_value=False).where(~first, pd.Series(earlier, long.index))
        )
        begins = long[long["impossible"] & ~before.astype(bool)]
        for row in long[~long.duplicated("series", keep="last")].itertuples():
            change = self._impossible.add if row.impossible else self._impossible.discard
            change((row.device_id, row.quantity))
        return _anomalies(
            [
                (row.seconds, row.device_id, row.quantity, "impossible", row.value, None, None, 1.0)
                for row in begins.itertuples()
            ]
        )

    def _strange_values(self, long: pd.DataFrame) -> pd.DataFrame:
        if long.empty:
            return _anomalies([])
        judged = judge(
            self._states,
            long["series"].to_numpy(),
            long["seconds"].to_numpy(),
            long["value"].to_numpy(),
            self.tuning,
        )
        self._states = judged.states
        verdict = judged.verdict
        low, high = verdict.expected - verdict.margin, verdict.expected + verdict.margin
        rows = []
        for row, kind in zip(*np.nonzero(verdict.alarms), strict=True):
            about = long.iloc[row]
            rows.append(
                (
                    about["seconds"], about["device_id"], about["quantity"], KINDS[kind],
                    about["value"], low[row], high[row], verdict.alarms[row, kind],
                )
            )  # fmt: skip
        return _anomalies(rows)


def _silence(name: str, seconds: float, waited: float, limit: float) -> tuple[object, ...]:
    return (seconds, name, WHOLE_DEVICE, "silence", None, None, None, waited / limit)


def _anomalies(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    table = pd.DataFrame([(*row, VERSION) for row in rows], columns=list(COLUMNS))
    table["time"] = pd.to_datetime(table["time"].astype(np.float64), unit="s")
    for name in ("value", "expected_low", "expected_high", "score"):
        table[name] = table[name].astype(np.float64)
    table["detector_version"] = table["detector_version"].astype(np.int32)
    return table


def _seconds(times: pd.Series) -> npt.NDArray[np.float64]:
    stamps = times.dt.tz_localize(None) if times.dt.tz is not None else times
    whole = stamps.to_numpy().astype("datetime64[us]").astype(np.int64)
    return np.asarray(whole / 1e6)
