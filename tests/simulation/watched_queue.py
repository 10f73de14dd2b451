"""A process's Queue, and what it was asked for and brought."""

from collections.abc import Collection, Sequence

import trio

from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry
from sharechat.domain.ports import Listener, Queue
from tests.simulation.faults import Fault
from tests.simulation.state import ProcessState, QueueRecord
from tests.simulation.world import World

_CLOSED_AFTER = 5.0
"""Seconds after which the members of a room that has ended have been closed."""


class WatchedQueue:
    """The port `Queue`: hands every call on and writes it down."""

    def __init__(self, world: World, process: ProcessState, queue: Queue) -> None:
        self.record = QueueRecord(process)
        world.queues.append(self.record)
        self.wanted: dict[RoomId, None] = {}
        """The rooms that the process is subscribed to."""
        process.subscribed = self.wanted
        self._world = world
        self._process = process
        self._queue = queue
        self._listener: Listener | None = None

    def publish(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        self.record.published.append((trio.current_time(), room_id, entries[-1].seq))
        self._queue.publish(room_id, entries)

    def publish_look(self, room_id: RoomId) -> None:
        self.record.published.append((trio.current_time(), room_id, None))
        self._queue.publish_look(room_id)

    def subscribe(self, room_id: RoomId) -> None:
        if room_id not in self.wanted:
            self.wanted[room_id] = None
            self.record.wanted[room_id].append([trio.current_time(), float("inf")])
        self._queue.subscribe(room_id)

    def unsubscribe(self, room_id: RoomId) -> None:
        if room_id in self.wanted:
            del self.wanted[room_id]
            self.record.wanted[room_id][-1][1] = trio.current_time()
        self._queue.unsubscribe(room_id)
        self._world.later(_CLOSED_AFTER, lambda: self._check_unsubscribed(room_id))

    def _check_unsubscribed(self, room_id: RoomId) -> None:
        """No member is in a room that the process does not hear."""
        world, process = self._world, self._process
        since = trio.current_time() - _CLOSED_AFTER
        frozen = world.faults.between(since, since + _CLOSED_AFTER, {Fault.FROZEN}, process.number)
        if room_id in self.wanted or frozen or not process.up:
            return
        for client in world.connections:
            inside = client.process is process and client.room_id == room_id and client.here
            if client.holds_up_resuming:
                continue
            if inside and client.accepted_at is not None and client.accepted_at <= since:
                world.report_violation(f"{client} is in a room that its process does not hear")

    def check(self) -> None:
        self._queue.check()

    async def run(
        self,
        listener: Listener,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        self._listener = listener
        try:
            await self._queue.run(self, task_status=task_status)
        finally:
            self._listener = None

    # The port `Listener`.

    def heard(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        if self._listener is None:
            return
        seqs = [entry.seq for entry in entries]
        self._world.note("delivers", self._process.number, room_id, *seqs)
        self.record.heard[room_id].append((trio.current_time(), seqs[-1]))
        self._listener.heard(room_id, entries)
        self._process.learn(room_id, max(seqs))

    def missed(self, room_ids: Collection[RoomId]) -> None:
        if self._listener is None:
            return
        self._listener.missed(room_ids)
        for room_id in sorted(room_ids):
            self._world.note("looks", self._process.number, room_id)
            self.record.missed[room_id].append(trio.current_time())
            removed = room_id in self._world.dead_rooms
            log = self._world.truth.log.get(room_id, ())
            self._process.learn(room_id, float("inf") if removed else len(log))
