"""Helpers for the tests of Queues: a listener that records, entries to publish, and waiting."""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import cache

import trio

from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import RoomId, new_member_id, new_message_id, new_room_id
from sharechat.domain.messages import Entry, Message, MessageType
from sharechat.domain.ports import Queue
from tests.harness.deadline import DEADLINE

MakeQueue = Callable[[], Queue]
"""Returns the Queue of one more process. All of them are on the same bus."""


class Recorder:
    """A Listener that records its calls and lets a test wait for them."""

    def __init__(self) -> None:
        self.all_heard: list[tuple[RoomId, list[Entry]]] = []
        self.all_missed: list[set[RoomId]] = []
        self._changed = trio.Event()

    def heard(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        self.all_heard.append((room_id, list(entries)))
        self._change()

    def missed(self, room_ids: Collection[RoomId]) -> None:
        self.all_missed.append(set(room_ids))
        self._change()

    async def has_heard(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        """Wait until exactly these entries have been heard in one call."""
        await self._wait_until(lambda: (room_id, list(entries)) in self.all_heard)

    async def has_missed(self, *room_ids: RoomId) -> None:
        """Wait until all of these rooms have been missed, in any number of calls."""
        await self._wait_until(lambda: set().union(*self.all_missed).issuperset(room_ids))

    def clear(self) -> None:
        self.all_heard.clear()
        self.all_missed.clear()

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(DEADLINE):
            while not condition():
                await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def make_entry(room_id: RoomId, seq: int = 1, text: str = "Hello") -> Entry:
    message = Message(
        new_message_id(),
        room_id,
        new_member_id(),
        "Green Cat",
        MessageType.CHAT,
        text,
        datetime.now(UTC),
    )
    return Entry(seq, message)


@cache
def marker(room_id: RoomId) -> list[Entry]:
    """Return what a test publishes last: once it is heard, all before it has arrived."""
    return [make_entry(room_id, text="marker")]


def new_room_ids(count: int) -> list[RoomId]:
    return [new_room_id() for _ in range(count)]


async def until_working(queue: Queue) -> None:
    """Wait until `check` passes."""
    with trio.fail_after(DEADLINE):
        while True:
            try:
                queue.check()
            except UnavailableError:
                # `check` only describes the present moment, so it has to be polled.
                await trio.sleep(0.01)
            else:
                return


async def start_queue(
    nursery: trio.Nursery, make_queue: MakeQueue, *room_ids: RoomId
) -> tuple[Queue, Recorder]:
    """Start a Queue that is subscribed to the rooms; return it and its listener.

    The Queue works and hears the rooms, and the listener has not recorded anything yet.
    """
    queue, recorder = make_queue(), Recorder()
    for room_id in room_ids:
        queue.subscribe(room_id)
    await nursery.start(queue.run, recorder)
    await recorder.has_missed(*room_ids)
    await until_working(queue)
    recorder.clear()
    return queue, recorder
