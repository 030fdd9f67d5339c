"""The broker's own count of dropped messages, from a real Mosquitto with a queue that fills up."""

import logging
from pathlib import Path

import pytest
from bridge_bench import mosquitto, publish, settings, wait_for
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from prometheus_client import CollectorRegistry

from bridge.broker import BrokerWatch
from bridge.metrics import Metrics


def leave_a_session(port: int) -> None:
    """Subscribe as a reader that then goes away, and wants to find everything."""
    reader = Client(CallbackAPIVersion.VERSION2, "reader", protocol=MQTTv5)
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 3600
    subscribed: list[int] = []
    reader.on_subscribe = lambda *_: subscribed.append(1)
    reader.connect("127.0.0.1", port, clean_start=True, properties=properties)
    reader.loop_start()
    reader.subscribe("sensors/#", qos=1)
    wait_for(lambda: subscribed)
    reader.disconnect()
    reader.loop_stop()


def test_what_a_full_queue_dropped_is_counted_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with mosquitto(tmp_path, "max_queued_messages 10", "sys_interval 1") as port:
        leave_a_session(port)
        registry = CollectorRegistry()
        watch = BrokerWatch(settings(tmp_path, mqtt_port=port), Metrics(registry))
        watch.start()
        publish(port, [b"%d" % number for number in range(200)])
        try:
            wait_for(lambda: (registry.get_sample_value("bridge_broker_dropped_total") or 0) > 99)
        finally:
            watch.close()
    assert "broker_dropped_messages" in caplog.text
    assert "mosquitto_max_queued_bytes" in caplog.text


def test_brokers_figures_are_shown(tmp_path: Path) -> None:
    with mosquitto(tmp_path, "sys_interval 1") as port:
        registry = CollectorRegistry()
        watch = BrokerWatch(settings(tmp_path, mqtt_port=port), Metrics(registry))
        watch.start()
        publish(port, [b"%d" % number for number in range(20)])
        try:
            wait_for(lambda: (registry.get_sample_value("bridge_broker_received") or 0) >= 20)
            wait_for(lambda: registry.get_sample_value("bridge_broker_clients") == 1)
        finally:
            watch.close()
    assert (registry.get_sample_value("bridge_broker_sent") or 0) > 0


@pytest.mark.parametrize(
    ("figures", "count", "lines"),
    [
        ([0, 0, 0], 0, 0),
        ([5], 5, 1),  # dropped before the bridge started: still nobody was told
        ([0, 5, 5, 7], 7, 2),
        ([5, 0, 2], 7, 2),  # the broker started anew in between
    ],
)
def test_growth_is_told_once(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    figures: list[int],
    count: int,
    lines: int,
) -> None:
    caplog.set_level(logging.ERROR)
    registry = CollectorRegistry()
    watch = BrokerWatch(settings(tmp_path), Metrics(registry))
    for figure in figures:
        watch.note(figure)
    assert registry.get_sample_value("bridge_broker_dropped_total") == count
    assert caplog.text.count("broker_dropped_messages") == lines
