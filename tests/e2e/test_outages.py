"""What a cluster does while a process, Postgres or Redis is away."""

import os
import signal
from contextlib import suppress

import pytest
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected

from tests.harness.cluster import (
    Cluster,
    Listener,
    Pair,
    assert_heard_without_gaps,
    listen,
)
from tests.harness.deadline import DEADLINE, eventually
from tests.harness.http import fetch, history, make_room, members, texts
from tests.harness.impatient import LEASE_TTL, STOP_TIMEOUT
from tests.harness.process import children
from tests.harness.talker import join


@pytest.mark.parametrize("how", ["kill", "freeze"])
async def test_every_member_hears_every_message_though_redis_was_away(
    servers: Cluster, pair: Pair, how: str
) -> None:
    take_away, give_back = {
        "kill": (servers.redis.kill, servers.redis.start),
        "freeze": (servers.redis.freeze, servers.redis.thaw),
    }[how]
    room = make_room(pair[0].url)
    async with trio.open_nursery() as nursery:
        listeners = [await listen(nursery, server.ws_url(room)) for server in pair]

        async def say_some(prefix: int) -> None:
            async with trio.open_nursery() as talking:
                for listener in listeners:
                    talking.start_soon(listener.say_numbers, prefix, 10)

        await say_some(1)
        for listener in listeners:
            await listener.until("chat", 20)
        take_away()
        try:
            await say_some(2)
            # Each hears at least what was said to its own process.
            for listener in listeners:
                await listener.until("chat", 30)
        finally:
            give_back()
        await say_some(3)
        for listener in listeners:
            await listener.until("chat", 60)
        log = history(pair[1].url, room)
        assert len(texts(log)) == 60
        for listener in listeners:
            assert_heard_without_gaps(listener.heard, log)
        nursery.cancel_scope.cancel()


async def listen_once_served(nursery: trio.Nursery, url: str) -> Listener:
    """Join again and again, as clients do that are told that the server restarts."""
    while True:
        with suppress(ConnectionClosed):
            return await listen(nursery, url)


async def test_members_of_dead_processes_leave_once(servers: Cluster, impatient: Pair) -> None:
    """Takes as long as a lease: a process counts as dead only once its lease has run out.

    Two workers are killed and replaced, one process is killed, and one is frozen past its
    lease. The members on the other processes hear each of the dead ones' members leave, once.
    When the frozen process is thawed it closes its members and serves again, once it has
    another lease.
    """
    killed, frozen = servers.serve(), servers.serve_impatiently()
    workers = servers.serve("--workers", "2")
    room = make_room(impatient[0].url)
    async with trio.open_nursery() as nursery:
        watchers = [await listen(nursery, server.ws_url(room)) for server in impatient]
        victims = [
            await join(nursery, server.ws_url(room))
            for server in (killed, frozen, workers, workers, workers, workers)
        ]
        for watcher in watchers:
            await watcher.until("joined", 7 if watcher is watchers[1] else 8)
        before = children(workers.pid)
        os.kill(frozen.pid, signal.SIGSTOP)
        for pid in (killed.pid, *before):
            os.kill(pid, signal.SIGKILL)
        for watcher in watchers:
            await watcher.until("left", 6)
        os.kill(frozen.pid, signal.SIGCONT)
        assert await victims[1].close_code() == 1012
        again = await listen_once_served(nursery, frozen.ws_url(room))
        await again.say_numbers(0, 1)
        for watcher in watchers:
            await watcher.until("chat", 1)
        log = history(impatient[1].url, room)
        dead = {message["memberId"] for message in log if message["type"] == "joined"}
        dead -= {member["id"] for member in members(impatient[1].url, room)}
        left = [message["memberId"] for message in log if message["type"] == "left"]
        assert len(left) == len(set(left)) == len(dead)
        assert set(left) == dead
        for watcher in watchers:
            assert_heard_without_gaps(watcher.heard, log)
        await eventually(lambda: len(children(workers.pid)) == 2)
        assert not set(before) & set(children(workers.pid))
        nursery.cancel_scope.cancel()
    assert workers.stop() == 0
    assert frozen.stop() == 0


async def healthy_again(url: str) -> None:
    await eventually(lambda: fetch(f"{url}/api/healthz").status == 200)


async def test_a_database_outage_makes_nobody_leave(servers: Cluster, impatient: Pair) -> None:
    """Takes longer than a lease, since no lease may run out during an outage."""
    room = make_room(impatient[0].url)
    async with trio.open_nursery() as nursery:
        listeners = [await listen(nursery, server.ws_url(room)) for server in impatient]
        await listeners[0].until("joined", 2)
        servers.postgres.stop()
        outage = trio.current_time()
        await listeners[0].say_numbers(0, 1)
        await listeners[0].until("failed", 1)
        assert fetch(f"{impatient[0].url}/api/healthz").status == 503
        refused = fetch(f"{impatient[1].url}/api/room/{room}")
        assert refused.status == 503
        assert refused.headers["Retry-After"]
        with pytest.raises(ConnectionRejected) as rejected:
            await join(nursery, impatient[1].ws_url(room))
        assert rejected.value.status_code == 503
        await trio.sleep_until(outage + LEASE_TTL + 1)
        servers.postgres.start()
        for server in impatient:
            await healthy_again(server.url)
        for listener in listeners:
            await listener.say_numbers(1, 3)
        for listener in listeners:
            await listener.until("chat", 6)
            assert not listener.ids("left")
            assert_heard_without_gaps(
                [m for m in listener.heard if m["type"] != "failed"],
                history(impatient[1].url, room),
            )
        nursery.cancel_scope.cancel()


async def test_stopping_without_a_database_ends_in_time(servers: Cluster) -> None:
    """Takes as long as stopping may take."""
    server = servers.serve_impatiently()
    room = make_room(server.url)
    async with trio.open_nursery() as nursery:
        talker = await join(nursery, server.ws_url(room))
        servers.postgres.freeze()
        try:
            server.signal(signal.SIGTERM)
            assert await talker.close_code() == 1012
            assert server.wait(within=STOP_TIMEOUT + DEADLINE) == 0
        finally:
            servers.postgres.thaw()
        nursery.cancel_scope.cancel()
