"""A client of `sharechat.v1` is told by a close code why it may not join."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from uuid import uuid4

import pytest
import trio
from trio_websocket import ConnectionClosed

from sharechat.actors.policy import Policy
from sharechat.bootstrap import build
from sharechat.config import Settings
from sharechat.domain.outcomes import PROBLEMS
from tests.harness.cluster import Cluster
from tests.harness.deadline import DEADLINE
from tests.harness.http import HANDSHAKE, Response, fetch, make_room
from tests.harness.plain_asgi import hypercorn
from tests.harness.process import SharechatProcess
from tests.harness.serving import serving
from tests.harness.talker import Talker, join

V1 = "sharechat.v1"
CODES = {problem.slug: problem.code for problem in PROBLEMS}

on_both_paths = pytest.mark.parametrize("path", ["sharechat serve", "hypercorn"])


@asynccontextmanager
async def serve(path: str, **settings: object) -> AsyncIterator[str]:
    """Serve with these settings; yield the address of a room's websocket."""
    if path == "hypercorn":
        async with hypercorn(**settings) as url:
            yield await room_at(url)
    else:
        names = {name: name if name.endswith("_url") else f"sharechat_{name}" for name in settings}
        env = {names[name].upper(): str(value) for name, value in settings.items()}
        with SharechatProcess(env=env) as server:
            yield await room_at(server.url)
            assert "[error" not in server.stderr, server.stderr


async def room_at(url: str) -> str:
    room = await trio.to_thread.run_sync(make_room, url)
    return f"{url.replace('http', 'ws')}/api/serve/{room}"


async def refusal(url: str, headers: Mapping[str, str]) -> Response:
    """Return the answer to a handshake that is refused."""
    ask = partial(fetch, url.replace("ws:", "http:"), headers=HANDSHAKE | dict(headers))
    return await trio.to_thread.run_sync(ask)


async def assert_refused(nursery: trio.Nursery, url: str, slug: str, **headers: str) -> None:
    """Assert that joining fails for one reason, told by a status or, with v1, by a code."""
    refused = await refusal(url, headers)
    assert refused.json["type"] == f"tag:sharechat.dev,2026:{slug}"
    talker = await join(nursery, url, headers, subprotocols=["chat", V1])
    assert talker.websocket.subprotocol == V1
    names = {name.lower() for name, _ in talker.websocket.handshake_headers}
    assert b"sharechat-member-id" not in names
    close = await talker.hear_close()
    assert close.code == CODES[slug]
    if slug != "too-fast":  # It names the seconds until the next try.
        assert close.reason == refused.json["detail"]


async def assert_served(nursery: trio.Nursery, url: str, **headers: str) -> Talker:
    """Assert that joining succeeds. Hypercorn waits for members who have not left at its end."""
    talker = await join(nursery, url, headers, subprotocols=[V1])
    assert [(await talker.hear())["type"] for _ in range(2)] == ["welcome", "joined"]
    return talker


@on_both_paths
async def test_a_room_or_a_message_that_does_not_exist_is_told_by_its_code(
    path: str, nursery: trio.Nursery
) -> None:
    async with serve(path) as url:
        rooms = url.rpartition("/")[0]
        await assert_refused(nursery, f"{rooms}/{uuid4()}", "room-not-found")
        await assert_refused(nursery, f"{rooms}/x", "room-not-found")
        await assert_refused(nursery, f"{url}?after={uuid4()}", "bad-cursor")
        await assert_refused(nursery, f"{url}?after=x", "bad-cursor")
        talker = await assert_served(nursery, url)
        await talker.close()


@on_both_paths
async def test_a_full_server_closes_with_its_code_until_a_member_leaves(
    path: str, nursery: trio.Nursery
) -> None:
    async with serve(path, max_members=1) as url:
        one = await join(nursery, url, subprotocols=[V1])
        assert (await one.hear())["type"] == "welcome"
        await assert_refused(nursery, url, "full")
        await one.close()

        async def is_served() -> bool:
            talker = await join(nursery, url, subprotocols=[V1])
            try:
                served = bool((await talker.hear())["type"] == "welcome")
            except ConnectionClosed:
                return False
            await talker.close()
            return served

        # The place is given back once the connection has ended.
        with trio.fail_after(DEADLINE):
            while not await is_served():
                pass


@on_both_paths
async def test_an_address_that_joins_too_often_is_told_by_a_code(
    path: str, nursery: trio.Nursery
) -> None:
    async with serve(path, join_rate=0.01) as url:
        talker = await assert_served(nursery, url)
        await assert_refused(nursery, url, "too-fast")
        await talker.close()


async def test_an_address_with_too_many_members_is_told_by_a_code(nursery: trio.Nursery) -> None:
    """Only behind a proxy: otherwise the connection is refused before anything is read."""
    flags = ("--max-per-address", "1", "--trusted-proxy", "127.0.0.1")
    one, other = {"X-Forwarded-For": "1.1.1.1"}, {"X-Forwarded-For": "2.2.2.2"}
    with SharechatProcess(*flags) as server:
        url = await room_at(server.url)
        await assert_served(nursery, url, **one)
        await assert_refused(nursery, url, "too-many", **one)
        await assert_served(nursery, url, **other)


@on_both_paths
async def test_rooms_that_cannot_be_reached_are_told_by_a_code(
    servers: Cluster, path: str, nursery: trio.Nursery
) -> None:
    urls = {"database_url": servers.postgres.url, "redis_url": servers.redis.url}
    async with serve(path, **urls) as url:
        talker = await assert_served(nursery, url)
        servers.postgres.stop()
        await trio.sleep(Policy().room_freshness)
        try:
            await assert_refused(nursery, url, "unavailable")
        finally:
            servers.postgres.start()
        await talker.close()


async def test_a_server_that_is_stopping_closes_with_its_code(nursery: trio.Nursery) -> None:
    server = build(Settings(in_memory=True))
    async with serving(server) as (host, port):
        url = await room_at(f"http://{host}:{port}")
        await server.controller.stop()
        await assert_refused(nursery, url, "stopping")


@on_both_paths
async def test_a_page_that_may_not_join_gets_a_403_whatever_it_offers(path: str) -> None:
    async with serve(path) as url:
        for headers, slug in (
            ({"Origin": "https://evil.example"}, "origin-not-allowed"),
            ({"Host": "evil.example"}, "host-not-allowed"),
        ):
            refused = await refusal(url, {"Sec-WebSocket-Protocol": V1, **headers})
            assert refused.status == 403
            assert refused.json["type"] == f"tag:sharechat.dev,2026:{slug}"
