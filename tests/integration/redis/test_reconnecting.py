"""A RedisQueue whose Redis goes away and comes back."""

from functools import partial

import pytest
import trio
from structlog.testing import capture_logs

from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import new_room_id
from tests.harness.deadline import DEADLINE
from tests.harness.queues import Recorder, make_entry, marker, new_room_ids, until_working
from tests.harness.redis import Proxy, RedisServer
from tests.harness.redis_queues import (
    assert_hears_once,
    impatient_queue,
    running,
    until_failing,
)
from tests.harness.waiting import until

CLOSED_PORT = "redis://127.0.0.1:1"
"""No server listens on port 1 where tests run."""


async def test_after_a_restart_every_room_was_missed_and_is_heard_again() -> None:
    room_ids = new_room_ids(50)
    with RedisServer() as server:
        publisher, queue = impatient_queue(server.url), impatient_queue(server.url)
        async with running(publisher), running(queue, *room_ids) as recorder:
            await trio.to_thread.run_sync(server.kill)
            reason = await until_failing(queue)
            assert f"127.0.0.1:{server.port}" in reason
            publisher.publish(room_ids[0], [make_entry(room_ids[0])])
            await trio.to_thread.run_sync(server.restart)
            await recorder.has_missed(*room_ids)
            assert recorder.all_heard == []
            await until_working(publisher)
            await until_working(queue)
            for room_id in room_ids:
                await assert_hears_once(publisher, recorder, room_id)


async def test_subscriptions_made_during_an_outage_take_effect_after_it() -> None:
    kept_id, new_id, gone_id = new_room_ids(3)
    with RedisServer() as server:
        publisher, queue = impatient_queue(server.url), impatient_queue(server.url)
        async with running(publisher), running(queue, kept_id, gone_id) as recorder:
            await trio.to_thread.run_sync(server.kill)
            await until_failing(queue)
            queue.subscribe(new_id)
            queue.unsubscribe(gone_id)
            await trio.to_thread.run_sync(server.restart)
            await recorder.has_missed(kept_id, new_id)
            assert not any(gone_id in missed for missed in recorder.all_missed)
            await until_working(publisher)
            publisher.publish(gone_id, marker(gone_id))
            await assert_hears_once(publisher, recorder, new_id)
            await assert_hears_once(publisher, recorder, kept_id)


async def test_a_queue_starts_without_redis_and_check_knows_why_it_fails(
    nursery: trio.Nursery,
) -> None:
    queue = impatient_queue(CLOSED_PORT)
    with pytest.raises(UnavailableError) as refused:
        queue.check()
    assert str(refused.value) == "The Queue is unavailable."  # Clients may see it.
    assert "not running" in str(refused.value.__cause__)
    with trio.fail_after(DEADLINE):
        await nursery.start(queue.run, Recorder())
    reason = await until_failing(queue, "failed")
    assert reason == "connecting to 127.0.0.1:1 failed: Connection refused"


async def test_check_names_a_host_that_does_not_exist(nursery: trio.Nursery) -> None:
    queue = impatient_queue("redis://no-such-host.invalid", timeout=4)
    await nursery.start(queue.run, Recorder())
    assert "no-such-host.invalid:6379 failed: " in await until_failing(queue, "failed")


async def test_check_tells_if_the_server_is_not_redis(nursery: trio.Nursery) -> None:
    async def greet(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 mail.example ESMTP\r\n")
        await trio.sleep_forever()

    listeners = await nursery.start(partial(trio.serve_tcp, greet, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    queue = impatient_queue(f"redis://127.0.0.1:{port}")
    await nursery.start(queue.run, Recorder())
    await until_failing(queue, "not Redis")


async def test_the_start_and_the_end_of_an_outage_are_logged_once_each(
    server: RedisServer, nursery: trio.Nursery
) -> None:
    proxy = Proxy()
    await nursery.start(proxy.run, server)
    queue = impatient_queue(proxy.url)
    with capture_logs() as logs:
        async with running(queue):
            proxy.refuses = True
            proxy.drop()
            await until(lambda: proxy.connections >= 2 + 3)  # Three attempts have failed.
            queue.publish_look(new_room_id())
            proxy.refuses = False
            await until_working(queue)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("queue unavailable", "warning"),
        ("queue available again", "info"),
    ]
    assert logs[1]["dropped"] == 1


async def test_connections_that_redis_closes_are_made_again(server: RedisServer) -> None:
    # Redis also closes the connection of a subscriber that reads too slowly.
    room_id = new_room_id()
    publisher, queue = impatient_queue(server.url), impatient_queue(server.url)
    async with running(publisher), running(queue, room_id) as recorder:
        for kind in ("pubsub", "normal", "pubsub"):
            recorder.clear()
            server.ask("CLIENT", "KILL", "TYPE", kind)
            await recorder.has_missed(room_id)
            await until_working(publisher)
            await until_working(queue)
            await assert_hears_once(publisher, recorder, room_id)


async def test_connections_that_the_network_cuts_are_made_again(
    server: RedisServer, nursery: trio.Nursery
) -> None:
    room_id, proxy = new_room_id(), Proxy()
    await nursery.start(proxy.run, server)
    publisher = impatient_queue(server.url)
    queue = impatient_queue(f"redis://127.0.0.1:{proxy.port}")
    async with running(publisher), running(queue, room_id) as recorder:
        for _ in range(3):
            recorder.clear()
            proxy.drop()
            await recorder.has_missed(room_id)
            await assert_hears_once(publisher, recorder, room_id)
    assert proxy.connections == 2 * (1 + 3)
