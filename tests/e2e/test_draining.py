"""Draining: `/readyz` says no for a while before the server stops."""

import signal

import trio

from tests.harness.cluster import Cluster
from tests.harness.deadline import eventually, wait_until
from tests.harness.http import fetch, make_room
from tests.harness.process import SharechatProcess
from tests.harness.talker import join


def is_ready(server: SharechatProcess) -> bool:
    return fetch(f"{server.url}/readyz").status == 200


async def test_everything_is_served_while_the_server_drains(nursery: trio.Nursery) -> None:
    with SharechatProcess("--drain-delay", "1h") as server:
        talker = await join(nursery, server.ws_url(room := make_room(server.url)))
        assert (await talker.hear())["type"] == "joined"
        assert is_ready(server)
        server.signal(signal.SIGTERM)
        await eventually(lambda: not is_ready(server))
        newcomer = await join(nursery, server.ws_url(room))
        await newcomer.say("hello")
        assert await talker.hear_chats(1) == ["hello"]
        assert fetch(f"{server.url}/livez").status == 200
        make_room(server.url)
        await newcomer.close()
        await talker.close()


async def test_after_the_delay_the_server_stops(nursery: trio.Nursery) -> None:
    """Takes that second of real time."""
    with SharechatProcess("--drain-delay", "1s") as server:
        talker = await join(nursery, server.ws_url(make_room(server.url)))
        asked = trio.current_time()
        server.signal(signal.SIGTERM)
        assert await talker.close_code() == 1012
        assert trio.current_time() - asked >= 1
        assert await trio.to_thread.run_sync(server.wait) == 0


def test_each_worker_drains(servers: Cluster) -> None:
    """Takes a second of real time, the delay."""
    server = servers.serve("--workers", "2", "--drain-delay", "1s")
    assert is_ready(server)
    server.signal(signal.SIGTERM)
    wait_until(lambda: server.stderr.count("draining") == 2)
    assert server.wait() == 0
