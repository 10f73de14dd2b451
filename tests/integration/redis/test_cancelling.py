"""Cancelling a RedisQueue's `run` leaves no connection and no task behind."""

import pytest
import trio
import trio.testing

from sharechat.adapters.redis import open_queue
from sharechat.domain.ids import new_room_id
from tests.harness.queues import Recorder, make_entry
from tests.harness.redis import RedisServer
from tests.harness.redis_queues import (
    impatient_queue,
    running,
    sharechat_connections,
    until_disconnected,
    until_failing,
)


async def test_cancelling_closes_both_connections(server: RedisServer) -> None:
    await until_disconnected(server)
    queue = impatient_queue(server.url)
    async with running(queue, new_room_id()):
        names = " ".join(sharechat_connections(server))
        assert "name=sharechat-publisher" in names
        assert "name=sharechat-subscriber" in names
    await until_disconnected(server)
    assert "not running" in await until_failing(queue)


async def test_cancelling_does_not_wait_for_a_frozen_server(server: RedisServer) -> None:
    queue, room_id = open_queue(server.url), new_room_id()
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with running(queue, room_id):
        server.freeze()
        # More than the kernel buffers, so that a send is blocked.
        for _ in range(50):
            queue.publish(room_id, [make_entry(room_id, text="x" * 100_000)])
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
    assert trio.current_time() - started < 2  # After three seconds a send would give up.
    assert trio.lowlevel.current_statistics().tasks_living == tasks


@pytest.mark.parametrize("checkpoints", range(0, 40, 3))
async def test_cancelling_while_connecting_leaves_no_connection_open(
    server: RedisServer, checkpoints: int
) -> None:
    # An unclosed socket would also cause a ResourceWarning, which is an error.
    queue = impatient_queue(server.url)
    queue.subscribe(new_room_id())
    async with trio.open_nursery() as nursery:
        await nursery.start(queue.run, Recorder())
        for _ in range(checkpoints):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    await until_disconnected(server)
