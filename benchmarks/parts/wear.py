"""Bytes that the gateway's services write to disk for each reading: what wears an SD card out."""

import time
from pathlib import Path

from benchmarks import relays
from benchmarks.figures import Figure
from benchmarks.load import Broker, Publisher, send_from_another_process
from benchmarks.options import Options
from benchmarks.parts.relays import warm_up
from benchmarks.services import PERSISTENT, Service, Tail, create_topic, kafka, mosquitto

_RATES = (100, 1000)  # readings per second
_SECONDS = 20
_AFTER_SECONDS = 3  # for what is deleted, and the checkpoint of the spool's log


def run(options: Options) -> list[Figure]:
    """Send at several rates; Mosquitto keeps its store as role `mosquitto` has it."""
    figures: dict[str, list[float]] = {}
    missing: list[Figure] = []
    with kafka(options.folder / "kafka") as broker:
        for rate in _RATES:
            count = options.scaled(rate * _SECONDS)
            try:
                for repeat in range(options.repeats):
                    folder = options.folder / f"wear-{rate}-{repeat}"
                    folder.mkdir()
                    for name, written in _measure(folder, broker, rate, count).items():
                        figures.setdefault(f"wear.{name}_at_{rate}", []).append(written)
            except TimeoutError as error:
                missing.append(Figure(f"wear.at_{rate}", "B", [], str(error)))
    found = [Figure(f"{name}.bytes_per_reading", "B", values) for name, values in figures.items()]
    return found + missing


def _measure(folder: Path, broker: Service, rate: float, count: int) -> dict[str, float]:
    """Return the bytes for each reading, by service.

    Raises:
        TimeoutError: the broker does not take so many per second.
    """
    create_topic(broker, folder.name)
    tail = Tail(broker, folder.name)
    with (
        mosquitto(folder / "mosquitto", PERSISTENT) as mqtt,
        relays.bridge(folder, mqtt.port, broker.address, folder.name) as bridge,
    ):
        publisher = Publisher(Broker(mqtt.port))
        warm_up(publisher, bridge, tail)
        publisher.close()
        services = {"bridge": bridge, "mosquitto": mqtt.measured}
        before = {name: each.written_bytes() for name, each in services.items()}
        with send_from_another_process(Broker(mqtt.port), rate, 0, count, folder) as sent:
            sent()
        time.sleep(_AFTER_SECONDS)
        written = {name: each.written_bytes() - before[name] for name, each in services.items()}
    tail.close()
    return {name: number / count for name, number in written.items()}
