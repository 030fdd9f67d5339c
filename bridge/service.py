"""The service's life: start, readiness, work, orderly end."""

import logging
import signal
import threading
import time
from types import FrameType

from bridge import log
from bridge.forwarder import Forwarder
from bridge.metrics import Metrics
from bridge.receiver import Receiver
from bridge.settings import Settings
from bridge.systemd import notify

_POLL_SECONDS = 0.1
_DRAIN_SECONDS = 10.0
_RETRY_SECONDS = 2.0
_START_USEC = 60_000_000  # systemd is asked for so much more time while Kafka or MQTT is away


class Service:
    """Joins receiver and forwarder. The calling thread serves Kafka's reports and acknowledges."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Build both sides; nothing is connected yet."""
        self._settings = settings
        self._metrics = metrics
        self._stop = threading.Event()
        self._failure: str | None = None
        self._forwarder = Forwarder(settings, metrics, self.fail)
        self._receiver = Receiver(settings, self._forwarder, metrics, self.fail)

    def run(self) -> int:
        """Work until told to stop; return the exit status, 1 after a failure."""
        threading.excepthook = lambda hook: self.fail(
            f"thread {hook.thread.name if hook.thread else '?'} died: {hook.exc_value!r}"
        )
        try:
            self._metrics.serve(self._settings.metrics_address, self._settings.metrics_port)
        except OSError as error:
            address = f"{self._settings.metrics_address}:{self._settings.metrics_port}"
            self.fail(f"metrics cannot be served at {address}: {error}")
            return self._end()
        # Before Kafka is there: the broker keeps a queue only for a session that has subscribed.
        self._receiver.start()
        self._await_readiness()
        while not self._stop.is_set():
            self._work(_POLL_SECONDS)
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
        self._receiver.acknowledge()

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
        # After a failure Kafka is not going to take more.
        left = self._forwarder.drain(_DRAIN_SECONDS if self._failure is None else 0.0)
        self._receiver.acknowledge()
        self._receiver.close()
        log.event(logging.INFO, "stopped", unsent=left, note="the MQTT broker keeps what is unsent")
        return 0 if self._failure is None else 1
