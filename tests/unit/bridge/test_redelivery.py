"""Which of the newest messages are known when the broker delivers one again."""

from bridge.redelivery import PACKETS_KNOWN, Redelivery


def test_known_by_packet_id_and_content() -> None:
    subject = Redelivery()
    subject.remember(7, b"t", b"a")
    assert subject.knows(7, b"t", b"a")
    assert not subject.knows(7, b"t", b"b")
    assert not subject.knows(7, b"u", b"a")
    assert not subject.knows(8, b"t", b"a")
    subject.remember(7, b"t", b"b")  # the broker gave the packet id to another message
    assert not subject.knows(7, b"t", b"a")
    assert subject.knows(7, b"t", b"b")


def test_without_packet_id_nothing_is_known() -> None:
    subject = Redelivery()
    subject.remember(0, b"t", b"a")
    assert not subject.knows(0, b"t", b"a")


def test_the_newest_half_is_kept_and_what_is_older_than_all_goes() -> None:
    subject = Redelivery()
    for packet_id in range(1, 2 * PACKETS_KNOWN + 1):
        subject.remember(packet_id, b"t", b"%d" % packet_id)
    known = [n for n in range(1, 2 * PACKETS_KNOWN + 1) if subject.knows(n, b"t", b"%d" % n)]
    assert PACKETS_KNOWN // 2 <= len(known) <= PACKETS_KNOWN
    assert known == list(range(known[0], 2 * PACKETS_KNOWN + 1))
