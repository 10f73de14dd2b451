"""Which rooms may lack something that was published to them."""

from sharechat.domain.ids import RoomId


class Doubts:
    """Rooms that were published to without its being known that Redis got it.

    Commands reach Redis in their order: when a probe has come back, so has all arrived
    that was sent before it. What was dropped never did.
    """

    def __init__(self) -> None:
        self._sent: set[RoomId] = set()
        self._probed: set[RoomId] = set()
        self._dropped: set[RoomId] = set()

    def sent(self, room_id: RoomId) -> None:
        self._sent.add(room_id)

    def dropped(self, room_id: RoomId) -> None:
        self._dropped.add(room_id)

    def probe_sent(self) -> None:
        self._probed |= self._sent
        self._sent.clear()

    def probe_returned(self) -> None:
        self._probed.clear()

    def take_dropped(self) -> set[RoomId]:
        """Return the rooms that something was dropped for, and forget it."""
        dropped, self._dropped = self._dropped, set()
        return dropped

    def take_all(self) -> set[RoomId]:
        """Return the rooms that may lack something now that the connection was lost."""
        doubtful = self._sent | self._probed | self._dropped
        for rooms in (self._sent, self._probed, self._dropped):
            rooms.clear()
        return doubtful
