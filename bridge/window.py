"""What is under way, and what of it is done, in order."""

from collections import deque
from collections.abc import Sequence


class Pending:
    """Messages that came together and are not yet acknowledged."""

    __slots__ = ("numbers", "settled")

    def __init__(self, numbers: Sequence[int]) -> None:
        """Begin unsettled; `numbers` are what `release` returns."""
        self.numbers = numbers
        self.settled = False

    def settle(self) -> None:
        """Note that they are safe. May be called from any thread, and more than once."""
        self.settled = True


class AckWindow:
    """Messages of one connection in the order of receipt, which PUBACKs must keep (MQTT-4.6.0-2).

    A packet id means nothing on the next connection, where the broker may give it to another
    message. So `reset` forgets all: the broker delivers again what was not acknowledged, and a
    `Pending` of an earlier connection that settles late is held by nobody here.

    `receive` and `reset` belong to one thread. `release` may run in another, but not while `reset`
    does: the caller keeps a lock around `release` with the sending of its PUBACKs, and `reset`.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._pending: deque[Pending] = deque()
        self._received = self._released = 0

    def __len__(self) -> int:
        """Return how many messages wait."""
        return self._received - self._released

    def receive(self, numbers: Sequence[int]) -> Pending:
        """Add messages that came together; settle the result when all of them are safe."""
        pending = Pending(numbers)
        self._pending.append(pending)
        self._received += len(numbers)
        return pending

    def reset(self) -> None:
        """Forget the connection's messages, because the connection ended."""
        self._pending.clear()
        self._received = self._released = 0

    def release(self) -> list[int]:
        """Take out, in order, the numbers of what is settled up to the first that is not."""
        released: list[int] = []
        while self._pending and self._pending[0].settled:
            released += self._pending.popleft().numbers
        self._released += len(released)
        return released
