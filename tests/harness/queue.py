"""A Queue that can be away, lose what is published, or raise."""

from collections.abc import Sequence

import trio

from sharechat.adapters.memory import MemoryBus, MemoryQueue
from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry
from sharechat.domain.ports import Listener


class FaultyQueue(MemoryQueue):
    """A MemoryQueue that misbehaves when told to."""

    def __init__(self, bus: MemoryBus) -> None:
        super().__init__(bus)
        self.away = False
        """While set, what is published is lost, and `check` raises UnavailableError."""
        self.losing = False
        """While set, what is published is lost, and nothing shows it."""
        self.raises: Exception | None = None
        """If set, publishing raises this."""
        self.rooms: set[RoomId] = set()
        """The rooms that this process is subscribed to."""
        self.looks: list[RoomId] = []
        """The rooms that `publish_look` was called for."""
        self._heard_by: Listener | None = None

    @property
    def listener(self) -> Listener:
        assert self._heard_by is not None, "run has not been called"
        return self._heard_by

    async def run(
        self,
        listener: Listener,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        self._heard_by = listener
        await super().run(listener, task_status=task_status)

    def subscribe(self, room_id: RoomId) -> None:
        self.rooms.add(room_id)
        super().subscribe(room_id)

    def unsubscribe(self, room_id: RoomId) -> None:
        self.rooms.discard(room_id)
        super().unsubscribe(room_id)

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
