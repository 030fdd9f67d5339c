"""The MQTT side, with a real Mosquitto on a free port of this machine."""

import socket
import time
from collections.abc import Callable

from bridge_bench import NOON, publish, wait_for
from prometheus_client import CollectorRegistry

from bridge.clock import Stamp
from bridge.metrics import Metrics
from bridge.receiver import Receiver
from bridge.settings import Settings
from bridge.spool_file import Arrival


class Hold:
    """An outlet that takes messages and leaves it to the test when they are settled."""

    def __init__(self) -> None:
        self.taken: list[tuple[Arrival, Callable[[], None]]] = []

    def put(self, arrival: Arrival, settled: Callable[[], None]) -> None:
        self.taken.append((arrival, settled))


class Bench:
    """A receiver on a broker."""

    def __init__(self, port: int, max_in_flight: int = 1000) -> None:
        self.hold = Hold()
        self.registry = CollectorRegistry()
        self.failures: list[str] = []
        settings = Settings("127.0.0.1", "gw1", "k", mqtt_port=port, max_in_flight=max_in_flight)
        self.receiver = Receiver(
            settings,
            self.hold,
            lambda: Stamp(NOON, 0, "unsynchronised"),
            Metrics(self.registry),
            self.failures.append,
        )
        self.receiver.start()
        wait_for(self.receiver.subscribed.is_set)

    def acknowledged(self) -> float:
        return self.registry.get_sample_value("bridge_acknowledged_total") or 0

    def cut(self) -> None:
        """Break the receiver's connection, and wait until it is back."""
        connection = self.receiver._client.socket()  # noqa: SLF001
        assert isinstance(connection, socket.socket)
        connection.shutdown(socket.SHUT_RDWR)
        wait_for(lambda: not self.receiver.subscribed.is_set())
        wait_for(self.receiver.subscribed.is_set)

    def values(self) -> list[bytes]:
        return [arrival.payload for arrival, _ in self.hold.taken]


def test_unacknowledged_messages_come_again_and_old_settlements_count_for_nothing(
    broker: int,
) -> None:
    bench = Bench(broker)
    payloads = [b"%d" % number for number in range(5)]
    publish(broker, payloads)
    wait_for(lambda: len(bench.hold.taken) == 5)
    bench.cut()
    wait_for(lambda: len(bench.hold.taken) == 10)
    assert bench.values() == payloads * 2
    arrivals = [arrival for arrival, _ in bench.hold.taken]
    assert [arrival.repeated for arrival in arrivals] == [False] * 5 + [True] * 5
    ids = [arrival.packet_id for arrival in arrivals]
    assert ids[:5] == ids[5:]
    assert len(set(ids)) == 5
    assert arrivals[0].topic == b"sensors/s/d/telemetry"
    assert arrivals[0].stamp.wall_ns == NOON

    for _, settled in bench.hold.taken[:5]:  # late, from the connection that is gone
        settled()
    bench.receiver.acknowledge()
    assert bench.acknowledged() == 0

    for _, settled in reversed(bench.hold.taken[5:]):
        assert bench.acknowledged() == 0
        settled()
        bench.receiver.acknowledge()
    assert bench.acknowledged() == 5

    time.sleep(0.3)  # for the PUBACKs to leave
    bench.cut()
    time.sleep(0.3)
    assert len(bench.hold.taken) == 10, "an acknowledged message came again"
    bench.receiver.close()
    assert bench.failures == []


def test_the_broker_holds_back_what_exceeds_the_window(broker: int) -> None:
    bench = Bench(broker, max_in_flight=3)
    publish(broker, [b"%d" % number for number in range(8)])
    time.sleep(0.3)
    assert bench.values() == [b"0", b"1", b"2"]
    for position in range(8):
        wait_for(lambda position=position: len(bench.hold.taken) > position)  # type: ignore[misc]
        bench.hold.taken[position][1]()
        bench.receiver.acknowledge()
    assert bench.values() == [b"%d" % number for number in range(8)]
    bench.receiver.close()


def test_a_qos_0_message_goes_on_without_acknowledgement(broker: int) -> None:
    bench = Bench(broker)
    publish(broker, [b"{}"], qos=0)
    wait_for(lambda: bench.hold.taken)
    assert bench.hold.taken[0][0].packet_id == 0
    bench.hold.taken[0][1]()
    bench.receiver.acknowledge()
    assert bench.acknowledged() == 0
    bench.receiver.close()


def test_what_comes_while_stopping_waits_for_the_next_start(broker: int) -> None:
    bench = Bench(broker)
    bench.receiver.stop_receiving()
    publish(broker, [b"late"])
    time.sleep(0.3)
    assert bench.hold.taken == []
    bench.receiver.close()
    again = Bench(broker)
    wait_for(lambda: again.values() == [b"late"])
    again.receiver.close()
