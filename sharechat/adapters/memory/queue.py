"""The Queue between the parts of one process."""

from collections.abc import Sequence

import trio

from sharechat.domain.messages import Entry, RoomId
from sharechat.domain.ports import Listener


class MemoryBus:
    """What several MemoryQueues in one process share; each stands for one process's."""

    def __init__(self) -> None:
        self.queues: list[MemoryQueue] = []

    def queue(self) -> "MemoryQueue":
        return MemoryQueue(self)


class MemoryQueue:
    """A Queue that loses nothing, for as long as its `run` runs."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self._listener: Listener | None = None
        self._subscribed: set[RoomId] = set()

    def publish(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        for queue in self._bus.queues:
            # The publisher has delivered to its own rooms already.
            if queue is self or room_id not in queue._subscribed:
                continue
            if queue._listener is not None:
                queue._listener.heard(room_id, entries)

    def subscribe(self, room_id: RoomId) -> None:
        self._subscribed.add(room_id)
        if self._listener is not None:
            self._listener.missed({room_id})

    def unsubscribe(self, room_id: RoomId) -> None:
        self._subscribed.discard(room_id)

    async def run(
        self,
        listener: Listener,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        self._listener = listener
        self._bus.queues.append(self)
        if self._subscribed:
            listener.missed(set(self._subscribed))
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self._bus.queues.remove(self)
            self._listener = None

    def check(self) -> None:
        """Nothing can be away."""
