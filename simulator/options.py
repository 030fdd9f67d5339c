"""The simulator's command line."""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path


def parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m simulator`."""
    parser = argparse.ArgumentParser(
        prog="python -m simulator",
        description="Publish sensor readings to an MQTT broker with QoS 1.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="MQTT broker")
    add("--port", type=_whole(1, 65_535), default=1883, help="its port")
    add("--username", default="", help="for the broker; empty for anonymous")
    add("--password-file", type=Path, metavar="FILE", help="holds the password")
    add(
        "--authorities",
        type=Path,
        metavar="FILE",
        help="speak TLS; one of these is to vouch for it",
    )
    add("--certificate", type=Path, metavar="FILE", help="show this one to the broker")
    add("--key", type=Path, metavar="FILE", help="of the certificate")
    add("--site", default="site1", help="second level of the topic, and prefix of device names")
    add("--devices", type=_whole(1), default=10, help="how many")
    add("--rate", type=_amount, default=10.0, help="readings/s of all devices; 0: all it can")
    add("--count", type=_whole(1), help="stop after so many readings")
    add("--duration", type=_amount, help="stop after so many seconds")
    add("--seed", type=int, default=1, help="same seed and device name: same noise")
    add("--first-seq", type=_whole(0), default=0, help="seq of each device's first reading")
    add(
        "--start",
        type=_moment,
        metavar="TIME",
        help="ts of the first reading (ISO 8601), then in steps of the rate; none: the real time",
    )
    add("--replay", type=Path, nargs="+", metavar="FILE", help="send recorded room-climate files")
    add("--speed", type=_amount, default=1.0, help="of the replay: times real time; 0: all it can")
    add("--skip-bad", action="store_true", help="replay files without the lines that are wrong")
    add("--max-in-flight", type=_whole(1, 65_535), default=500, help="messages without PUBACK")
    add("--ack-timeout", type=_amount, default=30.0, help="seconds without an answer to give up")
    add(
        "--confirm",
        type=Path,
        metavar="FILE",
        help="hold each reading until the gateway confirms it on ack/<device>, send again what it "
        "does not, and write the confirmed ones to FILE as JSON lines",
    )
    add("--confirm-again", type=_amount, default=5.0, help="seconds until it is sent again")
    add("--report", type=Path, metavar="FILE", help="write what was sent, as JSON")
    add("--progress", action="store_true", help="print a JSON line on stdout each second")
    return parser


def _whole(low: int, high: int | None = None) -> Callable[[str], int]:
    wanted = f"a whole number from {low} " + ("up" if high is None else f"to {high}")

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low or (high is not None and value > high):
            message = f"{text!r}: expected {wanted}"
            raise argparse.ArgumentTypeError(message)
        return value

    return read


def _amount(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        message = f"{text!r}: expected a number from 0 up"
        raise argparse.ArgumentTypeError(message)
    return value


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{text!r}: expected a time such as 2026-03-01T06:00:00Z"
        raise argparse.ArgumentTypeError(message) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
