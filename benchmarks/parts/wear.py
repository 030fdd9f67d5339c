"""Bytes that the gateway's services write to disk for each reading: what wears an SD card out."""

import time

from benchmarks import relays
from benchmarks.figures import Figure
from benchmarks.load import Publisher, send_from_another_process
from benchmarks.options import Options
from benchmarks.parts.relays import warm_up
from benchmarks.services import PERSISTENT, Tail, create_topic, kafka, mosquitto

_RATES = (100, 1000)  # readings per second
_SECONDS = 20
_AFTER_SECONDS = 3  # for what is deleted, and the checkpoint of the spool's log


def run(options: Options) -> list[Figure]:
    """Send at several rates; Mosquitto keeps its store as role `mosquitto` has it."""
    figures: dict[str, list[float]] = {}
    with kafka(options.folder / "kafka") as broker:
        for repeat in range(options.repeats):
            for rate in _RATES:
                folder = options.folder / f"wear-{rate}-{repeat}"
                folder.mkdir()
                topic = f"wear-{rate}-{repeat}"
                create_topic(broker, topic)
                count = options.scaled(rate * _SECONDS)
                tail = Tail(broker, topic)
                with (
                    mosquitto(folder / "mosquitto", PERSISTENT) as mqtt,
                    relays.bridge(folder, mqtt.port, broker.address, topic) as bridge,
                ):
                    warm_up(Publisher(mqtt.port), bridge, tail)
                    services = {"bridge": bridge, "mosquitto": mqtt.measured}
                    before = {name: each.written_bytes() for name, each in services.items()}
                    with send_from_another_process(mqtt.port, rate, 0, count, folder) as sent:
                        sent()
                    time.sleep(_AFTER_SECONDS)
                    for name, each in services.items():
                        written = (each.written_bytes() - before[name]) / count
                        figures.setdefault(f"wear.{name}_at_{rate}", []).append(written)
                tail.close()
    return [Figure(f"{name}.bytes_per_reading", "B", values) for name, values in figures.items()]
