"""The same application over hypercorn alone: whatever plain ASGI can do, it does."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from wsproto.frame_protocol import Opcode

from sharechat.bootstrap import build
from sharechat.config import Settings
from tests.harness.deadline import DEADLINE, eventually
from tests.harness.http import HANDSHAKE, Response, fetch, history, make_room, texts
from tests.harness.peer import Peer, frame, text
from tests.harness.talker import join


@asynccontextmanager
async def hypercorn(**settings: Any) -> AsyncIterator[str]:
    """Serve the application over hypercorn; yield its URL."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    config.graceful_timeout = 1
    stop = trio.Event()
    app = build(Settings(**settings)).app
    async with trio.open_nursery() as nursery:
        start = partial(serve, app, config, shutdown_trigger=stop.wait)
        with trio.fail_after(DEADLINE):
            (url,) = await nursery.start(start)
        try:
            yield url
        finally:
            stop.set()
            nursery.cancel_scope.deadline = trio.current_time() + DEADLINE
    assert not nursery.cancel_scope.cancelled_caught


async def ask(url: str, headers: Mapping[str, str] | None = None) -> Response:
    return await trio.to_thread.run_sync(partial(fetch, url, headers=headers))


async def room_at(url: str) -> str:
    return await trio.to_thread.run_sync(make_room, url)


def ws(url: str, room: str) -> str:
    return f"{url.replace('http', 'ws')}/api/serve/{room}"


async def said(url: str, room: str) -> list[str]:
    return texts(await trio.to_thread.run_sync(history, url, room))


async def everybody_left(url: str, room: str) -> None:
    await eventually(lambda: not fetch(f"{url}/api/room/{room}").json["members"])


async def test_members_hear_each_other(nursery: trio.Nursery) -> None:
    async with hypercorn() as url:
        room = await room_at(url)
        one = await join(nursery, ws(url, room))
        own = await one.hear()
        assert own["type"] == "joined"
        two = await join(nursery, ws(url, room))
        assert (await two.hear())["type"] == "joined"
        await two.say("żółw")
        await one.say(b"zwei")
        heard = [(await one.hear_chats(2)), (await two.hear_chats(2))]
        assert heard[0] == heard[1] == await said(url, room)
        members = (await ask(f"{url}/api/room/{room}")).json["members"]
        assert members[0] == {"id": own["memberId"], "name": own["memberName"]}
        await one.close()
        assert [(await two.hear())["type"] for _ in range(1)] == ["left"]
        await two.close()


async def test_what_was_said_right_before_closing_is_stored() -> None:
    async with hypercorn() as url:
        room = await room_at(url)
        peer = await Peer.open(ws(url, room))
        words = [str(number) for number in range(30)]
        await peer.send(b"".join(map(text, words)) + frame(Opcode.CLOSE, b"\x03\xe8"))
        assert (await peer.hear_close()).code == 1000
        await peer.stream.aclose()
        await everybody_left(url, room)
        assert await said(url, room) == words


async def test_what_was_said_right_before_hanging_up_is_stored() -> None:
    async with hypercorn() as url:
        room = await room_at(url)
        peer = await Peer.open(ws(url, room))
        words = [str(number) for number in range(30)]
        await peer.send(b"".join(map(text, words)))
        await peer.stream.send_eof()
        assert await peer.ends()
        await peer.stream.aclose()
        await everybody_left(url, room)
        assert await said(url, room) == words


async def test_limits(nursery: trio.Nursery) -> None:
    async with hypercorn(max_message_bytes=100) as url:
        room = await room_at(url)
        witness = await join(nursery, ws(url, room))
        await witness.hear()
        for wrong, code in (("é" * 51, 1009), (b"x" * 101, 1009), (b"\xff", 1007)):
            one = await join(nursery, ws(url, room))
            await one.say("é" * 50)
            await one.say(wrong)
            assert await one.close_code() == code
        assert await witness.hear_chats(3) == ["é" * 50] * 3
        await witness.say("a\0b")
        while (message := await witness.hear())["type"] != "failed":
            pass
        assert "NUL" in message["message"]
        await witness.say("fine")
        assert (await witness.hear_chat())["message"] == "fine"
        await witness.close()


async def test_refusals() -> None:
    async with hypercorn() as url:
        room = await room_at(url)
        evil = {"Origin": "http://evil.example"}
        for path, headers, status in (("x", {}, 404), (room, evil, 403)):
            answer = await ask(f"{url}/api/serve/{path}", headers=HANDSHAKE | headers)
            assert answer.status == status
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.json["status"] == status


async def test_stopping_closes_every_member(nursery: trio.Nursery) -> None:
    async with hypercorn() as url:
        talker = await join(nursery, ws(url, await room_at(url)))
        await talker.hear()
    assert await talker.close_code() == 1012
