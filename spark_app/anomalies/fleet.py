"""All devices: what was learnt of each, and what a batch of their readings tells."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from spark_app.anomalies.detector import KINDS, STATE, VERSION, Tuning, new_states
from spark_app.anomalies.lockstep import judge
from spark_app.anomalies.rules import outside_limits, silence_limit, too_damp

QUANTITIES = ("temperature", "humidity")

# What `observe` looks at.
READING_COLUMNS = (
    "device_id", "gateway", "time", "received_at", "appended_at", "kafka_partition", *QUANTITIES,
    "dew_point",
)  # fmt: skip

# The quantity of an anomaly that concerns all of a device's.
WHOLE_DEVICE = "all"

COLUMNS = (
    "time", "device_id", "gateway", "quantity", "kind", "value", "expected_low", "expected_high",
    "score", "detector_version",
)  # fmt: skip

_HEADER_END = b"\n"
# A device that was not heard for so long is forgotten when the fleet is written.
_FORGET_SECONDS = 90 * 86_400.0


@dataclass
class _Heard:
    """Two clocks, seconds since 1970: the gateway's, and that of Kafka.

    A silence has to be one by both: a gateway's clock that was set, or a Kafka that was down and
    then got all at once what its gateways had kept, makes nobody silent.
    """

    received: float
    appended: float

    def move(self, received: float, appended: float) -> None:
        self.received = max(self.received, received)
        self.appended = max(self.appended, appended)

    def since(self, earlier: "_Heard") -> float:
        return min(self.received - earlier.received, self.appended - earlier.appended)


@dataclass
class _Device:
    """What is known of a device beside its series."""

    heard: _Heard
    gateway: str
    silent: bool = False


@dataclass
class Fleet:
    """States of all devices.

    Attributes:
        tuning: of the detector.
        places: by Kafka partition the first offset that is not learnt yet; whoever reads from there
            on with what `to_bytes` returned misses nothing.
    """

    tuning: Tuning | None = None
    places: dict[int, int] = field(default_factory=dict)
    _series: dict[tuple[str, str], int] = field(default_factory=dict)
    _states: npt.NDArray[np.void] = field(default_factory=lambda: new_states(0))
    _devices: dict[str, _Device] = field(default_factory=dict)
    # Up to when all that a gateway sent has been read.
    _gateways: dict[str, _Heard] = field(default_factory=dict)
    _impossible: set[tuple[str, str]] = field(default_factory=set)  # in their newest reading

    @classmethod
    def from_bytes(cls, data: bytes, tuning: Tuning | None = None) -> "Fleet":
        """Read what `to_bytes` wrote; what another version learnt is not taken over.

        Raises:
            ValueError: it is something else.
        """
        header, _, states = data.partition(_HEADER_END)
        known = json.loads(header)
        if known["version"] != VERSION:
            return cls(tuning)
        return cls(
            tuning,
            {int(partition): offset for partition, offset in known["places"].items()},
            {(device, quantity): row for row, (device, quantity) in enumerate(known["series"])},
            np.frombuffer(states, STATE).copy(),
            {
                name: _Device(_Heard(**about.pop("heard")), **about)
                for name, about in known["devices"].items()
            },
            {name: _Heard(**clocks) for name, clocks in known["gateways"].items()},
            {(device, quantity) for device, quantity in known["impossible"]},
        )

    def to_bytes(self) -> bytes:
        """Return all of it; STATE.itemsize and the names per series."""
        newest = max((device.heard.appended for device in self._devices.values()), default=0.0)
        devices = {
            name: asdict(device)
            for name, device in self._devices.items()
            if newest - device.heard.appended < _FORGET_SECONDS
        }
        series = {key: row for key, row in self._series.items() if key[0] in devices}
        header = {
            "version": VERSION,
            "places": self.places,
            "series": list(series),
            "devices": devices,
            "gateways": {name: asdict(clocks) for name, clocks in self._gateways.items()},
            "impossible": sorted(key for key in self._impossible if key[0] in devices),
        }
        states = self._states[list(series.values())]
        return json.dumps(header).encode() + _HEADER_END + states.tobytes()

    def observe(self, readings: pd.DataFrame) -> pd.DataFrame:
        """Judge and learn a batch.

        Args:
            readings: READING_COLUMNS, times in UTC; gateway, received_at, quantities and dew point
                may be missing. In any order; what is no newer than what its series has seen is
                passed over. A device's readings are in one Kafka partition; of each partition the
                batch holds all up to some time, or there are no more.

        Returns:
            Anomalies: COLUMNS; a score of 1 is just one, more is stranger.
        """
        if readings.empty:
            return _anomalies([])
        found = [self._arrivals(readings)]
        long = self._long(readings)
        found.append(self._impossible_values(long))
        found.append(self._strange_values(long[~long["impossible"]].reset_index(drop=True)))
        found.append(self.silent_devices())
        return pd.concat([part for part in found if len(part)] or found[:1], ignore_index=True)

    def pass_time(self, seconds: float) -> pd.DataFrame:
        """Return who has become silent while for so long nothing came, from no gateway."""
        for clocks in self._gateways.values():
            clocks.move(clocks.received + seconds, clocks.appended + seconds)
        return self.silent_devices()

    def silent_devices(self) -> pd.DataFrame:
        """Return the devices that are silent while their gateways go on sending."""
        limits = self._silence_limits()
        rows = []
        for name, device in self._devices.items():
            waited = self._gateways[device.gateway].since(device.heard)
            if not device.silent and waited > limits.get(name, np.inf):
                device.silent = True
                rows.append(_silence(name, device, waited, limits[name]))
        return _anomalies(rows)

    def _arrivals(self, readings: pd.DataFrame) -> pd.DataFrame:
        """Note who sent; return those that were silent for a while between two readings."""
        appended = _seconds(readings["appended_at"])
        received = _seconds(readings["received_at"].fillna(readings["appended_at"]))
        gateways = readings["gateway"].fillna("").to_numpy(object)
        limits = self._silence_limits()
        order = np.argsort(appended, kind="stable")
        groups = pd.Series(order).groupby(readings["device_id"].to_numpy(object)[order], sort=False)
        rows = []
        for name, at in groups:
            here = at.to_numpy()
            first = _Heard(float(received[here[0]]), float(appended[here[0]]))
            device = self._devices.setdefault(str(name), _Device(first, ""))
            gaps = np.minimum(
                np.diff(received[here], prepend=device.heard.received),
                np.diff(appended[here], prepend=device.heard.appended),
            )
            longest = int(np.argmax(gaps))
            limit = limits.get(str(name), np.inf)
            if gaps[longest] > limit and not (device.silent and longest == 0):
                if longest > 0:
                    before = here[longest - 1]
                    device.heard.move(received[before], appended[before])
                rows.append(_silence(str(name), device, float(gaps[longest]), limit))
            device.heard.move(float(received[here].max()), float(appended[here].max()))
            device.gateway = str(gateways[here[-1]])
            device.silent = False
        self._read_up_to(readings["kafka_partition"].to_numpy(), gateways, received, appended)
        return _anomalies(rows)

    def _read_up_to(
        self,
        partitions: npt.NDArray[np.int64],
        gateways: npt.NDArray[np.object_],
        received: npt.NDArray[np.float64],
        appended: npt.NDArray[np.float64],
    ) -> None:
        """Move the gateways' clocks to where each partition has been read."""
        ends = pd.Series(appended).groupby(partitions).max()
        read = appended <= ends.min()
        for name in dict.fromkeys(gateways):
            mine = read & (gateways == name)
            clocks = self._gateways.setdefault(str(name), _Heard(0.0, 0.0))
            if mine.any():
                clocks.move(float(received[mine].max()), float(appended[mine].max()))

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
                (
                    *(row.seconds, row.device_id, self._devices[row.device_id].gateway),
                    *(row.quantity, "impossible", row.value, None, None, 1.0),
                )
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
            seconds, device, quantity, value = long.loc[
                row, ["seconds", "device_id", "quantity", "value"]
            ]
            where = seconds, device, self._devices[device].gateway, quantity, KINDS[kind]
            rows.append((*where, value, low[row], high[row], verdict.alarms[row, kind]))
        return _anomalies(rows)


def _silence(name: str, device: _Device, waited: float, limit: float) -> tuple[object, ...]:
    """Return the anomaly of a device that was last heard when `device` says."""
    rest = (WHOLE_DEVICE, "silence", None, None, None, waited / limit)
    return (device.heard.received, name, device.gateway, *rest)


def _anomalies(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    table = pd.DataFrame([(*row, VERSION) for row in rows], columns=list(COLUMNS))
    micros = (table["time"].astype(np.float64) * 1e6).round().astype(np.int64)
    table["time"] = pd.to_datetime(micros, unit="us", utc=True)
    for name in ("value", "expected_low", "expected_high", "score"):
        table[name] = table[name].astype(np.float64)
    table["detector_version"] = table["detector_version"].astype(np.int32)
    return table


def _seconds(times: pd.Series) -> npt.NDArray[np.float64]:
    stamps = times.dt.tz_localize(None) if times.dt.tz is not None else times
    whole = stamps.to_numpy().astype("datetime64[us]").astype(np.int64)
    return np.asarray(whole / 1e6)
