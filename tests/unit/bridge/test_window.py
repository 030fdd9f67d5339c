"""The order of acknowledgements, under any order of completions and reconnections."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bridge.window import AckWindow, Pending


class Connections(RuleBasedStateMachine):
    """The window beside a model: the list of what this connection received, and how far it is.

    Few packet ids, so that later connections use those of earlier ones again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.window = AckWindow()
        self.received: list[tuple[int, Pending]] = []
        self.acknowledged = 0
        self.ever: list[Pending] = []

    @rule(packet_id=st.integers(1, 5))
    def receive(self, packet_id: int) -> None:
        pending = self.window.receive(packet_id)
        self.received.append((packet_id, pending))
        self.ever.append(pending)

    @rule(data=st.data())
    def settle_any(self, data: st.DataObject) -> None:
        if self.ever:  # of this connection or an earlier one, perhaps once more
            data.draw(st.sampled_from(self.ever)).settle()

    @rule()
    def reconnect(self) -> None:
        self.window.reset()
        self.received = []
        self.acknowledged = 0

    @rule()
    def release(self) -> None:
        expected = []
        for packet_id, pending in self.received[self.acknowledged :]:
            if not pending.settled:
                break
            expected.append(packet_id)
        self.acknowledged += len(expected)
        assert self.window.release() == expected

    @invariant()
    def nothing_is_lost(self) -> None:
        assert len(self.window) == len(self.received) - self.acknowledged

    def teardown(self) -> None:
        for _, pending in self.received:
            pending.settle()
        left = [packet_id for packet_id, _ in self.received[self.acknowledged :]]
        assert self.window.release() == left


TestConnections = Connections.TestCase


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_acknowledged_in_order_of_receipt_whatever_the_order_of_delivery(
    order: tuple[int, ...],
) -> None:
    window = AckWindow()
    pending = [window.receive(packet_id) for packet_id in (11, 12, 13)]
    released: list[int] = []
    for index in order:
        pending[index].settle()
        released += window.release()
    assert released == [11, 12, 13]


def test_a_late_delivery_does_not_acknowledge_a_message_of_the_next_connection() -> None:
    window = AckWindow()
    late = window.receive(1)
    window.reset()
    window.receive(1)
    late.settle()
    assert window.release() == []
