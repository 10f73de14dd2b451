"""The Queue within one process."""

from collections.abc import Iterator, Sequence

import trio

from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry
from sharechat.domain.ports import Listener


class MemoryBus:
    """Connects MemoryQueues. A server has one; in a test, each stands for a process."""

    def __init__(self) -> None:
        self.queues: list[MemoryQueue] = []

    def queue(self) -> "MemoryQueue":
        """Return a new Queue on this bus."""
        return MemoryQueue(self)


class MemoryQueue:
    """A Queue that loses nothing while `run` is running."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self._listener: Listener | None = None
        self._subscribed: set[RoomId] = set()

    def publish(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        for listener in self._others(room_id):
            listener.heard(room_id, entries)

    def publish_look(self, room_id: RoomId) -> None:
        for listener in self._others(room_id):
            listener.missed({room_id})

    def _others(self, room_id: RoomId) -> Iterator[Listener]:
        """Yield the other queues' listeners that are subscribed to the room.

        This queue's own listener is left out: its process had the entries before they were
        published.
        """
        for queue in self._bus.queues:
            if queue is not self and room_id in queue._subscribed and queue._listener is not None:
                yield queue._listener

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
        """Return. Memory is always available."""
