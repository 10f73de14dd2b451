"""The contract of the Queue port: `run` and `check`."""

from collections.abc import Collection

import pytest
import trio

from sharechat.domain.ids import RoomId, new_room_id
from tests.harness.deadline import DEADLINE
from tests.harness.queues import MakeQueue, Recorder, make_entry, marker, start_queue


async def test_a_cancelled_queue_hears_nothing_and_can_still_be_called(
    make_queue: MakeQueue,
) -> None:
    room_id = new_room_id()
    recorder = Recorder()
    with trio.fail_after(DEADLINE):
        async with trio.open_nursery() as outer:
            publisher, _ = await start_queue(outer, make_queue)
            _, other = await start_queue(outer, make_queue, room_id)
            async with trio.open_nursery() as inner:
                queue = make_queue()
                queue.subscribe(room_id)
                await inner.start(queue.run, recorder)
                await recorder.has_missed(room_id)
                inner.cancel_scope.cancel()
            publisher.publish(room_id, marker(room_id))
            await other.has_heard(room_id, marker(room_id))
            queue.publish(room_id, [make_entry(room_id)])
            queue.subscribe(new_room_id())
            queue.unsubscribe(room_id)
            outer.cancel_scope.cancel()
    assert recorder.all_heard == []


async def test_check_passes_while_the_queue_works(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    queue, _ = await start_queue(nursery, make_queue)
    queue.check()


async def test_an_exception_in_a_listener_is_not_hidden(make_queue: MakeQueue) -> None:
    class BrokenListener(Recorder):
        def missed(self, room_ids: Collection[RoomId]) -> None:
            raise ZeroDivisionError

    queue = make_queue()
    queue.subscribe(new_room_id())
    with trio.fail_after(DEADLINE), pytest.raises((ZeroDivisionError, ExceptionGroup)) as raised:
        await queue.run(BrokenListener())
    error: BaseException = raised.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ZeroDivisionError)
