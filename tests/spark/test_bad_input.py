"""Input that is meant to do harm, or looks like it: what is decided about each kind."""

import json

import pytest
from pyspark.sql import SparkSession
from spark_records import Decode, Record

from tests.fuzz.judge import Judge

TWO_MEGABYTES = 2_000_000
GOOD = b'{"temperature":21.5,"seq":1}'


def reading(more: bytes) -> Record:
    return Record(b'{"temperature":21.5,' + more + b"}")


def to(topic: bytes) -> Record:
    return Record(GOOD, topic=topic)


REFUSED = [
    # A name twice, at any depth and however it is written, is no JSON: which value is meant?
    (reading(b'"seq":1,"seq":1'), "not_json"),
    (reading(b'"t\\u0065mperature":22'), "not_json"),
    (reading(b'"note":{"a":1,"a":1}'), "not_json"),
    # What would end the decoder's own wrapping early.
    (Record(GOOD + b"]"), "not_json"),
    (Record(GOOD + b"],[" + GOOD), "not_json"),
    (Record(GOOD + b"}"), "not_json"),
    (Record(GOOD + b',"":' + GOOD), "not_json"),
    (Record(b"],["), "not_json"),
    (Record(b"\xef\xbb\xbf" + GOOD), "not_json"),
    (Record(GOOD + b"\0"), "not_json"),
    (reading(b'"a\0b":1'), "not_json"),
    (reading(b'"note":"a\nb"'), "not_json"),
    # Half a pair of surrogates is no character, and PostgreSQL takes none.
    (reading(b'"\\ud800":1'), "not_json"),
    (reading(b'"note":"\\udc00\\ud800"'), "not_json"),
    (reading(b'"note":"\xed\xa0\x80"'), "invalid_utf8"),
    (reading(b'"note":"\xc0\x80"'), "invalid_utf8"),
    (reading(b'"note":"\xf4\x90\x80\x80"'), "invalid_utf8"),
    (Record(GOOD.decode().encode("utf-16")), "invalid_utf8"),
    (reading(b'"x":1e400'), "number_out_of_range"),
    (reading(b'"x":' + b"9" * 400), "number_out_of_range"),
    (reading(b'"seq":1e400'), "invalid_seq"),
    (reading(b'"seq":9007199254740992.5'), "invalid_seq"),
    (reading(b'"seq":9.223372036854775808e18'), "invalid_seq"),
    (reading(b'"seq":true'), "wrong_type:seq"),
    (reading(b'"device_id":""'), "device_id_differs"),
    (reading(b'"' + b"k" * 60_000 + b'":1'), "not_json"),
    (Record(b"\xff" * TWO_MEGABYTES), "invalid_utf8"),
    (Record(b"[" * TWO_MEGABYTES), "not_json"),
    (Record(b'{"a":' * (TWO_MEGABYTES // 5)), "not_json"),
    (Record(b'{"temperature":1,"note":"' + b"x" * TWO_MEGABYTES), "not_json"),
    (Record(b"9" * TWO_MEGABYTES), "not_json"),
    (to(b""), "topic_malformed"),
    (to(b"sensors/lab/+/telemetry"), "topic_malformed"),
    (to(b"sensors/lab/#"), "topic_malformed"),
    (to(b"sensors/lab/\0/telemetry"), "topic_malformed"),
    (to(b"sensors/lab/\xed\xa0\x80/telemetry"), "topic_malformed"),
    (to(b"$SYS/lab/dev1/telemetry"), "topic_malformed"),
    (to(b"Sensors/lab/dev1/telemetry"), "topic_malformed"),
    (to(b"/sensors/lab/dev1/telemetry"), "topic_malformed"),
    (to(b"sensors/lab/dev1/telemetry/"), "topic_malformed"),
    (to(b"/" * 65_535), "topic_malformed"),
    (to(b"sensors/" + b"s" * 60_000 + b"/dev1/telemetry"), "name_too_long"),
    (to(b"sensors/lab/" + "é".encode() * 128 + b"/telemetry"), "name_too_long"),
]

# Odd, but readings; the names and values are only data.
ACCEPTED = [
    Record(b" \t\r\n" + GOOD + b"\r\n"),
    Record(GOOD + b" " * TWO_MEGABYTES),
    reading(b'"note":"' + b"x" * TWO_MEGABYTES + b'"'),
    reading(b'"note":"\\u0000"'),
    reading(b'"note":{"\\u0000":1}'),
    reading(b'"note":[1e400]'),
    reading(b'"note":"]"'),
    reading(b'"list":[[1,2],[3]]'),
    reading(b'"ts":1e400'),
    reading(b'"ts":"\\u0000"'),
    reading(b'"replay":1e400'),
    reading(b'"humidity":-0.0,"x":-0'),
    reading(b'"humidity":1e-400,"x":4.9e-324,"y":1.7976931348623157e308'),
    reading(b'"x":' + b"9" * 38 + b',"y":' + b"9" * 39 + b',"z":0.' + b"1" * 500),
    reading(b'"seq":1e3'),
    reading(b'"seq":-0'),
    reading(b'"":1,"$.a":2,"a.b":3,"\\"":4,"\\\\":5'),
    reading('"é":1,"e\u0301":2,"\uffff":3,"\U0001f321":4,"\\ud83c\\udf21\\ufe0f":5'.encode()),
    reading(b'"' + b"k" * 40_000 + b'":1'),
    Record(json.dumps({f"k{number}": number for number in range(10_000)}).encode()),
    to(b"sensors/../../telemetry"),
    to(b"sensors/ /\t/telemetry"),
    to(b"sensors/lab/a\n\\.\nb/telemetry"),
    to(b"sensors/lab/\\N/telemetry"),
    to(b"sensors/lab/a\",'{};--/telemetry"),
    to("sensors/lab/\u202eved/telemetry".encode()),
    to(b"sensors/lab/" + b"d" * 255 + b"/telemetry"),
]


def test_hostile_records_are_refused_and_the_good_ones_between_them_are_not(
    decoded: Decode,
) -> None:
    rows = decoded([part for record, _ in REFUSED for part in (record, Record(GOOD))])
    got = [
        (record.topic, (record.value or b"")[:60], row["reason"])
        for (record, _), row in zip(REFUSED, rows[::2], strict=True)
    ]
    assert got == [(record.topic, (record.value or b"")[:60], reason) for record, reason in REFUSED]
    assert [row["reason"] for row in rows[1::2]] == [None] * len(REFUSED)
    # A dead letter is made of these.
    assert all(
        (row["value"], row["kafka_topic"], row["kafka_partition"], row["kafka_offset"])
        == (record.value, "sensor.raw", 0, 2 * number)
        for number, ((record, _), row) in enumerate(zip(REFUSED, rows[::2], strict=True))
    )


def test_odd_readings_are_readings(decoded: Decode) -> None:
    rows = decoded(ACCEPTED)
    for record, row in zip(ACCEPTED, rows, strict=True):
        assert row["reason"] is None, (record.topic, (record.value or b"")[:60])


def test_another_parser_finds_the_same_in_them_and_the_database_can_store_it(
    spark: SparkSession,
) -> None:
    judge = Judge(spark)
    judge.judge_records([(record.topic or b"", record.value or b"") for record in ACCEPTED])
    assert [fault[:300] for fault in judge.faults] == []
    assert judge.reasons == {None: len(ACCEPTED)}


@pytest.mark.parametrize(
    ("more", "seq", "measurements"),
    [
        (b'"seq":1e3', 1000, {}),
        (b'"seq":9223372036854775807', 2**63 - 1, {}),
        (b'"seq":-0', 0, {}),
        (b'"x":-0,"y":1e-400', -1, {"x": 0, "y": 0}),
        (b'"x":' + b"9" * 38, -1, {"x": int("9" * 38)}),
        (b'"x":' + b"9" * 39, -1, {"x": 1e39}),
        (b'"\\u00e9":1,"\\ud83c\\udf21":2', -1, {"é": 1, "\U0001f321": 2}),
    ],
)
def test_numbers_and_names_at_the_limits(
    decoded: Decode, more: bytes, seq: int, measurements: dict[str, float]
) -> None:
    (row,) = decoded([reading(more)])
    assert (row["reason"], row["seq"]) == (None, seq)
    assert json.loads(row["measurements"]) == measurements
