"""Which of the newest messages are on disk, for a broker that delivers one again."""

# Of those the broker may deliver again after a reconnect what it had no acknowledgement for.
PACKETS_KNOWN = 10_000


class Redelivery:
    """Remembers the newest messages by packet id and content, `PACKETS_KNOWN` of them or half.

    Of the content a hash is kept, salted anew with each start of the program.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._newer: dict[int, int] = {}
        self._older: dict[int, int] = {}

    def remember(self, packet_id: int, topic: bytes, payload: bytes) -> None:
        """Add a message; one without packet id never comes again."""
        if packet_id:
            self._newer[packet_id] = hash((topic, payload))
            if len(self._newer) >= PACKETS_KNOWN // 2:
                self._older, self._newer = self._newer, {}

    def knows(self, packet_id: int, topic: bytes, payload: bytes) -> bool:
        """Tell whether that very message was the last one with its packet id."""
        known = self._newer.get(packet_id, self._older.get(packet_id))
        return bool(packet_id) and known == hash((topic, payload))

    def clear(self) -> None:
        """Forget all."""
        self._newer.clear()
        self._older.clear()
