"""Readings over MQTT, by a publisher that costs little.

As a program it sends at a steady rate, in a process of its own, and saves when each was sent:
`python -m benchmarks.load --rate R --count N --sent FILE`.
"""

import argparse
import contextlib
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.processes import running
from benchmarks.services import ROOT
from telemetry.reading import Reading, encode

DEVICES = 50
_ACK_SIZE = 4
_CHUNK = 500
# So many PUBLISH may be without a PUBACK; more would only fill the broker's buffers.
_WINDOW = 20_000
# A system that does not hold a rate takes the readings late; its figures should say how late.
_PATIENCE_SECONDS = 240

Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Broker:
    """Where the load goes, and as whom; without TLS as nobody.

    Attributes:
        tls: files with its authorities, our certificate and its key; without them in plain text.
        fleet: name of devices that each count their own readings, as the ledger wants it; without
            one all devices share one sequence.
    """

    port: int
    host: str = "127.0.0.1"
    tls: tuple[str, str, str] | None = None
    fleet: str = ""

    def arguments(self) -> list[str]:
        """Return it as options of this program."""
        given = [f"--port={self.port}", f"--host={self.host}", f"--fleet={self.fleet}"]
        if self.tls:
            given += ["--tls", *self.tls]
        return given

    def connect(self) -> bytes:
        """Return the CONNECT: MQTT 3.1.1, a session that ends with the connection."""
        return b"\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05bench"


def reading(number: int, fleet: str = "") -> tuple[str, bytes]:
    """Return topic and payload (about 110 bytes) of a reading of one of the devices."""
    device = f"{fleet or 'bench'}-{number % DEVICES:03d}"
    seq = number // DEVICES if fleet else number
    now = datetime.now(UTC)
    payload = encode(Reading(device, now, seq, 20 + number % 100 / 10, 40 + number % 200 / 10))
    return f"sensors/bench/{device}/telemetry", payload


def packet(number: int, fleet: str = "") -> bytes:
    """Return the PUBLISH of a reading: QoS 1, MQTT 3.1.1."""
    topic, payload = reading(number, fleet)
    name = topic.encode()
    body = struct.pack(">H", len(name)) + name + struct.pack(">H", number % 65_535 + 1) + payload
    length = len(body)  # below 16,384: two bytes at most
    size = bytes([length]) if length < 128 else bytes([length % 128 | 128, length // 128])  # noqa: PLR2004
    return b"\x32" + size + body


class Publisher:
    """One connection that publishes with QoS 1; a thread counts the PUBACKs."""

    def __init__(self, broker: Broker) -> None:
        """Connect."""
        self._fleet = broker.fleet
        self._socket = socket.create_connection((broker.host, broker.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if broker.tls:
            authorities, *ours = broker.tls
            context = ssl.create_default_context(cafile=authorities)
            context.load_cert_chain(*ours)
            self._socket = context.wrap_socket(self._socket, server_hostname=broker.host)
        self._socket.sendall(broker.connect())
        answer = self._socket.recv(_ACK_SIZE)
        if answer != b"\x20\x02\x00\x00":
            message = f"the broker does not let the load generator in: {answer!r}"
            raise RuntimeError(message)
        self.sent = 0
        self.acknowledged = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, number: int) -> None:
        """Send one reading now."""
        self._socket.sendall(packet(number, self._fleet))
        self.sent += 1

    def send_all(self, first: int, count: int) -> None:
        """Send so many readings as fast as the broker takes them, and wait for the last PUBACK."""
        for start in range(first, first + count, _CHUNK):
            some = range(start, min(start + _CHUNK, first + count))
            self._socket.sendall(b"".join(packet(number, self._fleet) for number in some))
            self.sent += len(some)
            self.wait(_WINDOW)
        self.wait(0)

    def wait(self, most: int, seconds: float = _PATIENCE_SECONDS) -> None:
        """Wait until no more than so many readings are without a PUBACK."""
        deadline = time.monotonic() + seconds
        while self.sent - self.acknowledged > most:
            if time.monotonic() > deadline or not self._reader.is_alive():
                missing = self.sent - self.acknowledged
                message = f"the broker has not acknowledged {missing} of {self.sent} readings"
                raise TimeoutError(message)
            time.sleep(0.001)

    def close(self) -> None:
        """Disconnect."""
        self._socket.sendall(b"\xe0\x00")
        self._socket.close()

    def _read(self) -> None:
        received = 0
        try:
            while data := self._socket.recv(65_536):
                received += len(data)
                self.acknowledged = received // _ACK_SIZE
        except OSError:
            return


def send_steadily(broker: Broker, rate: float, first: int, count: int) -> Times:
    """Send readings at a rate; return when each was sent, ns since the epoch, shape (count,)."""
    publisher = Publisher(broker)
    sent = np.zeros(count, dtype=np.int64)
    begin = time.monotonic()
    for number in range(count):
        ahead = begin + number / rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        sent[number] = time.time_ns()
        publisher.send(first + number)
    publisher.wait(0)
    publisher.close()
    return sent


@contextlib.contextmanager
def send_from_another_process(
    broker: Broker, rate: float, first: int, count: int, folder: Path
) -> Iterator[Callable[[], Times]]:
    """Send readings at a rate from a process of its own, while the block goes on.

    Yields what waits for its end and returns when each reading was sent, as `send_steadily`.
    """
    file, log = folder / f"sent-{first}.npy", folder / "load.log"
    numbers = [f"--rate={rate}", f"--first={first}", f"--count={count}", f"--sent={file}"]
    command = [sys.executable, "-m", "benchmarks.load", *broker.arguments(), *numbers]
    with running(command, log, environment={"PYTHONPATH": str(ROOT)}) as process:

        def sent() -> Times:
            seconds = _PATIENCE_SECONDS + count / rate
            try:
                status = process.wait(seconds)
            except subprocess.TimeoutExpired:
                message = f"{count} readings at {rate}/s were not taken within {seconds:.0f} s"
                raise TimeoutError(message) from None
            if status:
                message = f"the load generator failed: {log.read_text(encoding='utf-8')[-500:]}"
                raise RuntimeError(message)
            times: Times = np.load(file)
            return times

        yield sent


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="of the broker (%(default)s)")
    parser.add_argument("--port", type=int, default=1883, help="(%(default)s)")
    parser.add_argument("--tls", nargs=3, metavar=("AUTHORITIES", "CERTIFICATE", "KEY"))
    parser.add_argument("--fleet", default="", help="name of devices that count for themselves")
    parser.add_argument("--rate", type=float, required=True, help="readings per second")
    parser.add_argument("--first", type=int, default=0, help="number of the first reading")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--sent", type=Path, required=True, help="file for the times, .npy")
    options = parser.parse_args()
    named = (options.port, options.host, options.tls, options.fleet)
    sent = send_steadily(Broker(*named), options.rate, options.first, options.count)
    np.save(options.sent, sent)


if __name__ == "__main__":
    main()
