"""How soon a RedisQueue tries to connect again."""

from functools import partial
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.adapters.redis import open_queue
from tests.harness.deadline import eventually
from tests.harness.queues import Recorder
from tests.harness.redis import Proxy, RedisServer
from tests.harness.redis_queues import works


async def test_attempts_to_connect_become_rarer_down_to_one_in_two_seconds(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    attempts: list[float] = []

    async def refuse(stream: trio.SocketStream) -> None:
        attempts.append(trio.current_time())
        await stream.aclose()

    listeners = await nursery.start(partial(trio.serve_tcp, refuse, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    await nursery.start(open_queue(f"redis://127.0.0.1:{port}").run, Recorder())
    await trio.sleep(60)
    pauses = [later - earlier for earlier, later in pairwise(attempts)]
    assert len(pauses) > 30
    for number, pause in enumerate(pauses):
        longest = min(0.05 * 2**number, 2)
        assert 0.99 * longest / 2 < pause < 1.01 * longest


@pytest.mark.parametrize("lasts", [True, False])
async def test_only_a_connection_that_has_lasted_ends_the_backoff(
    server: RedisServer, nursery: trio.Nursery, mock_clock: MockClock, lasts: bool
) -> None:
    proxy = Proxy()
    await nursery.start(proxy.run, server)
    queue = open_queue(proxy.url, timeout=3)
    await nursery.start(queue.run, Recorder())
    proxy.refuses = True
    while proxy.connections < 10:
        await pass_time(mock_clock, 2)
    proxy.refuses = False
    await pass_time(mock_clock, 2)
    await eventually(lambda: works(queue))
    if lasts:
        await pass_time(mock_clock, 2 * 3 + 1)
    connections = proxy.connections
    proxy.refuses = True
    proxy.drop()
    await eventually(lambda: not works(queue))
    await pass_time(mock_clock, 0.05)
    assert proxy.connections == connections + lasts
    await pass_time(mock_clock, 2)
    assert proxy.connections > connections


async def pass_time(clock: MockClock, seconds: float) -> None:
    """Let time pass for the Queue, and let it finish what it then begins."""
    clock.jump(seconds)
    await wait_all_tasks_blocked(0.01)
