"""Two processes over a Redis Cluster, while its slots move and a primary is killed."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import trio
from redis.crc import key_slot

from tests.harness.cluster import assert_heard_without_gaps, listen
from tests.harness.http import fetch, history, make_room, texts
from tests.harness.postgres import PostgresServer
from tests.harness.process import SharechatProcess
from tests.harness.redis_cluster import RedisCluster
from tests.harness.waiting import until


class Setup:
    """A Postgres, a cluster of six nodes, and two processes that use them."""

    def __init__(self, stack: ExitStack) -> None:
        postgres = stack.enter_context(PostgresServer())
        self.redis = stack.enter_context(RedisCluster(replicas=True))
        flags = ("--database-url", postgres.url, "--redis-url", self.redis.url)
        self.processes = [stack.enter_context(SharechatProcess(*flags)) for _ in range(2)]


@pytest.fixture
def setup() -> Iterator[Setup]:
    with ExitStack() as stack:
        yield Setup(stack)


@pytest.mark.time_limit(120)
async def test_every_member_hears_every_message_though_the_cluster_changes(setup: Setup) -> None:
    """Some rooms' messages go through the primary that is killed, others' slots have moved."""
    rooms = [make_room(setup.processes[0].url) for _ in range(6)]
    channels = [b"sharechat:0:room:" + room.encode() for room in rooms]
    async with trio.open_nursery() as nursery:
        listeners = {
            room: [await listen(nursery, process.ws_url(room)) for process in setup.processes]
            for room in rooms
        }

        async def say_some(prefix: int) -> None:
            async with trio.open_nursery() as talking:
                for pair in listeners.values():
                    for listener in pair:
                        talking.start_soon(listener.say_numbers, prefix, 10)

        async def change() -> None:
            for channel in channels[:3]:
                source = setup.redis.owner(channel)
                others = [node for node in setup.redis.primaries if node is not source]
                slots = [key_slot(channel)]
                await trio.to_thread.run_sync(setup.redis.move, slots, source, others[0])
            setup.redis.owner(channels[-1]).kill()

        await say_some(1)
        async with trio.open_nursery() as both:
            both.start_soon(change)
            both.start_soon(say_some, 2)
        await say_some(3)
        for room, pair in listeners.items():
            for listener in pair:
                await listener.until("chat", 60)
            log = history(setup.processes[1].url, room)
            assert len(texts(log)) == 60
            for listener in pair:
                assert_heard_without_gaps(listener.heard, log)
        nursery.cancel_scope.cancel()
    urls = [f"{process.url}/api/healthz" for process in setup.processes]
    await until(lambda: all(fetch(url).status == 200 for url in urls), within=30)
