"""How a DirectConnection sends: whole frames in order, to whoever reads, or does not."""

import json
from contextlib import suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from wsproto.events import Ping, TextMessage
from wsproto.frame_protocol import Opcode

from sharechat.domain.errors import ConnectionClosedError
from sharechat.domain.messages import Batch
from sharechat.net import direct_connection as module
from sharechat.net import transport
from sharechat.net.direct_connection import DirectConnection
from tests.harness.pair import OFFER, batch, websockets
from tests.harness.peer import Peer, frame, text
from tests.harness.server import DEADLINE

SMALL = 4096


@pytest.fixture(name="impatient")
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a stall be short."""
    monkeypatch.setattr(module, "STALL_TIMEOUT", 0.1)
    monkeypatch.setattr(transport, "STALL_TIMEOUT", 0.1)


def numbered(number: int, size: int = 3000) -> Batch:
    return batch(f"{number}:".ljust(size, "x"), f"{number}!")


def numbers(count: int) -> list[str]:
    return [f"{number}{mark}" for number in range(count) for mark in ":!"]


async def hear(peer: Peer, count: int) -> list[str]:
    heard = [json.loads(await peer.hear_text())["message"] for _ in range(count)]
    return [message.rstrip("x") for message in heard]


@pytest.mark.parametrize("offer", ["", OFFER])
async def test_a_batch_is_a_frame_a_message(offer: str) -> None:
    async with websockets(offer=offer) as (connection, peer):
        one, two = batch("a", "b"), batch("c")
        connection.send_nowait(one)
        await connection.send([two])
        heard = [await peer.hear_text() for _ in range(3)]
        assert [text.encode() for text in heard] == one.json + two.json


async def read_on(connection: DirectConnection) -> None:
    """Read until the end, as `broadcast` does."""
    with suppress(ConnectionClosedError):
        while True:
            await connection.receive()


def fill(connection: DirectConnection) -> list[Batch]:
    """Send until a batch does not fit; return all, the last of which did not."""
    batches: list[Batch] = []
    with suppress(trio.WouldBlock):
        while True:
            batches.append(numbered(len(batches)))
            connection.send_nowait(batches[-1])
    return batches


@pytest.mark.parametrize("more", [0, 1, 50])
async def test_what_did_not_fit_goes_out_later_once_and_whole(more: int) -> None:
    async with websockets(buffers=SMALL) as (connection, peer):
        batches = fill(connection)
        last = len(batches) - 1
        waiting = [batches[-1], *(numbered(last + 1 + n) for n in range(more))]
        for later in waiting[1:]:
            with pytest.raises(trio.WouldBlock):
                connection.send_nowait(later)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.send, waiting)
            count = last + len(waiting)
            assert await hear(peer, 2 * count) == numbers(count)
        connection.send_nowait(numbered(count))
        assert await hear(peer, 2) == [f"{count}:", f"{count}!"]


async def test_it_goes_on_for_many_rounds_without_a_torn_frame() -> None:
    rounds = 400
    async with websockets(buffers=SMALL) as (connection, peer):

        async def talk() -> None:
            for number in range(rounds):
                batch = numbered(number, size=1 + number * 37 % 9000)
                try:
                    connection.send_nowait(batch)
                except trio.WouldBlock:
                    await connection.send([batch])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            assert await hear(peer, 2 * rounds) == numbers(rounds)


async def test_a_ping_is_answered_between_two_frames_while_we_send(
    nursery: trio.Nursery,
) -> None:
    async with websockets(buffers=SMALL) as (connection, peer):
        batches = fill(connection)
        await peer.send(frame(Opcode.PING, b"there?"))
        nursery.start_soon(read_on, connection)
        await wait_all_tasks_blocked(0.01)
        nursery.start_soon(connection.send, [batches[-1]])
        pieces, pong = await everything_until_pong(peer)
        assert pong == b"there?"
        assert len(pieces) == 2 * len(batches)


async def everything_until_pong(peer: Peer) -> tuple[list[str], bytes]:
    pieces: list[str] = []
    open_ = False
    while True:
        event = await peer.hear()
        if isinstance(event, TextMessage):
            if not open_:
                pieces.append("")
            pieces[-1] += event.data
            open_ = not event.message_finished
        else:
            assert not open_
            return pieces, bytes(getattr(event, "payload", b""))


async def test_a_ping_that_came_while_we_sent_is_answered_also_when_nothing_more_is_sent(
    nursery: trio.Nursery,
) -> None:
    async with websockets(buffers=SMALL) as (connection, peer):
        batches = fill(connection)
        nursery.start_soon(connection.send, [batches[-1], *map(numbered, range(10))])
        nursery.start_soon(read_on, connection)
        await wait_all_tasks_blocked(0.01)
        await peer.send(frame(Opcode.PING, b"there?"))
        await wait_all_tasks_blocked(0.05)
        with trio.fail_after(5):
            _, pong = await everything_until_pong(peer)
        assert pong == b"there?"


async def test_pings_to_which_the_peer_reads_no_answer_cost_bounded_memory(
    nursery: trio.Nursery,
) -> None:
    async with websockets(buffers=SMALL) as (connection, peer):
        nursery.start_soon(read_on, connection)
        with trio.move_on_after(DEADLINE) as patience:
            for _ in range(2000):
                await peer.send(frame(Opcode.PING, b"x" * 125) * 10)
        assert not patience.cancelled_caught
        assert len(connection._control) <= module._MAX_CONTROL + 200
        await peer.send(text("still here"))


@pytest.mark.usefixtures("impatient")
async def test_a_peer_that_reads_nothing_is_aborted() -> None:
    async with websockets(buffers=SMALL) as (connection, peer):
        batches = fill(connection)
        with trio.fail_after(DEADLINE), pytest.raises(ConnectionClosedError):
            await connection.send([batches[-1], batch("x" * 1_000_000)])
        with trio.fail_after(DEADLINE), pytest.raises(ConnectionClosedError):
            await connection.receive()
        await connection.aclose()
        assert not await peer.ends()


@pytest.mark.usefixtures("impatient")
async def test_a_slow_reader_is_not_aborted() -> None:
    async with websockets(buffers=SMALL) as (connection, peer):
        batches = fill(connection)
        for _ in range(50):
            batches.append(numbered(len(batches)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.send, batches[-51:])
            heard = []
            for _ in range(2 * len(batches)):
                await trio.sleep(0.005)
                heard += await hear(peer, 1)
            assert heard == numbers(len(batches))


async def test_pings_go_out_every_so_often() -> None:
    async with websockets() as (connection, peer):
        now = trio.current_time()
        for seconds in range(3 * module.PING_INTERVAL + 2):
            connection.beat(now + seconds)
        connection.send_nowait(batch("end"))
        for _ in range(3):
            assert isinstance(await peer.hear(), Ping)
        assert "end" in await peer.hear_text()


async def test_a_silent_peer_is_aborted() -> None:
    async with websockets() as (connection, peer), trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(ConnectionClosedError):
                await connection.receive()
            nursery.cancel_scope.cancel()

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        now = trio.current_time()
        connection.beat(now + module.SILENCE - 1)
        await peer.send(frame(Opcode.PONG, b""))
        await wait_all_tasks_blocked(0.05)
        since = trio.current_time()
        connection.beat(since + module.SILENCE - 1)
        await wait_all_tasks_blocked(0.01)
        assert not nursery.cancel_scope.cancel_called
        connection.beat(since + module.SILENCE + 1)
        with trio.fail_after(DEADLINE):
            await trio.sleep_forever()


async def test_a_peer_that_we_hold_back_is_not_dead() -> None:
    async with websockets() as (connection, peer):
        await peer.send(text("a") + text("b"))
        assert await connection.receive() == "a"
        connection.beat(trio.current_time() + 2 * module.SILENCE)
        assert await connection.receive() == "b"
        connection.beat(trio.current_time() + 2 * module.SILENCE)
        await peer.send(text("c"))
        with trio.fail_after(DEADLINE):
            assert await connection.receive() == "c"


async def test_beating_what_has_gone_is_harmless() -> None:
    async with websockets() as (connection, peer):
        peer.drop()
        with trio.fail_after(DEADLINE), pytest.raises(ConnectionClosedError):
            await connection.receive()
        for hours in range(5):
            connection.beat(trio.current_time() + hours * 3600)
        connection._transport.abort()
        connection.beat(trio.current_time() + 24 * 3600)
