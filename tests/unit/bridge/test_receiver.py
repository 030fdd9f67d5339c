"""The MQTT side, with a real Mosquitto on a free port of this machine."""

import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from bridge_bench import NOON, mosquitto, publish, wait_for
from prometheus_client import CollectorRegistry

from benchmarks.services import free_port
from bridge import mqtt
from bridge.clock import Stamp
from bridge.metrics import Metrics
from bridge.receiver import Receiver
from bridge.settings import Settings
from bridge.spool_file import Arrival
from tests.security.certificates import Maker


class Hold:
    """An outlet that takes messages and leaves it to the test when they are settled."""

    def __init__(self) -> None:
        self.taken: list[Arrival] = []
        self.settlements: list[Callable[[], None]] = []

    def put(self, arrivals: Sequence[Arrival], settled: Callable[[], None]) -> None:
        self.taken += arrivals
        self.settlements.append(settled)


class Bench:
    """A receiver on a broker."""

    def __init__(self, port: int, max_in_flight: int = 1000, ca_file: str = "") -> None:
        self.hold = Hold()
        self.registry = CollectorRegistry()
        self.failures: list[str] = []
        settings = Settings(
            "127.0.0.1",
            "gw1",
            "k",
            mqtt_port=port,
            mqtt_ca_file=ca_file,
            max_in_flight=max_in_flight,
        )
        self.receiver = Receiver(
            settings,
            self.hold,
            lambda count: [Stamp(NOON, 0, "unsynchronised")] * count,
            Metrics(self.registry),
            self.failures.append,
        )
        self.receiver.start()
        wait_for(self.receiver.subscribed.is_set)

    def acknowledged(self) -> float:
        return self.registry.get_sample_value("bridge_acknowledged_total") or 0

    def cut(self) -> None:
        """Break the receiver's connection, and wait until it is back."""
        connection = self.receiver._connection  # noqa: SLF001
        assert connection is not None
        connection._socket.shutdown(socket.SHUT_RDWR)  # noqa: SLF001
        wait_for(lambda: not self.receiver.subscribed.is_set())
        wait_for(self.receiver.subscribed.is_set)

    def values(self) -> list[bytes]:
        return [arrival.payload for arrival in self.hold.taken]

    def settle(self) -> None:
        """Settle what was taken so far."""
        settlements, self.hold.settlements = self.hold.settlements, []
        for settled in settlements:
            settled()


def test_unacknowledged_messages_come_again_and_old_settlements_count_for_nothing(
    broker: int,
) -> None:
    bench = Bench(broker)
    payloads = [b"%d" % number for number in range(5)]
    publish(broker, payloads)
    wait_for(lambda: len(bench.hold.taken) == 5)
    late = bench.hold.settlements.copy()
    bench.hold.settlements.clear()
    bench.cut()
    wait_for(lambda: len(bench.hold.taken) == 10)
    assert bench.values() == payloads * 2
    arrivals = bench.hold.taken
    assert [arrival.repeated for arrival in arrivals] == [False] * 5 + [True] * 5
    ids = [arrival.packet_id for arrival in arrivals]
    assert ids[:5] == ids[5:]
    assert len(set(ids)) == 5
    assert arrivals[0].topic == b"sensors/s/d/telemetry"
    assert arrivals[0].stamp.wall_ns == NOON

    for settled in late:  # from the connection that is gone
        settled()
    bench.receiver.acknowledge()
    assert bench.acknowledged() == 0

    bench.settle()
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

    def all_came() -> bool:
        bench.settle()
        bench.receiver.acknowledge()
        return bench.values() == [b"%d" % number for number in range(8)]

    wait_for(all_came)
    bench.receiver.close()


def test_a_qos_0_message_goes_on_without_acknowledgement(broker: int) -> None:
    bench = Bench(broker)
    publish(broker, [b"{}"], qos=0)
    wait_for(lambda: bench.hold.taken)
    assert bench.hold.taken[0].packet_id == 0
    bench.settle()
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


def test_a_broker_that_refuses_is_told_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = Settings("127.0.0.1", "gw1", "k", mqtt_port=server.getsockname()[1])
        receiver = Receiver(
            settings, Hold(), lambda _: [], Metrics(CollectorRegistry()), pytest.fail
        )
        receiver.start()
        for answer in (b"\x20\x03\x00\x87\x00", b"\x20\x03\x00\x86\x00"):
            peer, _ = server.accept()
            with peer:
                assert peer.recv(1000).startswith(b"\x10")
                peer.sendall(answer)
    reasons = [record.getMessage() for record in caplog.records]
    assert any("connection refused: Not authorized" in reason for reason in reasons)
    wait_for(lambda: any("Bad user name or password" in r.getMessage() for r in caplog.records))
    receiver.close()


def test_by_tls_each_byte_comes_and_only_a_broker_that_is_vouched_for_is_spoken_to(
    tmp_path: Path,
) -> None:
    maker = Maker(tmp_path)
    authority = maker.self_signed("authority", ca=True)
    good = maker.signed("127.0.0.1", authority)
    # As root it would become a user who may not read the key.
    lines = ("user root", "max_queued_messages 0", "max_inflight_messages 1000")
    tls = (f"certfile {good.certificate}", f"keyfile {good.key}")
    plain = free_port()
    with mosquitto(tmp_path, *tls, *lines, f"listener {plain} 127.0.0.1") as port:
        bench = Bench(port, ca_file=str(authority.certificate))
        # Records of TLS hold 16 KiB: less, as much, and more than fits in one look.
        payloads = [bytes([n % 256]) * size for n, size in enumerate((1, 16_384, 200_000, 0) * 50)]
        publish(plain, payloads)
        wait_for(lambda: len(bench.hold.taken) == len(payloads))
        assert bench.values() == payloads
        bench.settle()
        bench.receiver.acknowledge()
        publish(plain, [b"%d" % number for number in range(900)])
        wait_for(lambda: len(bench.hold.taken) == len(payloads) + 900)
        bench.receiver.close()
        stranger = maker.self_signed("other authority", ca=True).certificate
        login = mqtt.Login("someone", ca_file=str(stranger))
        with pytest.raises(OSError, match="certificate verify failed"):
            mqtt.Connection("127.0.0.1", port, login)
