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
        self.received: list[tuple[list[int], Pending]] = []
        self.acknowledged = 0
        self.ever: list[Pending] = []

    @rule(packet_ids=st.lists(st.integers(1, 5), max_size=3))
    def receive(self, packet_ids: list[int]) -> None:
        pending = self.window.receive(packet_ids)
        self.received.append((packet_ids, pending))
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
        expected: list[int] = []
        while self.acknowledged < len(self.received):
            packet_ids, pending = self.received[self.acknowledged]
            if not pending.settled:
                break
            expected += packet_ids
            self.acknowledged += 1
        assert self.window.release() == expected

    @invariant()
    def nothing_is_lost(self) -> None:
        waiting = self.received[self.acknowledged :]
        assert len(self.window) == sum(len(packet_ids) for packet_ids, _ in waiting)

    def teardown(self) -> None:
        for _, pending in self.received:
            pending.settle()
        waiting = self.received[self.acknowledged :]
        left = [packet_id for packet_ids, _ in waiting for packet_id in packet_ids]
        assert self.window.release() == left


TestConnections = Connections.TestCase


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_acknowledged_in_order_of_receipt_whatever_the_order_of_delivery(
    order: tuple[int, ...],
) -> None:
    window = AckWindow()
    pending = [window.receive([packet_id]) for packet_id in (11, 12, 13)]
    released: list[int] = []
    for index in order:
        pending[index].settle()
        released += window.release()
    assert released == [11, 12, 13]


def test_a_late_delivery_does_not_acknowledge_a_message_of_the_next_connection() -> None:
    window = AckWindow()
    late = window.receive([1])
    window.reset()
    window.receive([1])
    late.settle()
    assert window.release() == []
