"""Which rooms have publications that may not have reached Redis."""

from collections.abc import Callable

from sharechat.domain.ids import RoomId


class UnconfirmedRooms:
    """Rooms with publications that Redis has not confirmed, or that were dropped.

    Redis handles and answers the commands of one connection in order. So when a probe has come back
    and has been answered, Redis has taken or refused every publication that was sent before it.
    """

    def __init__(self) -> None:
        self._sent: set[RoomId] = set()
        self._sent_before_probe: set[RoomId] = set()
        self._dropped: set[RoomId] = set()

    def add_sent(self, room_id: RoomId) -> None:
        """Record that a publication to the room waits to be sent, or was sent."""
        self._sent.add(room_id)

    def add_dropped(self, room_id: RoomId) -> None:
        """Record that a publication to the room was dropped without being sent."""
        self._dropped.add(room_id)

    def probe_sent(self) -> None:
        """Record that a probe follows everything that was sent so far."""
        self._sent_before_probe |= self._sent
        self._sent.clear()

    def probe_returned(self) -> None:
        """Record that Redis has everything that was sent before the last probe."""
        self._sent_before_probe.clear()

    def take_dropped(self) -> set[RoomId]:
        """Remove and return the rooms with dropped publications."""
        dropped, self._dropped = self._dropped, set()
        return dropped

    def take_all(self) -> set[RoomId]:
        """Remove and return all of the rooms. Called after the connection was lost."""
        return self.take(lambda _: True)

    def take(self, chosen: Callable[[RoomId], bool]) -> set[RoomId]:
        """Remove and return those of the rooms that are chosen."""
        rooms: set[RoomId] = set()
        for group in (self._sent, self._sent_before_probe, self._dropped):
            taken = set(filter(chosen, group))
            group -= taken
            rooms |= taken
        return rooms
