"""The contract of the Queue port, sentence by sentence, for every adapter of it."""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache

import pytest
import trio

from sharechat.adapters.memory import MemoryBus
from sharechat.adapters.redis import RedisQueue
from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import RoomId, new_member_id, new_message_id, new_room_id
from sharechat.domain.messages import Entry, Message, MessageType
from sharechat.domain.ports import Queue
from tests.harness.redis import RedisServer

MakeQueue = Callable[[], Queue]
"""Gives the Queue of one more process; all are on the same bus."""


class Recorder:
    """A Listener that keeps what it is told, and lets a test wait for more."""

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
        """Wait until the entries are heard, in one piece."""
        await self._until(lambda: (room_id, list(entries)) in self.all_heard)

    async def has_missed(self, *room_ids: RoomId) -> None:
        """Wait until all of these have been missed, in any number of calls."""
        await self._until(lambda: set().union(*self.all_missed).issuperset(room_ids))

    def forget(self) -> None:
        self.all_heard.clear()
        self.all_missed.clear()

    async def _until(self, true: Callable[[], bool]) -> None:
        with trio.fail_after(5):
            while not true():
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
    """Return what a test publishes last, to know that all before it has come."""
    return [make_entry(room_id, text="marker")]


async def works(queue: Queue) -> None:
    """Wait until `check` passes."""
    with trio.fail_after(5):
        while True:
            try:
                queue.check()
            except UnavailableError:
                # It only ever answers for this moment, so it has to be asked again.
                await trio.sleep(0.01)
            else:
                return


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    if url := os.environ.get("REDIS_URL"):
        yield url
    else:
        with RedisServer() as server:
            yield server.url


@pytest.fixture(params=["memory", "redis"])
def make_queue(request: pytest.FixtureRequest) -> MakeQueue:
    if request.param == "memory":
        return MemoryBus().queue
    url: str = request.getfixturevalue("redis_url")
    return lambda: RedisQueue(url)


async def start(
    nursery: trio.Nursery, make_queue: MakeQueue, *room_ids: RoomId
) -> tuple[Queue, Recorder]:
    """Return a running Queue that hears the rooms, and its listener, told nothing so far."""
    queue, recorder = make_queue(), Recorder()
    for room_id in room_ids:
        queue.subscribe(room_id)
    await nursery.start(queue.run, recorder)
    await recorder.has_missed(*room_ids)
    await works(queue)
    recorder.forget()
    return queue, recorder


async def test_what_is_published_is_heard_by_all_who_subscribe(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id = new_room_id()
    publisher, _ = await start(nursery, make_queue)
    _, one = await start(nursery, make_queue, room_id)
    _, two = await start(nursery, make_queue, room_id)
    entries = [make_entry(room_id, 1), make_entry(room_id, 2)]
    publisher.publish(room_id, entries)
    await one.has_heard(room_id, entries)
    await two.has_heard(room_id, entries)


async def test_a_process_that_subscribes_is_heard_by_the_others(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id = new_room_id()
    one, heard_by_one = await start(nursery, make_queue, room_id)
    two, heard_by_two = await start(nursery, make_queue, room_id)
    entries = [make_entry(room_id, 1)], [make_entry(room_id, 2)]
    one.publish(room_id, entries[0])
    two.publish(room_id, entries[1])
    await heard_by_two.has_heard(room_id, entries[0])
    await heard_by_one.has_heard(room_id, entries[1])


@pytest.mark.parametrize(
    "text", ["", "Grüße, 世界 🎉", "a\x00b", "\r\n$3\r\n", "x" * 16_384], ids=len
)
async def test_an_entry_arrives_as_it_was(
    make_queue: MakeQueue, nursery: trio.Nursery, text: str
) -> None:
    room_id = new_room_id()
    publisher, _ = await start(nursery, make_queue)
    _, recorder = await start(nursery, make_queue, room_id)
    entries = [make_entry(room_id, 2**53, text)]
    publisher.publish(room_id, entries)
    await recorder.has_heard(room_id, entries)


async def test_the_entries_may_be_any_sequence(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id = new_room_id()
    publisher, _ = await start(nursery, make_queue)
    _, recorder = await start(nursery, make_queue, room_id)
    entries = (make_entry(room_id),)
    publisher.publish(room_id, entries)
    await recorder.has_heard(room_id, entries)


async def test_a_look_makes_all_who_subscribe_miss_something(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id, other_id = new_room_id(), new_room_id()
    publisher, _ = await start(nursery, make_queue)
    _, one = await start(nursery, make_queue, room_id, other_id)
    _, two = await start(nursery, make_queue, room_id)
    publisher.publish_look(room_id)
    for recorder in (one, two):
        await recorder.has_missed(room_id)
        assert recorder.all_missed == [{room_id}]
        assert recorder.all_heard == []


async def test_other_rooms_are_not_heard(make_queue: MakeQueue, nursery: trio.Nursery) -> None:
    room_id, other_id = new_room_id(), new_room_id()
    publisher, _ = await start(nursery, make_queue)
    _, recorder = await start(nursery, make_queue, room_id)
    publisher.publish(other_id, [make_entry(other_id)])
    publisher.publish(room_id, marker(room_id))
    await recorder.has_heard(room_id, marker(room_id))
    assert recorder.all_heard == [(room_id, marker(room_id))]


async def test_what_is_published_while_the_queue_does_not_run_is_dropped(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id = new_room_id()
    _, recorder = await start(nursery, make_queue, room_id)
    publisher = make_queue()
    entries = [make_entry(room_id, text="x" * 10_000)] * 100
    # A hundred times a megabyte, more than any buffer has.
    for _ in range(100):
        publisher.publish(room_id, entries)
    await nursery.start(publisher.run, Recorder())
    await works(publisher)
    recorder.forget()
    publisher.publish(room_id, marker(room_id))
    await recorder.has_heard(room_id, marker(room_id))


async def test_a_flood_without_waiting_leaves_the_queue_working(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id, other_id = new_room_id(), new_room_id()
    publisher, _ = await start(nursery, make_queue)
    _, recorder = await start(nursery, make_queue, other_id)
    entries = [make_entry(room_id, text="x" * 10_000)] * 100
    for _ in range(100):
        publisher.publish(room_id, entries)
    # It is free to lose these as well, while its buffer is full.
    with trio.fail_after(5):
        while not recorder.all_heard:
            publisher.publish(other_id, marker(other_id))
            await trio.sleep(0.01)


async def test_what_a_room_missed_until_it_is_heard_is_told(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id = new_room_id()
    publisher, _ = await start(nursery, make_queue)
    queue, recorder = await start(nursery, make_queue)
    queue.subscribe(room_id)
    await recorder.has_missed(room_id)
    # From here on it is heard.
    entries = [make_entry(room_id)]
    publisher.publish(room_id, entries)
    await recorder.has_heard(room_id, entries)


async def test_rooms_can_be_subscribed_to_before_it_runs(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_ids = [new_room_id() for _ in range(5)]
    queue, recorder = make_queue(), Recorder()
    for room_id in room_ids:
        queue.subscribe(room_id)
    await nursery.start(queue.run, recorder)
    await recorder.has_missed(*room_ids)


async def test_thousands_of_rooms_are_heard(make_queue: MakeQueue, nursery: trio.Nursery) -> None:
    room_ids = [new_room_id() for _ in range(3_000)]
    publisher, _ = await start(nursery, make_queue)
    _, recorder = await start(nursery, make_queue, *room_ids)
    for room_id in room_ids:
        publisher.publish(room_id, marker(room_id))
    for room_id in room_ids:
        await recorder.has_heard(room_id, marker(room_id))


async def test_an_unsubscribed_room_is_not_heard(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id, marker_id = new_room_id(), new_room_id()
    publisher, _ = await start(nursery, make_queue)
    queue, recorder = await start(nursery, make_queue, room_id, marker_id)
    queue.unsubscribe(room_id)
    publisher.publish(room_id, [make_entry(room_id)])
    publisher.publish(marker_id, marker(marker_id))
    await recorder.has_heard(marker_id, marker(marker_id))
    assert recorder.all_heard == [(marker_id, marker(marker_id))]


async def test_what_is_on_its_way_when_a_room_is_unsubscribed_is_not_heard(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id, marker_id = new_room_id(), new_room_id()
    publisher, _ = await start(nursery, make_queue)
    queue, recorder = await start(nursery, make_queue, room_id, marker_id)
    recorder.forget()
    publisher.publish(room_id, [make_entry(room_id)])
    queue.unsubscribe(room_id)
    heard_before = len(recorder.all_heard)
    publisher.publish(marker_id, marker(marker_id))
    await recorder.has_heard(marker_id, marker(marker_id))
    assert recorder.all_heard[heard_before:] == [(marker_id, marker(marker_id))]


async def test_unsubscribing_what_is_not_heard_is_harmless(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id = new_room_id()
    publisher, _ = await start(nursery, make_queue)
    queue, recorder = await start(nursery, make_queue, room_id)
    unknown_id = new_room_id()
    queue.unsubscribe(unknown_id)
    queue.unsubscribe(unknown_id)
    publisher.publish(room_id, marker(room_id))
    await recorder.has_heard(room_id, marker(room_id))


@pytest.mark.parametrize("wait", [True, False])
async def test_a_room_that_is_subscribed_to_again_has_missed_something(
    make_queue: MakeQueue, nursery: trio.Nursery, wait: bool
) -> None:
    room_id, marker_id = new_room_id(), new_room_id()
    publisher, _ = await start(nursery, make_queue)
    queue, recorder = await start(nursery, make_queue, room_id, marker_id)
    queue.unsubscribe(room_id)
    if wait:
        publisher.publish(marker_id, marker(marker_id))
        await recorder.has_heard(marker_id, marker(marker_id))
    queue.subscribe(room_id)
    await recorder.has_missed(room_id)
    publisher.publish(room_id, marker(room_id))
    await recorder.has_heard(room_id, marker(room_id))


async def test_a_room_wanted_and_unwanted_at_once_is_left_alone(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id, marker_id = new_room_id(), new_room_id()
    publisher, _ = await start(nursery, make_queue)
    queue, recorder = await start(nursery, make_queue, marker_id)
    for _ in range(10):
        queue.subscribe(room_id)
        queue.unsubscribe(room_id)
    publisher.publish(room_id, [make_entry(room_id)])
    publisher.publish(marker_id, marker(marker_id))
    await recorder.has_heard(marker_id, marker(marker_id))
    assert recorder.all_heard == [(marker_id, marker(marker_id))]


async def test_run_ends_by_being_cancelled(make_queue: MakeQueue) -> None:
    room_id = new_room_id()
    recorder = Recorder()
    with trio.fail_after(5):
        async with trio.open_nursery() as outer:
            publisher, _ = await start(outer, make_queue)
            async with trio.open_nursery() as inner:
                queue = make_queue()
                queue.subscribe(room_id)
                await inner.start(queue.run, recorder)
                await recorder.has_missed(room_id)
                inner.cancel_scope.cancel()
            publisher.publish(room_id, marker(room_id))
            # Nor does anything that is called afterwards fail.
            queue.publish(room_id, [make_entry(room_id)])
            queue.subscribe(new_room_id())
            queue.unsubscribe(room_id)
            outer.cancel_scope.cancel()
    assert recorder.all_heard == []


async def test_a_queue_that_works_passes_its_check(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    queue, _ = await start(nursery, make_queue)
    queue.check()


async def test_what_a_listener_raises_by_mistake_is_not_hidden(make_queue: MakeQueue) -> None:
    class Broken(Recorder):
        def missed(self, room_ids: Collection[RoomId]) -> None:
            raise ZeroDivisionError

    queue = make_queue()
    queue.subscribe(new_room_id())
    with trio.fail_after(5), pytest.raises((ZeroDivisionError, ExceptionGroup)) as raised:
        await queue.run(Broken())
    error: BaseException = raised.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ZeroDivisionError)
