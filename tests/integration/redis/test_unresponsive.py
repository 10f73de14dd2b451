"""A RedisQueue whose Redis keeps its connections open but does not answer."""

from functools import partial

import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from sharechat.adapters.redis import open_queue
from sharechat.domain.ids import new_room_id
from tests.harness.queues import Recorder, make_entry, until_working
from tests.harness.redis import Proxy, RedisServer
from tests.harness.redis_queues import (
    TIMEOUT,
    assert_hears_once,
    hurry,
    impatient_queue,
    running,
    until_failing,
    works,
)


async def test_check_fails_while_redis_is_frozen_and_passes_again_once_it_is_thawed(
    server: RedisServer, mock_clock: MockClock
) -> None:
    mock_clock.rate = 1
    room_id = new_room_id()
    publisher, queue = impatient_queue(server.url), impatient_queue(server.url)
    async with running(publisher), running(queue, room_id) as recorder:
        server.freeze()
        assert "the probe" in await until_failing(queue, clock=mock_clock)
        # The kernel still accepts connections for the frozen server.
        await until_failing(queue, f"no answer within {TIMEOUT} s", clock=mock_clock)
        server.thaw()
        await recorder.has_missed(room_id)
        await until_working(queue)
        await until_working(publisher)
        await assert_hears_once(publisher, recorder, room_id)


async def test_publishing_to_a_frozen_redis_does_not_wait_and_drops_what_exceeds_the_buffer(
    server: RedisServer, mock_clock: MockClock
) -> None:
    mock_clock.rate = 1
    # A long probe interval, so that sending fails before the probe does.
    queue = open_queue(server.url, probe_interval=60, timeout=TIMEOUT, buffer_size=1_000_000)
    room_id, published = new_room_id(), 0
    entries = [make_entry(room_id, text="x" * 10_000)] * 10
    with capture_logs() as logs:
        async with running(queue):
            server.freeze()
            with trio.fail_after(10):
                while published < 1000 or works(queue):
                    for _ in range(100):
                        queue.publish(room_id, entries)
                    published += 100
                    await hurry(mock_clock)
            assert "did not accept the data" in await until_failing(queue)
            server.thaw()
            await until_working(queue)
    # The buffer holds 1 MB and another is being sent, besides what the kernel has taken.
    assert published - logs[-1]["dropped"] < 150


async def test_a_subscription_that_dies_silently_is_noticed_and_renewed(
    server: RedisServer, nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    mock_clock.rate = 1
    room_id, proxy = new_room_id(), Proxy()
    await nursery.start(proxy.run, server)
    queue = impatient_queue(proxy.url)
    async with running(queue, room_id) as recorder:
        # The connections stay open and accept commands, but nothing arrives any more.
        proxy.swallows = True
        assert "did not send back the probe" in await until_failing(queue, clock=mock_clock)
        proxy.swallows = False
        await recorder.has_missed(room_id)
        await until_working(queue)
        publisher = impatient_queue(server.url)
        async with running(publisher):
            await assert_hears_once(publisher, recorder, room_id)


async def test_check_fails_if_a_subscription_is_not_confirmed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def answer_once(stream: trio.SocketStream) -> None:
        # Answers the first command of each connection and none after it.
        await stream.receive_some()
        await stream.send_all(b"+OK\r\n")
        await trio.sleep_forever()

    listeners = await nursery.start(partial(trio.serve_tcp, answer_once, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    queue = impatient_queue(f"redis://127.0.0.1:{port}")
    await nursery.start(queue.run, Recorder())
    await until_failing(queue, "did not confirm a subscription")
