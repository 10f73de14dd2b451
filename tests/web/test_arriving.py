"""Handshakes that wait for their turn, over real sockets: one member comes in at a time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf

import pytest
import trio

from sharechat.actors.arrivals import Arrivals
from sharechat.adapters.memory import MemoryBus, MemoryRepository
from sharechat.bootstrap import Server, Stores, build
from sharechat.config import Settings
from sharechat.domain.ids import RoomId
from sharechat.web import websocket
from tests.harness.deadline import DEADLINE
from tests.harness.peer import Peer, text, upgrade
from tests.harness.repositories import make_room
from tests.harness.repository import ScriptedRepository
from tests.harness.serving import serving
from tests.harness.waiting import until

Address = tuple[str, int]

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def make_server(repository: MemoryRepository) -> Server:
    settings = Settings(in_memory=True)
    server = build(settings, Stores(repository, MemoryBus().queue()))
    # A turn that is not given back would hold up everybody.
    policy = replace(settings.policy(), arrivals_at_once=1, longest_arrival=inf)
    server.controller.arrivals = Arrivals(policy)
    return server


class Door:
    """A server that lets in one member at a time, and a room on it."""

    def __init__(self, address: Address, arrivals: Arrivals, room: RoomId) -> None:
        self.room = room
        self._address = address
        self._arrivals = arrivals

    async def shake_hands(self, query: str = "", *headers: str, room: str = "") -> Peer:
        peer = Peer(await trio.open_tcp_stream(*self._address))
        await peer.send(upgrade(f"/api/serve/{room or self.room}{query}", headers))
        return peer

    async def join(self) -> Peer:
        """Join, say something and hear it."""
        peer = await self.shake_hands()
        with trio.fail_after(DEADLINE):
            head, received = await peer.response()
            assert head.startswith("HTTP/1.1 101 "), head
            await peer.send(text("here"))
            while b'"message":"here"' not in received:
                received += await peer.stream.receive_some()
        return peer

    async def until_waiting(self, count: int) -> None:
        """Wait until so many clients wait for their turn."""
        turns = self._arrivals._turns
        await until(lambda: turns.statistics().tasks_waiting == count, within=DEADLINE)


@asynccontextmanager
async def serving_one_by_one() -> AsyncIterator[tuple[ScriptedRepository, Door]]:
    repository = ScriptedRepository()
    room = await make_room(repository)
    server = make_server(repository)
    async with serving(server) as address:
        yield repository, Door(address, server.controller.arrivals, room)


@pytest.mark.parametrize(
    "headers", [(), ("Sec-WebSocket-Protocol: sharechat.v1",)], ids=["plain text", "sharechat.v1"]
)
@pytest.mark.parametrize(
    ("room", "query"),
    [
        (UNKNOWN, ""),
        ("not-an-id", ""),
        ("", f"?after={UNKNOWN}"),
        ("", "?after=not-an-id"),
    ],
)
async def test_whoever_is_refused_lets_the_next_one_in(
    room: str, query: str, headers: tuple[str, ...]
) -> None:
    async with serving_one_by_one() as (_, door):
        refused = await door.shake_hands(query, *headers, room=room)
        with trio.fail_after(DEADLINE):
            head, _ = await refused.response()
        # With the subprotocol the refusal is a close code.
        assert head.startswith("HTTP/1.1 101 " if headers else "HTTP/1.1 4"), head
        (await door.join()).drop()
        refused.drop()


async def test_members_who_are_in_do_not_hold_up_others() -> None:
    async with serving_one_by_one() as (_, door):
        peers = [await door.join() for _ in range(3)]
        for peer in peers:
            peer.drop()


async def test_whoever_comes_back_lets_the_next_one_in_though_it_reads_nothing() -> None:
    async with serving_one_by_one() as (repository, door):
        talker = await door.join()
        first, *_ = await repository.log(door.room)
        back = await door.shake_hands(f"?after={first.id}")
        (await door.join()).drop()
        for peer in (talker, back):
            peer.drop()


async def test_whoever_hangs_up_while_it_waits_costs_no_look_for_its_room() -> None:
    async with serving_one_by_one() as (repository, door):
        other_room = await make_room(repository)
        step = repository.at_next("get_rooms", hold=True)
        first = await door.shake_hands()
        await step.reached.wait()
        waiting = [await door.shake_hands(room=other_room) for _ in range(3)]
        await door.until_waiting(3)
        for peer in waiting:
            peer.drop()
        step.release()
        last = await door.join()
        assert repository.calls["get_rooms"] <= 2
        assert not await repository.log(other_room)
        for peer in (first, last):
            peer.drop()


async def test_a_handshake_that_cannot_be_answered_in_time_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket, "_PATIENCE", 0.1)
    async with serving_one_by_one() as (repository, door):
        steps = [repository.at_next("get_rooms", hold=True) for _ in range(2)]
        peers = [await door.shake_hands()]
        await steps[0].reached.wait()
        peers.append(await door.shake_hands())
        with trio.fail_after(DEADLINE):
            for peer in peers:
                head, _ = await peer.response()
                assert head.startswith("HTTP/1.1 503 "), head
                assert "retry-after" in head.lower()
        monkeypatch.undo()
        for step in steps:
            step.release()
        (await door.join()).drop()
        for peer in peers:
            peer.drop()
