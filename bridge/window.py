"""What is under way, and what of it is done, in order."""

from collections import deque


class Pending:
    """A message that was received and is not yet acknowledged."""

    __slots__ = ("number", "settled")

    def __init__(self, number: int) -> None:
        """Begin unsettled; `number` is what `release` returns."""
        self.number = number
        self.settled = False

    def settle(self) -> None:
        """Note that the message is safe. May be called from any thread, and more than once."""
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

    def __len__(self) -> int:
        """Return how many messages wait."""
        return len(self._pending)

    def receive(self, number: int) -> Pending:
        """Add a message; settle the result when it is safe."""
        pending = Pending(number)
        self._pending.append(pending)
        return pending

    def reset(self) -> None:
        """Forget the connection's messages, because the connection ended."""
        self._pending.clear()

    def release(self) -> list[int]:
        """Take out, in order, the numbers of what is settled up to the first that is not."""
        released = []
        while self._pending and self._pending[0].settled:
            released.append(self._pending.popleft().number)
        return released
