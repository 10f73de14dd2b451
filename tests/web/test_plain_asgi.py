"""The application over hypercorn alone, as a plain ASGI application."""

from functools import partial
from typing import Any

import pytest
import trio
from wsproto.frame_protocol import Opcode

from sharechat.bootstrap import build
from sharechat.config import Settings
from sharechat.domain.ids import new_room_id
from sharechat.domain.messages import RoomInfo
from sharechat.web.asgi_connection import CLOSE_TIMEOUT
from tests.harness.deadline import DEADLINE, eventually
from tests.harness.http import HANDSHAKE, fetch, history, make_room, members, texts
from tests.harness.peer import Peer, frame, text
from tests.harness.plain_asgi import hypercorn
from tests.harness.talker import join
from tests.harness.waiting import until


async def room_at(url: str) -> str:
    return await trio.to_thread.run_sync(make_room, url)


def ws(url: str, room: str) -> str:
    return f"{url.replace('http', 'ws')}/api/serve/{room}"


async def said(url: str, room: str) -> list[str]:
    return texts(await trio.to_thread.run_sync(history, url, room))


async def everybody_left(url: str, room: str) -> None:
    await eventually(lambda: not members(url, room))


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
        heard = [await one.hear_chats(2), await two.hear_chats(2)]
        assert heard[0] == heard[1] == await said(url, room)
        present = await trio.to_thread.run_sync(members, url, room)
        assert present[0] == {"id": own["memberId"], "name": own["memberName"]}
        await one.close()
        assert (await two.hear())["type"] == "left"
        await two.close()


async def test_messages_sent_right_before_a_close_are_stored() -> None:
    async with hypercorn() as url:
        room = await room_at(url)
        peer = await Peer.open(ws(url, room))
        words = [str(number) for number in range(30)]
        await peer.send(b"".join(map(text, words)) + frame(Opcode.CLOSE, b"\x03\xe8"))
        assert (await peer.hear_close()).code == 1000
        await peer.stream.aclose()
        await everybody_left(url, room)
        assert await said(url, room) == words


async def test_messages_sent_right_before_the_end_of_the_stream_are_stored() -> None:
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


class Client:
    """A websocket's client and the ASGI server, which refuses what is sent after the end."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        """The types of what the application has sent."""
        self.late: list[str] = []
        self._gone = False
        self._events, self._receive = trio.open_memory_channel[dict[str, Any]](10)
        self._events.send_nowait({"type": "websocket.connect"})

    async def receive(self) -> dict[str, Any]:
        return await self._receive.receive()

    async def send(self, message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        if self._gone:
            self.late.append(message["type"])
            raise OSError("the client has gone")
        self.sent.append(message["type"])

    def says(self, message: str) -> None:
        self._events.send_nowait({"type": "websocket.receive", "text": message})

    def goes(self) -> None:
        self._gone = True
        self._events.send_nowait({"type": "websocket.disconnect", "code": 1006})


@pytest.mark.parametrize("said", [[], ["hello"]])
async def test_nothing_is_sent_after_the_client_has_gone(
    said: list[str], nursery: trio.Nursery
) -> None:
    server = build(Settings(in_memory=True))
    await nursery.start(server.run)
    room = RoomInfo(new_room_id(), "Quiet Room")
    await server.stores.repository.create_room(room, b"")
    client = Client()
    scope = {
        "type": "websocket",
        "asgi": {"spec_version": "2.3", "version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": f"/api/serve/{room.id}",
        "raw_path": b"",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "subprotocols": [],
        "extensions": {},
        "state": {},
    }
    app: Any = server.app
    ended = trio.Event()

    async def serve_client() -> None:
        await app(scope, client.receive, client.send)
        ended.set()

    nursery.start_soon(serve_client)
    await until(lambda: client.sent == ["websocket.accept", "websocket.send"])
    for message in said:
        client.says(message)
    client.goes()
    with trio.fail_after(DEADLINE):
        await ended.wait()
    assert client.late == []
    nursery.cancel_scope.cancel()


async def test_a_client_that_is_closed_sees_why_although_it_goes_on_talking() -> None:
    """A connection that is ended with something unread is reset, and may lose the close frame."""
    async with hypercorn(max_message_bytes=100) as url:
        room = await room_at(url)
        peer = await Peer.open(ws(url, room))
        await peer.send(text("x" * 101) + text("y" * 100) * 3000)
        assert (await peer.hear_close()).code == 1009
        await peer.send(text("z" * 100) * 100 + frame(Opcode.CLOSE, b"\x03\xf1"))
        assert await peer.ends()
        await peer.stream.aclose()
        await everybody_left(url, room)


async def test_a_client_that_talks_on_for_long_after_it_was_closed_is_disconnected() -> None:
    """Takes 1.5 seconds of real time: longer than it has to answer a close frame."""
    async with hypercorn(max_message_bytes=100) as url:
        peer = await Peer.open(ws(url, await room_at(url)))
        await peer.send(text("x" * 101))
        assert (await peer.hear_close()).code == 1009
        with trio.move_on_after(1.5 * CLOSE_TIMEOUT):
            while True:
                await peer.send(text("y" * 100) * 100)
        assert await peer.ends()
        await peer.stream.aclose()


async def test_a_member_that_is_held_back_gets_answers_to_its_pings() -> None:
    async with hypercorn(message_rate=0.1, message_burst=1) as url:
        peer = await Peer.open(ws(url, await room_at(url)))
        await peer.send(text("hello") * 50 + frame(Opcode.PING, b"there?"))
        assert await peer.hear_pong() == b"there?"
        peer.drop()


async def test_an_invalid_message_closes_its_member_or_fails(nursery: trio.Nursery) -> None:
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
        message = await witness.hear_type("failed")
        assert "NUL" in message["message"]
        await witness.say("fine")
        assert (await witness.hear_chat())["message"] == "fine"
        await witness.close()


async def test_a_refused_handshake_is_answered_with_a_problem() -> None:
    async with hypercorn() as url:
        room = await room_at(url)
        evil = {"Origin": "http://evil.example"}
        for path, headers, status in (("x", {}, 404), (room, evil, 403)):
            refuse = partial(fetch, f"{url}/api/serve/{path}", headers=HANDSHAKE | headers)
            response = await trio.to_thread.run_sync(refuse)
            assert response.status == status
            assert response.headers["Content-Type"] == "application/problem+json"
            assert response.json["status"] == status


async def test_stopping_closes_members_with_1012(nursery: trio.Nursery) -> None:
    async with hypercorn() as url:
        talker = await join(nursery, ws(url, await room_at(url)))
        await talker.hear()
    assert await talker.close_code() == 1012
