"""The service's life: start, readiness, work, orderly end."""

import logging
import math
import signal
import sqlite3
import threading
import time
from types import FrameType

from bridge import log
from bridge.broker import BrokerWatch
from bridge.clock import Chrony, Clock
from bridge.feeder import Feeder
from bridge.forwarder import Forwarder
from bridge.metrics import Metrics
from bridge.receiver import Receiver
from bridge.settings import Settings
from bridge.spool import Spool
from bridge.systemd import notify

_POLL_SECONDS = 0.1
_DRAIN_SECONDS = 10.0
_RETRY_SECONDS = 2.0
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_START_USEC = 60_000_000  # systemd is asked for so much more time while Kafka or MQTT is away


class Service:
    """Joins receiver, spool and forwarder. The calling thread serves Kafka's reports."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Build the parts; nothing is connected yet.

        Raises:
            OSError, sqlite3.OperationalError: the spool cannot be opened.
        """
        self._settings = settings
        self._metrics = metrics
        self._stop = threading.Event()
        self._failure: str | None = None
        self._spool = Spool(settings, metrics)
        self._clock = Clock(self._spool.last_received_ns, settings.clock_wait_seconds, Chrony())
        self._forwarder = Forwarder(settings, metrics, self.fail, self._replay)
        self._feeder = Feeder(settings, self._spool, self._forwarder, self._clock, metrics)
        self._receiver = Receiver(settings, self._spool, self._clock.stamps, metrics, self.fail)
        self._broker_watch = BrokerWatch(settings, metrics)
        self._threads = [  # in the order in which they end
            threading.Thread(
                name="clock", target=self._clock.watch, args=[self._stop], daemon=True
            ),
            threading.Thread(name="feeder", target=self._feeder.run),
            threading.Thread(
                name="spool",
                target=self._spool.run,
                args=[self._committed, self._receiver.confirm],
            ),
        ]

    def run(self) -> int:
        """Work until told to stop; return the exit status, 1 after a failure."""
        threading.excepthook = self._died
        try:
            self._metrics.serve(self._settings.metrics_address, self._settings.metrics_port)
        except OSError as error:
            address = f"{self._settings.metrics_address}:{self._settings.metrics_port}"
            self.fail(f"metrics cannot be served at {address}: {error}")
            return self._end()
        if self._clock.past:
            log.event(
                logging.WARNING,
                "clock_in_the_past",
                clock=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                todo="give this host a time server; messages are held back meanwhile",
            )
        else:
            self._spool.restamp(self._clock.start_ns(), self._spool.claimed_before)
        for thread in self._threads:
            thread.start()
        # Before Kafka is there: the broker keeps a queue only for a session that has subscribed.
        self._receiver.start()
        self._broker_watch.start()
        try:
            self._await_readiness()
            while not self._stop.is_set():
                self._work(_POLL_SECONDS)
        except Exception as error:  # noqa: BLE001 - the other threads would go on without this one
            self.fail(f"main thread died: {error!r}")
        return self._end()

    def stop(self, signum: int = signal.SIGTERM, _frame: FrameType | None = None) -> None:
        """Ask for an orderly end; a signal handler."""
        if not self._stop.is_set():
            log.event(logging.INFO, "stopping", signal=signal.Signals(signum).name)
        self._stop.set()

    def fail(self, reason: str) -> None:
        """Ask for an end with exit status 1, so that systemd starts the bridge anew."""
        if self._failure is None:
            self._failure = reason
            log.event(logging.CRITICAL, "failed", reason=reason)
        self._stop.set()

    def _work(self, seconds: float) -> None:
        self._forwarder.serve(seconds)
        self._feeder.collect()
        if self._clock.past and self._clock.is_right():
            log.event(logging.WARNING, "clock_was_set", note="times of what was held are put right")
            self._spool.restamp(self._clock.start_ns(), self._feeder.highest_sent)
            self._clock.past = False
        tracking = self._clock.tracking
        self._metrics.clock_synchronised.set(tracking.synchronised)
        self._metrics.clock_offset.set(_seconds(tracking.offset_ns))
        self._metrics.clock_error.set(_seconds(tracking.error_ns))

    def _committed(self) -> None:
        self._receiver.acknowledge()
        self._feeder.wake()

    def _replay(self) -> None:
        self._feeder.replay()

    def _died(self, hook: threading.ExceptHookArgs) -> None:
        error = hook.exc_value
        # The next start would die of it again; a file that cannot be opened it sets aside itself.
        if isinstance(error, sqlite3.DatabaseError) and _code(error) in _DAMAGED:
            self._spool.set_aside(error)
        self.fail(f"thread {hook.thread.name if hook.thread else '?'} died: {error!r}")

    def _await_readiness(self) -> None:
        kafka = False
        due = 0.0
        while not self._stop.is_set():
            if time.monotonic() >= due:
                due = time.monotonic() + _RETRY_SECONDS
                kafka = kafka or self._forwarder.check()
                if kafka and self._receiver.subscribed.is_set():
                    log.event(logging.INFO, "ready", gateway=self._settings.gateway)
                    notify("READY=1", "STATUS=Forwarding")
                    return
                waits_for = "the MQTT broker" if kafka else "Kafka"
                notify(f"STATUS=Waiting for {waits_for}", f"EXTEND_TIMEOUT_USEC={_START_USEC}")
            self._work(_POLL_SECONDS)

    def _end(self) -> int:
        notify("STOPPING=1")
        self._receiver.stop_receiving()
        self._feeder.stop()
        # After a failure Kafka is not going to take more.
        left = self._forwarder.drain(_DRAIN_SECONDS if self._failure is None else 0.0)
        self._feeder.collect()
        _, feeder, spool = self._threads
        _join(feeder)  # before the file it reads is closed
        self._spool.close()
        _join(spool)
        self._receiver.close()
        self._broker_watch.close()
        log.event(logging.INFO, "stopped", unsent=left, note="the spool keeps what is unsent")
        return 0 if self._failure is None else 1


def _join(thread: threading.Thread) -> None:
    if thread.is_alive():
        thread.join()


def _code(error: sqlite3.DatabaseError) -> int:
    # An error of Python's own module has no code.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _seconds(nanoseconds: int | None) -> float:
    return math.nan if nanoseconds is None else nanoseconds / 1e9
