"""The fleet of devices: every kind of anomaly, none on clean data, and nothing forgotten."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.anomalies.faults import DAY_READINGS, INTERVAL_SECONDS, clean, faulty
from spark_app.anomalies.detector import CHANNELS, KINDS, STATE, VERSION, new_states
from spark_app.anomalies.fleet import Fleet
from spark_app.anomalies.lockstep import judge, judge_whole

# What was learnt: nine days of three devices.
DAYS = 9


def readings(devices: int = 3, days: float = DAYS) -> pd.DataFrame:
    seconds, quantities = clean(devices, days, 11)
    tables = [
        pd.DataFrame(
            {
                "device_id": f"bench-{row + 1:04d}",
                "time": pd.to_datetime(seconds, unit="s", utc=True),
                "received_at": pd.to_datetime(seconds + 0.1, unit="s", utc=True).round("us"),
                "appended_at": pd.to_datetime(seconds + 0.2, unit="s", utc=True).round("us"),
                "gateway": "gw1",
                "kafka_partition": row % 2,
                **{name: values[row] for name, values in quantities.items()},
                "dew_point": 10.0,
            }
        )
        for row in range(devices)
    ]
    return pd.concat(tables).sort_values("time", kind="stable").reset_index(drop=True)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return readings()


@pytest.fixture(scope="module")
def trained(table: pd.DataFrame) -> bytes:
    fleet = Fleet()
    assert fleet.observe(table[: 3 * DAY_READINGS * (DAYS - 1)]).empty, "clean data give no alarm"
    return fleet.to_bytes()


def last_day(table: pd.DataFrame) -> pd.DataFrame:
    return table[3 * DAY_READINGS * (DAYS - 1) :].reset_index(drop=True).copy()


def of_first(table: pd.DataFrame) -> np.ndarray:
    return np.flatnonzero(table["device_id"] == "bench-0001")


def test_state_of_a_series_is_small(trained: bytes) -> None:
    assert len(trained) / 6 <= 1024
    assert STATE.itemsize <= 1024
    assert new_states(1)["threshold"].shape == (1, 2 * len(CHANNELS))


def test_batches_and_restarts_change_nothing(table: pd.DataFrame, trained: bytes) -> None:
    day = last_day(table)
    rows = of_first(day)
    day.loc[rows[100:], "temperature"] += 3.0
    at_once = Fleet.from_bytes(trained).observe(day)
    state, parts = trained, []
    for begin in range(0, len(day), 97):
        fleet = Fleet.from_bytes(state)
        parts.append(fleet.observe(day[begin : begin + 97].reset_index(drop=True)))
        state = fleet.to_bytes()
    key = ["device_id", "quantity", "kind", "time"]
    in_parts = pd.concat([p for p in parts if len(p)]).sort_values(key, ignore_index=True)
    pd.testing.assert_frame_equal(at_once.sort_values(key, ignore_index=True), in_parts)
    assert set(at_once["kind"]) >= {"level_shift"}
    assert set(at_once["device_id"]) == {"bench-0001"}


def test_readings_that_come_again_are_passed_over(table: pd.DataFrame, trained: bytes) -> None:
    fleet = Fleet.from_bytes(trained)
    fleet.observe(last_day(table))
    before = fleet.to_bytes()
    assert fleet.observe(last_day(table)).empty
    assert fleet.to_bytes() == before


@pytest.mark.parametrize("column", ["temperature", "humidity"])
def test_impossible_value_is_told_once_and_not_learnt(
    table: pd.DataFrame, trained: bytes, column: str
) -> None:
    day = last_day(table)
    rows = of_first(day)
    day.loc[rows[50:60], column] = 400.0
    found = Fleet.from_bytes(trained).observe(day)
    assert found["kind"].to_list() == ["impossible"]
    assert found["quantity"].to_list() == [column]
    assert found["time"][0] == day["time"][rows[50]]


def test_temperature_and_humidity_that_do_not_fit(table: pd.DataFrame, trained: bytes) -> None:
    day = last_day(table)
    day.loc[of_first(day)[50:], "dew_point"] = 41.0
    found = Fleet.from_bytes(trained).observe(day)
    assert sorted(found["quantity"]) == ["humidity", "temperature"]
    assert set(found["kind"]) == {"impossible"}


def test_silence_is_told_once_by_the_devices_own_rhythm(
    table: pd.DataFrame, trained: bytes
) -> None:
    day = last_day(table)
    gone = of_first(day)[20:]
    found = Fleet.from_bytes(trained).observe(day.drop(index=gone).reset_index(drop=True))
    assert found[["device_id", "quantity", "kind"]].to_numpy().tolist() == [
        ["bench-0001", "all", "silence"]
    ]
    back = day.drop(index=gone[:30]).reset_index(drop=True)
    found = Fleet.from_bytes(trained).observe(back)
    assert found["kind"].to_list() == ["silence"], "a silence that ended within the batch"
    assert found["time"][0] == day["received_at"][of_first(day)[19]], "when it was last heard"


def test_all_are_silent_when_nothing_comes_for_long(trained: bytes) -> None:
    fleet = Fleet.from_bytes(trained)
    assert fleet.pass_time(2 * INTERVAL_SECONDS).empty
    found = fleet.pass_time(10 * INTERVAL_SECONDS)
    assert len(found) == 3
    assert set(found["gateway"]) == {"gw1"}
    assert fleet.pass_time(INTERVAL_SECONDS).empty


def later(table: pd.DataFrame, rows: slice, *columns: str) -> pd.DataFrame:
    """The last day, some of its rows with later times in some columns."""
    day = last_day(table)
    for column in columns:
        day.loc[day.index[rows], column] += pd.Timedelta("3h")
    return day


def test_a_gateway_without_uplink_makes_nobody_silent(table: pd.DataFrame, trained: bytes) -> None:
    # Three hours that Kafka got at once.
    day = last_day(table)
    day.loc[100:208, "appended_at"] = day["appended_at"][209]
    assert Fleet.from_bytes(trained).observe(day).empty


def test_a_gateways_clock_that_was_set_makes_nobody_silent(
    table: pd.DataFrame, trained: bytes
) -> None:
    day = later(table, slice(100, None), "received_at")
    assert Fleet.from_bytes(trained).observe(day).empty


def test_another_gateways_devices_do_not_make_one_silent(
    table: pd.DataFrame, trained: bytes
) -> None:
    day = last_day(table)
    fleet = Fleet.from_bytes(trained)
    moved = day["device_id"] == "bench-0001"
    day.loc[moved, "gateway"] = "gw2"
    assert fleet.observe(day[:150].reset_index(drop=True)).empty
    rest = day[150:][~moved[150:]].reset_index(drop=True)
    assert fleet.observe(rest).empty


def test_a_partition_that_is_read_later_makes_nobody_silent(
    table: pd.DataFrame, trained: bytes
) -> None:
    day = last_day(table)
    fleet = Fleet.from_bytes(trained)
    behind = day["kafka_partition"] == 1
    for part in (
        day[~behind | (day.index < 60)],
        day[behind & (day.index >= 60)],
    ):
        assert fleet.observe(part.reset_index(drop=True)).empty


def test_who_was_not_heard_for_long_is_forgotten(table: pd.DataFrame, trained: bytes) -> None:
    fleet = Fleet.from_bytes(trained)
    day = last_day(table)
    day = day[day["device_id"] != "bench-0001"].reset_index(drop=True)
    for column in ("time", "received_at", "appended_at"):
        day[column] += pd.Timedelta("100D")
    fleet.observe(day)
    assert b"bench-0001" not in fleet.to_bytes()
    assert Fleet.from_bytes(fleet.to_bytes()).to_bytes() == fleet.to_bytes()


def test_state_of_another_version_is_learnt_anew(trained: bytes) -> None:
    other = trained.replace(f'"version": {VERSION}'.encode(), b'"version": 999', 1)
    assert Fleet.from_bytes(other).places == {}, "what Kafka still has is learnt"
    assert len(Fleet.from_bytes(other).to_bytes()) < 200


def test_every_kind_of_fault_is_found() -> None:
    devices = [device for device in faulty(2, 16, 3) if device.kind not in {"silence", "drift"}]
    kinds = {"spike": "outlier"}
    verdicts = judge_whole([(device.seconds, device.temperatures) for device in devices])
    for device, verdict in zip(devices, verdicts, strict=True):
        during = (device.seconds >= device.begin) & (device.seconds < device.end)
        kind = KINDS.index(kinds.get(device.kind, device.kind))
        alarmed = verdict.alarms >= 1
        assert alarmed[during, kind].any(), device.kind
        assert not alarmed[device.seconds < device.begin].any(), device.kind


def test_order_of_a_batch_does_not_matter() -> None:
    chance = np.random.default_rng(2)
    series = np.repeat(np.arange(5), [40, 3, 90, 0, 17])
    seconds = np.concatenate([np.arange(n) * 60.0 for n in (40, 3, 90, 0, 17)])
    values = chance.normal(size=len(series))
    mixed = chance.permutation(len(series))
    mixed = mixed[np.argsort(seconds[mixed], kind="stable")]
    plain = judge(new_states(5), series, seconds, values)
    other = judge(new_states(5), series[mixed], seconds[mixed], values[mixed])
    np.testing.assert_array_equal(plain.states, other.states)
    np.testing.assert_array_equal(plain.verdict.score[mixed], other.verdict.score)
