"""How the application's answer to a handshake reaches the client, over real sockets."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest
import trio

from sharechat.adapters.memory import MemoryBus, MemoryRepository
from sharechat.bootstrap import Server, Stores, build
from sharechat.config import Settings
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import RoomInfo
from tests.harness.deadline import DEADLINE
from tests.harness.peer import Peer, text, upgrade
from tests.harness.repositories import make_room
from tests.harness.serving import serving


class SlowRepository(MemoryRepository):
    """Answers `get_rooms` only once `go_on` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = trio.Event()
        self.go_on = trio.Event()

    async def get_rooms(self, room_ids: Collection[RoomId]) -> dict[RoomId, RoomInfo]:
        self.asked.set()
        await self.go_on.wait()
        return await super().get_rooms(room_ids)


def make_server(repository: MemoryRepository) -> Server:
    return build(Settings(in_memory=True), Stores(repository, MemoryBus().queue()))


async def shake_hands(address: tuple[str, int], path: str) -> Peer:
    peer = Peer(await trio.open_tcp_stream(*address))
    await peer.send(upgrade(path))
    return peer


async def test_what_a_client_says_before_it_is_answered_is_heard() -> None:
    repository = SlowRepository()
    room = await make_room(repository)
    async with serving(make_server(repository)) as address:
        peer = await shake_hands(address, f"/api/serve/{room}")
        with trio.fail_after(DEADLINE):
            await repository.asked.wait()
            await peer.send(text("early"))
            repository.go_on.set()
            head, received = await peer.response()
            assert head.startswith("HTTP/1.1 101 ")
            while b'"message":"early"' not in received:
                received += await peer.stream.receive_some()
        peer.drop()


async def raise_an_error(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("a bug in the application")


async def answer_nothing(scope: Any, receive: Any, send: Any) -> None:
    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("app", [raise_an_error, answer_nothing])
async def test_an_application_that_does_not_answer_is_an_internal_error(app: Any) -> None:
    server = replace(make_server(MemoryRepository()), app=app)
    async with serving(server) as address:
        peer = await shake_hands(address, "/api/serve/x")
        head, body = await peer.response()
        assert head.startswith("HTTP/1.1 500 ")
        with trio.fail_after(DEADLINE):
            while data := await peer.stream.receive_some():
                body += data
        assert b"Something went wrong in the server." in body
        await peer.stream.aclose()
