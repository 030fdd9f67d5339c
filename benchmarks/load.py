"""Readings over MQTT, by a publisher that costs little.

As a program it sends at a steady rate, in a process of its own, and saves when each was sent:
`python -m benchmarks.load --port P --rate R --count N --sent FILE`.
"""

import argparse
import contextlib
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.processes import running
from benchmarks.services import ROOT
from telemetry.reading import Reading, encode

DEVICES = 50
_CONNECT = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05bench"
_ACK_SIZE = 4
_CHUNK = 500
# So many PUBLISH may be without a PUBACK; more would only fill the broker's buffers.
_WINDOW = 20_000

Times = npt.NDArray[np.int64]


def reading(seq: int) -> tuple[str, bytes]:
    """Return topic and payload (about 110 bytes) of a reading of one of the devices."""
    device = f"bench-{seq % DEVICES:03d}"
    now = datetime.now(UTC)
    payload = encode(Reading(device, now, seq, 20 + seq % 100 / 10, 40 + seq % 200 / 10))
    return f"sensors/bench/{device}/telemetry", payload


def packet(seq: int) -> bytes:
    """Return the PUBLISH of a reading: QoS 1, MQTT 3.1.1."""
    topic, payload = reading(seq)
    name = topic.encode()
    body = struct.pack(">H", len(name)) + name + struct.pack(">H", seq % 65_535 + 1) + payload
    length = len(body)  # below 16,384: two bytes at most
    size = bytes([length]) if length < 128 else bytes([length % 128 | 128, length // 128])  # noqa: PLR2004
    return b"\x32" + size + body


class Publisher:
    """One connection that publishes with QoS 1; a thread counts the PUBACKs."""

    def __init__(self, port: int) -> None:
        """Connect to the broker on this machine."""
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(_CONNECT)
        answer = self._socket.recv(_ACK_SIZE, socket.MSG_WAITALL)
        if answer != b"\x20\x02\x00\x00":
            message = f"the broker does not let the load generator in: {answer!r}"
            raise RuntimeError(message)
        self.sent = 0
        self.acknowledged = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, seq: int) -> None:
        """Send one reading now."""
        self._socket.sendall(packet(seq))
        self.sent += 1

    def send_all(self, first: int, count: int) -> None:
        """Send so many readings as fast as the broker takes them, and wait for the last PUBACK."""
        for start in range(first, first + count, _CHUNK):
            some = range(start, min(start + _CHUNK, first + count))
            self._socket.sendall(b"".join(map(packet, some)))
            self.sent += len(some)
            self.wait(_WINDOW)
        self.wait(0)

    def wait(self, most: int, seconds: float = 60) -> None:
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


def send_steadily(port: int, rate: float, first: int, count: int) -> Times:
    """Send readings at a rate; return when each was sent, ns since the epoch, shape (count,)."""
    publisher = Publisher(port)
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
    port: int, rate: float, first: int, count: int, folder: Path
) -> Iterator[Callable[[], Times]]:
    """Send readings at a rate from a process of its own, while the block goes on.

    Yields what waits for its end and returns when each reading was sent, as `send_steadily`.
    """
    file, log = folder / f"sent-{first}.npy", folder / "load.log"
    numbers = {"--port": port, "--rate": rate, "--first": first, "--count": count}
    arguments = [str(part) for pair in numbers.items() for part in pair]
    command = [sys.executable, "-m", "benchmarks.load", *arguments, "--sent", str(file)]
    with running(command, log, environment={"PYTHONPATH": str(ROOT)}) as process:

        def sent() -> Times:
            seconds = 60 + count / rate
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
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="readings per second")
    parser.add_argument("--first", type=int, default=0, help="number of the first reading")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--sent", type=Path, required=True, help="file for the times, .npy")
    options = parser.parse_args()
    np.save(options.sent, send_steadily(options.port, options.rate, options.first, options.count))


if __name__ == "__main__":
    main()
