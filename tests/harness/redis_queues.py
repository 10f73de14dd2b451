"""Helpers for the tests that treat a RedisQueue's server badly."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.adapters.redis import open_queue
from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import RoomId
from sharechat.domain.ports import Queue
from tests.harness.deadline import DEADLINE
from tests.harness.queues import Recorder, make_entry, until_working
from tests.harness.redis import RedisServer
from tests.harness.waiting import until

TIMEOUT = 0.4
"""The `timeout` of an `impatient_queue`, in seconds."""

impatient_queue = partial(open_queue, probe_interval=0.05, timeout=TIMEOUT)
"""Makes a Queue over Redis that soon notices that Redis does not answer."""


@asynccontextmanager
async def running(queue: Queue, *room_ids: RoomId) -> AsyncIterator[Recorder]:
    """Subscribe `queue` to the rooms and run it while the block lasts; yield its listener.

    The block begins when the queue works and hears the rooms.
    """
    recorder = Recorder()
    for room_id in room_ids:
        queue.subscribe(room_id)
    async with trio.open_nursery() as nursery:
        await nursery.start(queue.run, recorder)
        await until_working(queue)
        await recorder.has_missed(*room_ids)
        recorder.clear()
        yield recorder
        nursery.cancel_scope.cancel()


def works(queue: Queue) -> bool:
    """Return whether `check` passes."""
    try:
        queue.check()
    except UnavailableError:
        return False
    return True


async def until_failing(queue: Queue, reason: str = "", *, clock: MockClock | None = None) -> str:
    """Wait until `check` fails for a cause whose text contains `reason`; return that text.

    With `clock`, hurry it: Redis does not answer, and only time has to pass.
    """
    with trio.fail_after(DEADLINE):
        while True:
            try:
                queue.check()
            except UnavailableError as error:
                if reason in str(error.__cause__):
                    return str(error.__cause__)
            # `check` only describes the present moment, so it has to be polled.
            if clock is None:
                await trio.sleep(0.01)
            else:
                await hurry(clock)


async def hurry(clock: MockClock) -> None:
    """Let a small part of TIMEOUT pass at once."""
    clock.jump(TIMEOUT / 8)
    await wait_all_tasks_blocked()


async def assert_hears_once(publisher: Queue, recorder: Recorder, room_id: RoomId) -> None:
    """Check that an entry that `publisher` publishes is heard, and heard once."""
    recorder.clear()
    entries = [make_entry(room_id)]
    publisher.publish(room_id, entries)
    await recorder.has_heard(room_id, entries)
    assert recorder.all_heard == [(room_id, entries)]


def sharechat_connections(server: RedisServer) -> list[str]:
    """Return the lines of CLIENT LIST that belong to a RedisQueue."""
    return [line for line in server.ask("CLIENT", "LIST").splitlines() if "sharechat" in line]


async def until_disconnected(server: RedisServer) -> None:
    """Wait until the server has noticed that every RedisQueue closed its connections."""
    await until(lambda: not sharechat_connections(server), within=DEADLINE)
