"""One reading's way, from the sensor to TimescaleDB and the archive."""

import json
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from testinfra.host import Host

from tools.pipeline import Pipeline, eventually


def rows_of(pipeline: Pipeline, device: str) -> list[tuple[Any, ...]]:
    return pipeline.query(
        "SELECT time, seq, temperature, humidity, dew_point, site, room, measurements, "
        "quality_flags FROM sensor_data WHERE device_id = %s",
        device,
    )


def test_a_reading_arrives_in_timescaledb_and_in_parquet(pipeline: Pipeline) -> None:
    site = pipeline.site("lab")
    device = f"way-{site}"
    captured = datetime.now(UTC)
    reading = {"device_id": device, "ts": captured.isoformat(), "seq": 7, "co2": 812}
    reading |= {"temperature": 25.0, "humidity": 50.0}
    pipeline.publish((f"sensors/{site}/{device}/telemetry", json.dumps(reading)))
    (row,) = eventually("the row", lambda: rows_of(pipeline, device), bool)
    time, seq, temperature, humidity, dew_point, stored_site, _, measurements, flags = row
    assert (time, seq, temperature, humidity) == (captured, 7, 25.0, 50.0)
    assert stored_site == site
    # 25 °C at 50 % relative humidity: 13.9 °C in the usual psychrometric tables.
    assert abs(dew_point - 13.9) < 0.1
    assert measurements == {"co2": 812}
    assert flags == []
    archived = eventually("the object", lambda: pipeline.archive(site).to_pylist(), bool)
    assert [(r["device_id"], r["seq"], r["temperature"]) for r in archived] == [(device, 7, 25.0)]


def test_a_known_device_brings_its_room_and_model(
    hosts: dict[str, Host], pipeline: Pipeline
) -> None:
    device = f"known-{pipeline.site('lab')}"
    known_by = f"VALUES ('{device}', 'B12', 'SHT45')"
    pipeline.change(hosts["db1"], f"INSERT INTO devices (device_id, room, model) {known_by}")
    find = (
        "SELECT count(*) FROM sensor_data WHERE device_id = %s AND room = 'B12' AND model = 'SHT45'"
    )

    def known() -> int:
        # The job looks at the table `devices` once a minute.
        payload = json.dumps({"device_id": device, "temperature": 20.0})
        pipeline.publish((f"sensors/lab/{device}/telemetry", payload))
        return int(pipeline.query(find, device)[0][0])

    eventually("a row with room and model", known, bool)


def test_a_reading_sent_twice_is_stored_once(pipeline: Pipeline) -> None:
    site = pipeline.site("twice")
    stamp = datetime.now(UTC).isoformat()
    for seq in (1, 1, 2):
        reading = {"device_id": site, "ts": stamp, "seq": seq, "temperature": 20.5}
        pipeline.publish((f"sensors/{site}/{site}/telemetry", json.dumps(reading)))
    eventually("the last one", lambda: pipeline.stored(site), lambda rows: (site, 2) in rows)
    assert pipeline.stored(site) == [(site, 1), (site, 2)]


BAD_INPUT = {
    b'{"temperature": ': b"not_json",
    b'{"temperature":21.5,"note":"\xc3\x28"}': b"invalid_utf8",
    b'{"temperature":NaN}': b"not_json",
    b'{"temperature":1e999}': b"number_out_of_range",
    b'{"temperature":1,"x":' + b"[" * 5000 + b"]" * 5000 + b"}": b"not_json",
    b'{"temperature":1,"temperature":2}': b"not_json",
    b'{"temperature":1}],[{"temperature":2}': b"not_json",
    b'{"temperature":1,"a\\u0000":1}': b"nul_character",
    b'{"temperature":"21.5"}': b"wrong_type:temperature",
    b'{"unknown":true}': b"no_quantity",
    # More than a Kafka producer sends unless it is told to.
    b'{"temperature":1,"note":"' + b"x" * 2_000_000: b"not_json",
    b"\xff" * 3_000_000: b"invalid_utf8",
}


def test_what_is_no_reading_goes_to_the_dead_letters_and_stops_no_other(pipeline: Pipeline) -> None:
    site = pipeline.site("broken")
    topic = f"sensors/{site}/{site}/telemetry"
    servers = pipeline.system.kafka("admin")
    consumer = Consumer({**servers, "group.id": "test-dead-letters"})
    partition = TopicPartition("sensor.dead_letter", 0)
    partition.offset = consumer.get_watermark_offsets(partition, timeout=20)[1]
    consumer.assign([partition])
    messages: list[tuple[str, bytes | str]] = []
    for seq, payload in enumerate(BAD_INPUT):
        good = json.dumps({"temperature": 20.5, "seq": seq}).encode()
        messages += [(topic, payload), (topic, good)]
    pipeline.publish(*messages)
    # No gateway wrote this one, so it has no topic.
    producer = Producer(servers)
    producer.produce("sensor.raw", key=site, value=site)
    producer.flush(20)

    letters: dict[bytes, Message] = {}

    def collect() -> int:
        for letter in consumer.consume(100, timeout=1):
            headers = dict(letter.headers())
            if site.encode() in (headers.get("mqtt_topic", b"") + letter.value()):
                letters[letter.value()] = letter
        return len(letters)

    wanted = BAD_INPUT | {site.encode(): b"topic_malformed"}
    eventually("the dead letters", collect, lambda count: count == len(wanted))
    assert {value: dict(m.headers())["reason"] for value, m in letters.items()} == wanted
    for value, letter in letters.items():
        headers = dict(letter.headers())
        assert headers["origin_topic"] == b"sensor.raw"
        place, offset = int(headers["origin_partition"]), int(headers["origin_offset"])
        consumer.assign([TopicPartition("sensor.raw", place, offset)])
        (origin,) = consumer.consume(1, timeout=20)
        assert (origin.offset(), origin.value()) == (offset, value)
        # What the gateway knew of it is still there, for a replay.
        assert set(origin.headers() or ()) <= set(letter.headers())
    consumer.close()

    good_ones = [(site, seq) for seq in range(len(BAD_INPUT))]
    eventually("the good ones", lambda: pipeline.stored(site), lambda rows: rows == good_ones)


def test_the_seeds_queries_work_as_written(hosts: dict[str, Host]) -> None:
    queries = (
        "SELECT * FROM sensor_data ORDER BY time DESC LIMIT 10;",
        "SELECT * FROM pipeline_kpi ORDER BY time DESC LIMIT 10;",
        "SELECT * FROM get_pipeline_latency_stats('1 hour'::interval);",
    )
    for query in queries:
        output = hosts["db1"].check_output(f'psql -U sensor_user -d sensordb -c "{query}"')
        assert "(0 rows)" not in output
    for stage in ("MQTT → Kafka", "Kafka → Spark", "Spark → TimescaleDB", "Total (bout en bout)"):
        assert stage in output


def test_every_stage_was_timed(pipeline: Pipeline) -> None:
    stages = pipeline.stages("1 hour")
    assert [stage["samples"] > 0 for stage in stages] == [True] * 4


def test_the_gateways_clock_and_spool_are_measured(pipeline: Pipeline) -> None:
    clocks = pipeline.query(
        "SELECT metric_name, gateway, last(max_ms, time) FROM pipeline_kpi "
        "WHERE metric_name LIKE 'gateway_clock_%%' GROUP BY 1, 2 ORDER BY 1"
    )
    assert [(name, gateway) for name, gateway, _ in clocks] == [
        ("gateway_clock_error", "gw1"),
        ("gateway_clock_offset", "gw1"),
    ]
    # All hosts share one clock, so chrony is sure of it within little, once it has run for a while.
    assert all(value < 1000 for *_, value in clocks)
    batches = "SELECT count(*) FROM processing_metrics WHERE query = 'store' AND spool_records >= 0"
    assert pipeline.query(batches)[0][0] > 0
