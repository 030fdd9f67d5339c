"""`python -m simulator`: publish made-up or recorded readings to an MQTT broker."""

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path

from simulator.confirm import Confirmations
from simulator.devices import make_devices
from simulator.options import parser
from simulator.publisher import Broker, Publisher, PublishError
from simulator.replay import ReplayError, read_files
from simulator.stream import Pacer, replayed, simulated
from telemetry.reading import Reading, encode
from telemetry.topics import telemetry_topic

_SHOWN_FAULTS = 20


class UsageError(ValueError):
    """Arguments or files that cannot be used; says what to do."""


@dataclass
class Account:
    """What was sent: times of the first and the last reading, and by how many devices."""

    first_ts: datetime | None = None
    last_ts: datetime | None = None
    topics: dict[str, str] = field(default_factory=dict)  # by device
    confirmations: Confirmations | None = None


def main(arguments: list[str] | None = None) -> int:
    """Run; return the exit status: 1 if not all was acknowledged, 2 if the arguments are wrong."""
    options = parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        broker = Broker(
            options.host,
            options.port,
            options.username,
            _password(options),
            options.authorities,
            options.certificate,
            options.key,
        )
        readings = islice(_readings(options, Pacer(stop)), options.count)
        telemetry_topic(options.site, "any")
        publisher = Publisher(broker, options.max_in_flight, options.ack_timeout)
    except (ReplayError, UsageError, ValueError) as error:
        _say(str(error))
        return 2
    account = Account()
    failure = ""
    began = time.monotonic()
    if options.duration is not None:
        timer = threading.Timer(options.duration, stop.set)
        timer.daemon = True
        timer.start()
    with _progress(publisher, shown=options.progress):
        try:
            publisher.connect()
            try:
                with _confirmations(options, broker) as confirmations:
                    _publish(readings, options.site, publisher, confirmations, account)
                    if confirmations is not None:
                        account.confirmations = confirmations
                        confirmations.finish(publisher.publish, options.ack_timeout)
            finally:
                publisher.finish()
        except PublishError as error:
            failure = str(error)
    seconds = time.monotonic() - began
    _report(options.report, publisher, account, seconds)
    if failure:
        _say(failure)
        return 1
    return 0


def _publish(
    readings: Iterator[Reading],
    site: str,
    publisher: Publisher,
    confirmations: Confirmations | None,
    account: Account,
) -> None:
    for reading in readings:
        topic = account.topics.get(reading.device_id)
        if topic is None:
            topic = account.topics[reading.device_id] = telemetry_topic(site, reading.device_id)
        payload = encode(reading)
        if confirmations is not None:
            confirmations.hold(reading, topic, payload)
            confirmations.send_again(publisher.publish)
        publisher.publish(topic, payload)
        account.first_ts = account.first_ts or reading.ts
        account.last_ts = reading.ts


def _readings(options: argparse.Namespace, pacer: Pacer) -> Iterator[Reading]:
    if options.replay:
        recordings = read_files(options.replay)
        faults = [fault for recording in recordings for fault in recording.faults]
        for fault in faults[:_SHOWN_FAULTS]:
            _say(fault)
        if faults and not options.skip_bad:
            message = f"{len(faults)} bad lines, nothing was sent: mend them or use --skip-bad"
            raise UsageError(message)
        return replayed([recording.readings for recording in recordings], options.speed, pacer)
    if options.start and not options.rate:
        message = "--start needs a --rate above 0: it gives the steps between capture times"
        raise UsageError(message)
    devices = make_devices(options.site, options.devices, options.seed, options.first_seq)
    return simulated(devices, options.rate, pacer, options.start)


def _confirmations(
    options: argparse.Namespace, broker: Broker
) -> AbstractContextManager[Confirmations | None]:
    if options.confirm is None:
        return nullcontext()
    return Confirmations(broker, options.confirm, options.confirm_again)


def _password(options: argparse.Namespace) -> str:
    if options.password_file is None:
        return ""
    try:
        return str(options.password_file.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        message = f"--password-file {options.password_file} cannot be read: {error}"
        raise UsageError(message) from error


@contextmanager
def _progress(publisher: Publisher, *, shown: bool) -> Iterator[None]:
    """Print how far it is, each second and at the end, as JSON lines on stdout."""
    done = threading.Event()

    def tell() -> None:
        while shown:
            finished = done.wait(1.0)
            line = {"sent": publisher.sent, "acknowledged": publisher.acknowledged}
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
            if finished:
                return

    teller = threading.Thread(target=tell, name="progress", daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def _report(path: Path | None, publisher: Publisher, account: Account, seconds: float) -> None:
    def text(moment: datetime | None) -> str | None:
        return moment.isoformat(timespec="microseconds") if moment else None

    report: dict[str, object] = {
        "sent": publisher.sent,
        "acknowledged": publisher.acknowledged,
        "first_ts": text(account.first_ts),
        "last_ts": text(account.last_ts),
        "devices": len(account.topics),
        "seconds": round(seconds, 3),
    }
    if account.confirmations is not None:
        report["confirmed"] = account.confirmations.confirmed
        report["sent_again"] = account.confirmations.sent_again
    if path is not None:
        path.write_text(json.dumps(report) + "\n", encoding="utf-8")
    _say(f"sent {publisher.sent}, acknowledged {publisher.acknowledged}, in {seconds:.1f} s")


def _say(text: str) -> None:
    sys.stderr.write(f"simulator: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
