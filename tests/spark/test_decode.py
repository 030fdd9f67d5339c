"""Records to readings: what is refused and why, and which time a reading gets."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame
from pyspark.sql.types import ArrayType, StringType
from spark_records import ARRIVAL, Decode, Record

from spark_app.decode import decode
from spark_app.schema import CONTROL_COLUMNS, READING_COLUMNS
from spark_app.transforms import enrich
from telemetry.topics import parse_topic

DEEP = b'{"temperature":1,"x":' + b'{"x":' * 2000 + b"1" + b"}" * 2001

REFUSED = [
    (Record(None), "empty"),
    (Record(b""), "empty"),
    (Record(b" "), "not_json"),
    (Record(b"\xff\xfe\x00"), "invalid_utf8"),
    (Record(b'{"temperature":21.5,"note":"\xc3\x28"}'), "invalid_utf8"),
    (Record(b"{"), "not_json"),
    (Record(b"temperature=21"), "not_json"),
    (Record(b'{"temperature":21.5} and more'), "not_json"),
    (Record(b'{"temperature":21.5}{"temperature":22}'), "not_json"),
    (Record(b'{"temperature":21.5},{"temperature":22}'), "not_json"),
    (Record(b'{"temperature":21.5,"temperature":22}'), "not_json"),
    (Record(b'{"temperature":NaN}'), "not_json"),
    (Record(b'{"temperature":-Infinity}'), "not_json"),
    (Record(b"{'temperature':21.5}"), "not_json"),
    (Record(b'{"temperature":' + b"9" * 2000 + b"}"), "not_json"),
    (Record(DEEP), "not_json"),
    (Record(b"null"), "not_an_object"),
    (Record(b"21.5"), "not_an_object"),
    (Record(b'"21.5"'), "not_an_object"),
    (Record(b'[{"temperature":21.5}]'), "not_an_object"),
    (Record(b'{"temperature":1e999}'), "number_out_of_range"),
    (Record(b'{"temperature":21.5,"lux":-1e999}'), "number_out_of_range"),
    (Record(b'{"temperature":21.5,"a\\u0000b":1}'), "nul_character"),
    (Record(b'{"temperature":"21.5"}'), "wrong_type:temperature"),
    (Record(b'{"temperature":true}'), "wrong_type:temperature"),
    (Record(b'{"temperature":21.5,"humidity":[40]}'), "wrong_type:humidity"),
    (Record(b'{"temperature":21.5,"humidity":{"v":40}}'), "wrong_type:humidity"),
    (Record(b'{"temperature":21.5,"device_id":5}'), "wrong_type:device_id"),
    (Record(b'{"temperature":21.5,"device_id":"dev2"}'), "device_id_differs"),
    (Record(b'{"temperature":21.5,"device_id":"dev1\\u0000"}'), "device_id_differs"),
    (Record(b'{"temperature":21.5,"seq":"5"}'), "wrong_type:seq"),
    (Record(b'{"temperature":21.5,"seq":-1}'), "invalid_seq"),
    (Record(b'{"temperature":21.5,"seq":1.5}'), "invalid_seq"),
    (Record(b'{"temperature":21.5,"seq":9223372036854775808}'), "invalid_seq"),
    (Record(b"{}"), "no_quantity"),
    (Record(b'{"device_id":"dev1","ts":1767225600,"seq":1}'), "no_quantity"),
    (Record(b'{"temperature":null,"note":"x","ok":true}'), "no_quantity"),
    (Record(b'{"replay":0}'), "no_quantity"),
    (Record(b'{"temperature":1}', topic=None), "topic_malformed"),
    (Record(b'{"temperature":1}', topic=b"\xff"), "topic_malformed"),
    (Record(b'{"temperature":1}', topic=b"sensors/lab/dev1"), "topic_malformed"),
    (Record(b'{"temperature":1}', topic=b"sensors//dev1/telemetry"), "topic_malformed"),
    (Record(b'{"temperature":1}', topic=b"sensors/a/b/c/telemetry"), "topic_malformed"),
    (Record(b'{"temperature":1}', topic=b"sensors/lab/dev1/telemetry\n"), "topic_malformed"),
    (
        Record(b'{"temperature":1}', topic=b"sensors/a/" + b"d" * 256 + b"/telemetry"),
        "name_too_long",
    ),
]

REASONS = {reason for _, reason in REFUSED}


def payload(**fields: object) -> Record:
    return Record(json.dumps({"temperature": 21.5} | fields).encode())


def test_bad_records_are_refused_with_the_reason(decoded: Decode) -> None:
    rows = decoded([record for record, _ in REFUSED])
    got = [
        (record.value, record.topic, row["reason"])
        for (record, _), row in zip(REFUSED, rows, strict=True)
    ]
    assert got == [(record.value, record.topic, reason) for record, reason in REFUSED]


def test_good_record_becomes_a_reading(decoded: Decode) -> None:
    value = (
        b'{"device_id":"dev1","ts":"2026-03-01T13:59:58.123456+02:00","seq":7,'
        b'"temperature":20.48,"humidity":42.332,"lux":185.71,"count":5,"tiny":1e-7,'
        b'"note":"x","ok":true,"none":null,"nested":{"a":1}}'
    )
    (row,) = decoded([Record(value)])
    assert row["reason"] is None
    assert row["device_id"] == "dev1"
    assert row["topic_site"] == "lab"
    assert row["seq"] == 7
    assert (row["temperature"], row["humidity"]) == (20.48, 42.332)
    assert json.loads(row["measurements"]) == {"lux": 185.71, "count": 5, "tiny": 1e-7}
    assert row["gateway"] == "gw1"
    assert row["time"].astimezone(UTC) == datetime(2026, 3, 1, 11, 59, 58, 123456, tzinfo=UTC)
    assert row["sensor_ts"] is None
    assert row["received_at"].astimezone(UTC) == ARRIVAL
    assert row["clock_believed"] is True
    assert row["quality_flags"] == []
    assert row["payload_bytes"] == len(value)
    assert row["read_at"].astimezone(UTC) > ARRIVAL


def test_fields_may_be_absent(decoded: Decode) -> None:
    rows = decoded(
        [
            Record(b'{"humidity":40}'),
            Record(b'{"co2":417}'),
            Record(b'{"temperature":-0.0,"seq":null,"device_id":null}'),
            Record(b'{"temperature":1,"seq":5.0}'),
        ]
    )
    assert [row["reason"] for row in rows] == [None] * 4
    assert [row["seq"] for row in rows] == [-1, -1, -1, 5]
    assert rows[0]["temperature"] is None
    assert json.loads(rows[1]["measurements"]) == {"co2": 417}


TIMES: list[tuple[Record, datetime, list[str], datetime | None]] = [
    (payload(), ARRIVAL, ["ts_missing"], None),
    (payload(ts=None), ARRIVAL, ["ts_missing"], None),
    (payload(ts="yesterday"), ARRIVAL, ["ts_unreadable"], None),
    (payload(ts="2026-03-01T12:00:00"), ARRIVAL, ["ts_unreadable"], None),
    (payload(ts="2026-02-30T12:00:00Z"), ARRIVAL, ["ts_unreadable"], None),
    (payload(ts={"s": 1}), ARRIVAL, ["ts_unreadable"], None),
    (payload(ts=1e300), ARRIVAL, ["ts_unreadable"], None),
    (payload(ts=10**30), ARRIVAL, ["ts_unreadable"], None),
    (payload(ts="2026-03-01T11:59:59Z"), ARRIVAL - timedelta(seconds=1), [], None),
    (payload(ts="2026-03-01 11:59:59.5Z"), ARRIVAL - timedelta(seconds=0.5), [], None),
    (payload(ts="2026-03-01T13:00:00+0100"), ARRIVAL, [], None),
    (payload(ts="2026-03-01T12:04:59Z"), ARRIVAL + timedelta(seconds=299), [], None),
    (payload(ts=1772366400), ARRIVAL, [], None),
    (payload(ts=1772366400.25), ARRIVAL + timedelta(seconds=0.25), [], None),
    (payload(ts=1772366400123), ARRIVAL + timedelta(milliseconds=123), [], None),
    (
        payload(ts="2026-03-01T12:05:01Z"),
        ARRIVAL,
        ["ts_in_future"],
        ARRIVAL + timedelta(seconds=301),
    ),
    (payload(ts=0), ARRIVAL, ["ts_before_2020"], datetime(1970, 1, 1, tzinfo=UTC)),
    (payload(ts=-(10**12)), ARRIVAL, ["ts_before_2020"], None),
    (payload(ts=8 * 10**15), ARRIVAL, ["ts_in_future"], None),
    (
        payload(ts=1458031648545, replay=True),
        datetime(2016, 3, 15, 8, 47, 28, 545000, tzinfo=UTC),
        ["replayed"],
        None,
    ),
    (
        payload(ts=1458031648545, replay="true"),
        ARRIVAL,
        ["ts_before_2020"],
        datetime(2016, 3, 15, 8, 47, 28, 545000, tzinfo=UTC),
    ),
    (payload(replay=True), ARRIVAL, ["ts_missing", "replayed"], None),
]


def test_time_is_the_sensors_where_it_can_be_believed(decoded: Decode) -> None:
    rows = decoded([record for record, *_ in TIMES])
    for (record, time, flags, sensor_ts), row in zip(TIMES, rows, strict=True):
        got = row["sensor_ts"] and row["sensor_ts"].astimezone(UTC)
        assert row["reason"] is None, record
        assert (row["time"].astimezone(UTC), row["quality_flags"], got) == (
            time,
            flags,
            sensor_ts,
        ), record
        assert row["clock_believed"] is (flags == []), record


@pytest.mark.parametrize(
    "received_ns",
    [None, b"soon", b"", b"0", b"-5", b"9999999999999999999999", b"4102444800000000000"],
)
def test_gateway_clock_that_is_wrong_is_replaced_by_kafkas(
    decoded: Decode, received_ns: bytes | None
) -> None:
    (row,) = decoded([Record(b'{"temperature":1}', received_ns=received_ns)])
    assert row["time"] == row["appended_at"]
    assert row["quality_flags"] == ["ts_missing", "gateway_clock"]


@pytest.mark.parametrize(
    ("quality", "flags"),
    [
        (b"synchronised", ["ts_missing"]),
        (b"unsynchronised", ["ts_missing", "gateway_unsynchronised"]),
        (b"corrected", ["ts_missing", "gateway_time_corrected"]),
        (b"estimated", ["ts_missing", "gateway_time_corrected"]),
        (b"past", ["ts_missing", "gateway_clock"]),
    ],
)
def test_quality_of_the_gateways_clock_flags_the_times_that_come_from_it(
    decoded: Decode, quality: bytes, flags: list[str]
) -> None:
    more = (("clock_quality", quality),)
    rows = decoded(
        [
            Record(b'{"temperature":1}', more=more),
            Record(b'{"temperature":1,"ts":"2026-03-01T11:59:59Z"}', more=more),
        ]
    )
    assert rows[0]["quality_flags"] == flags
    assert rows[0]["clock_believed"] is False
    # The sensor's own time needs no gateway.
    assert rows[1]["quality_flags"] == [flag for flag in flags[1:] if flag == "gateway_clock"]
    assert rows[1]["clock_believed"] is True


def test_a_gateway_an_hour_behind_makes_no_sensor_wrong(decoded: Decode) -> None:
    behind = str(int((ARRIVAL - timedelta(hours=1)).timestamp()) * 10**9).encode()
    (row,) = decoded([Record(b'{"temperature":1,"ts":"2026-03-01T12:00:00Z"}', received_ns=behind)])
    assert (row["time"].astimezone(UTC), row["quality_flags"]) == (ARRIVAL, [])


def test_readings_in_one_millisecond_without_any_clock_stay_apart_and_in_order(
    decoded: Decode,
) -> None:
    rows = decoded([Record(b'{"temperature":1}', received_ns=b"0")] * 20)
    times = [row["time"] for row in rows]
    assert times == sorted(set(times))


def test_spool_and_clock_figures_come_from_the_headers(decoded: Decode) -> None:
    known = (
        ("clock_offset_ns", b"-16385"),
        ("clock_error_ns", b"64000"),
        ("spool_seq", b"12"),
        ("spool_waiting", b"3"),
    )
    names = ("clock_offset_us", "clock_error_us", "spool_seq", "spool_waiting")
    first, second = decoded([Record(b'{"temperature":1}', more=m) for m in (known, ())])
    assert [first[name] for name in names] == [-16, 64, 12, 3]
    assert [second[name] for name in names] == [None] * 4


def test_gateway_name_is_made_storable(decoded: Decode) -> None:
    rows = decoded(
        [Record(b'{"temperature":1}', gateway=g) for g in (b"g\x00w", b"\xff", None, "é".encode())]
    )
    assert [row["gateway"] for row in rows] == ["gw", None, None, "é"]


@given(
    st.lists(
        st.one_of(
            st.text(alphabet="sensor/telemetry+#\0é", max_size=30),
            st.tuples(st.text(max_size=5), st.text(max_size=5)).map(
                lambda pair: f"sensors/{pair[0]}/{pair[1]}/telemetry"
            ),
        ),
        min_size=50,
        max_size=100,
    )
)
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_topics_are_read_as_the_bridge_reads_them(decoded: Decode, topics: list[str]) -> None:
    encoded = [topic.encode(errors="ignore") for topic in topics]
    rows = decoded([Record(b'{"temperature":1}', topic=topic) for topic in encoded])
    for topic, row in zip(encoded, rows, strict=True):
        parts = parse_topic(topic.decode())
        assert (row["reason"] != "topic_malformed") == (parts is not None), topic
        if parts is not None:
            assert (row["topic_site"], row["device_id"]) == tuple(parts)


NUMBERS = st.one_of(st.integers(), st.floats(), st.decimals().map(str))
VALUES = st.recursive(
    st.one_of(NUMBERS, st.none(), st.booleans(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)
NAMES = st.one_of(
    st.sampled_from(["device_id", "ts", "seq", "temperature", "humidity", "replay"]),
    st.text(max_size=5),
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=6).map(lambda d: json.dumps(d).encode())
BROKEN = st.tuples(DOCUMENTS, st.integers(0, 200), st.binary(max_size=3)).map(
    lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]
)


@given(st.lists(st.one_of(st.binary(max_size=60), DOCUMENTS, BROKEN), min_size=100, max_size=120))
@settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # Each try is a Spark job; the message names the one payload that matters anyway.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
def test_no_payload_stops_the_stream(decoded: Decode, values: list[bytes]) -> None:
    rows = decoded([Record(value) for value in values])
    assert len(rows) == len(values)
    for value, row in zip(values, rows, strict=True):
        if row["reason"] is not None:
            assert row["reason"] in REASONS, value
            continue
        json.loads(value)
        assert row["time"] is not None, value
        measurements = json.loads(row["measurements"])
        assert measurements or row["temperature"] is not None or row["humidity"] is not None


def test_decoding_is_expressions_only(source: Callable[[list[Record]], DataFrame]) -> None:
    frame = source([Record(b"{}")]).transform(decode).transform(enrich)
    plan = frame._jdf.queryExecution().optimizedPlan().toString()  # noqa: SLF001 - no public way
    for forbidden in ("UDF", "Aggregate", "Join", "Window", "Sort"):
        assert forbidden not in plan
    wanted = set(READING_COLUMNS) - {"batch_id", "site", "room", "model"} | set(CONTROL_COLUMNS)
    assert wanted | {"key", "value", "headers", "topic_site"} == set(frame.columns)


def test_what_is_never_null_is_declared_so(source: Callable[[list[Record]], DataFrame]) -> None:
    """Archive files of before and after a change are read together only if they agree in that."""
    fields = enrich(decode(source([Record(b"{}")]))).schema.fields
    assert {field.name for field in fields if not field.nullable} == {
        *("payload_bytes", "resent", "seq", "clock_believed", "quality_flags")
    }
    flags = next(field.dataType for field in fields if field.name == "quality_flags")
    assert flags == ArrayType(StringType(), containsNull=False)
