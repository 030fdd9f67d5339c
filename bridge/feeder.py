"""The way out of the spool: in order to Kafka, with an account of what has arrived there."""

import threading
from functools import partial

from bridge.clock import Clock
from bridge.forwarder import Forwarder
from bridge.metrics import Metrics
from bridge.relay import origin, to_record
from bridge.settings import Settings
from bridge.spool import Spool
from bridge.window import AckWindow

_MOST_UNDER_WAY = 5000
_AT_ONCE = 1000
_BUSY = 250  # with so many under way the next ones gather
_TICK_SECONDS = 0.5


class Feeder:
    """Reads the spool and sends it; one thread runs `run`, another one `collect`.

    Attributes:
        highest_sent: number of the newest message that was sent; a replay does not take it back.
    """

    def __init__(
        self,
        settings: Settings,
        spool: Spool,
        forwarder: Forwarder,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """Begin with the replay window: Kafka's host may have lost power with this one."""
        self._origin = origin(settings.gateway, spool.id)
        self._spool = spool
        self._forwarder = forwarder
        self._clock = clock
        self._metrics = metrics
        self._sent = spool.replay_from()
        self.highest_sent = self._sent
        self._window = AckWindow()
        self._wake = threading.Event()
        self._stop = False
        self._replay = False

    def wake(self) -> None:
        """Look into the spool now; for any thread."""
        self._wake.set()

    def replay(self) -> None:
        """Send the replay window again, because Kafka may have lost it; for any thread."""
        self._replay = True
        self._wake.set()

    def stop(self) -> None:
        """Have `run` end; what is not sent stays in the spool."""
        self._stop = True
        self._wake.set()

    def run(self) -> None:
        """Send until stopped."""
        while not self._stop:
            self._wake.clear()
            # librdkafka spins while as many requests are under way as the idempotent producer may
            # have; and where many messages come, fewer and larger requests cost far less.
            if len(self._window) > _BUSY or not self._send_some():
                self._wake.wait(_TICK_SECONDS)

    def collect(self) -> None:
        """Tell the spool how far Kafka has everything; after Kafka's reports were served."""
        if arrived := self._window.release():
            self._spool.forwarded(arrived[-1])
            self._wake.set()

    def _send_some(self) -> int:
        """Send what there is room for; return how many messages that was."""
        if self._clock.holds or self._spool.restamping:
            return 0
        if self._replay:
            self._replay = False
            self._sent = min(self._sent, self._spool.replay_from())
        entries = self._spool.read(self._sent, min(_AT_ONCE, _MOST_UNDER_WAY - len(self._window)))
        spool, send, receive = self._spool, self._forwarder.send, self._window.receive
        sent_before = max(self.highest_sent, spool.claimed_before)
        last = spool.last_seq
        for entry in entries:
            seq = entry.seq
            resent = bool(entry.known) or seq <= sent_before
            if resent:
                self._metrics.resent.inc()
            make = partial(to_record, entry, self._origin, max(last - seq, 0), resent=resent)
            send(make, receive((seq,)).settle)
        if entries:
            self._sent = entries[-1].seq
            self.highest_sent = max(self.highest_sent, self._sent)
        return len(entries)
