"""The Queue port, made to misbehave."""

from collections.abc import Sequence

from sharechat.adapters.memory import MemoryBus, MemoryQueue
from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry
from sharechat.domain.ports import Listener


class FaultyQueue(MemoryQueue):
    """A MemoryQueue that may be away, drop what is published, or raise."""

    def __init__(self, bus: MemoryBus) -> None:
        super().__init__(bus)
        self.away = False
        self.losing = False
        self.raises: Exception | None = None
        self.looks: list[RoomId] = []
        """The rooms that a look was published for."""

    @property
    def rooms(self) -> set[RoomId]:
        """The rooms that it is subscribed to."""
        return set(self._subscribed)

    @property
    def listener(self) -> Listener:
        assert self._listener is not None, "run does not run"
        return self._listener

    def publish(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        if self._works():
            super().publish(room_id, entries)

    def publish_look(self, room_id: RoomId) -> None:
        self.looks.append(room_id)
        if self._works():
            super().publish_look(room_id)

    def _works(self) -> bool:
        if self.raises:
            raise self.raises
        return not self.losing and not self.away

    def check(self) -> None:
        if self.away:
            raise UnavailableError("The Queue is away.")
