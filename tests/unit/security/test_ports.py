"""What was declared is what counts, for whoever looks."""

import socket
from pathlib import Path

import pytest
import yaml

from tests.security import broker, database, spark_master, store
from tests.security.ports import Declared, compare

ROOT = Path(__file__).resolve().parents[3]
ALLOW = [
    {"name": "MQTT", "port": "8883, 8884"},
    {"name": "Kafka", "port": 9092, "from": ["10.0.0.7", "10.1.0.0/16"]},
    {"name": "Spark", "port": "1024-1026", "from": ["10.0.0.8"]},
    {"name": "NTP", "port": 123, "protocol": "udp"},
]


def test_ports_are_open_to_those_they_are_meant_for() -> None:
    declared = Declared("host", ALLOW, firewall=True)
    assert declared.ports() == {22, 8883, 8884, 9092, 1024, 1025, 1026}
    assert declared.ports("10.9.9.9") == {22, 8883, 8884}
    assert declared.ports("10.1.2.3") == {22, 8883, 8884, 9092}


def test_an_open_port_that_nobody_declared_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.security.ports._my_address", lambda _host: "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        near = range(max(port - 2500, 1), min(port + 2500, 65_536))
        bare = compare(Declared("127.0.0.1", [], firewall=False), near)
        allow = [{"name": "x", "port": port}]
        told = compare(Declared("127.0.0.1", allow, firewall=False), near)
    assert port in bare["undeclared"]
    assert port in told["found"]
    assert port not in told["undeclared"]


def test_the_doors_that_are_attacked_are_those_of_the_wiring() -> None:
    wiring = (ROOT / "playbooks" / "vars" / "wiring.yml").read_text(encoding="utf-8")
    listeners = yaml.safe_load(wiring)["mosquitto_listeners"]
    assert {entry["port"] for entry in listeners} == {1883, 8883, 8884, 8885, 1884}
    of_roles = {
        "kafka": {
            "listen_port": broker.CLIENTS,
            "controller_port": broker.CONTROLLERS,
            "metrics_port": broker.METRICS,
        },
        "timescaledb": {"port": database.PORT},
        "minio": {"port": store.PORT},
        "spark": {"master_port": spark_master.MASTER},
    }
    for role, ports in of_roles.items():
        text = (ROOT / "roles" / role / "defaults" / "main.yml").read_text(encoding="utf-8")
        defaults = yaml.safe_load(text)
        assert {name: defaults[f"{role}_{name}"] for name in ports} == ports
