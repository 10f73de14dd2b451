"""How a DirectConnection sends: whole frames, in order, however slowly the peer reads."""

import json
from contextlib import suppress

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import Ping, TextMessage
from wsproto.frame_protocol import Opcode

from sharechat.domain.batch import Batch
from sharechat.domain.errors import ConnectionClosedError
from sharechat.net import direct_connection as module
from sharechat.net.direct_connection import BUFFER, DirectConnection
from tests.harness.deadline import DEADLINE
from tests.harness.pair import OFFER, batch, websockets
from tests.harness.peer import Peer, frame, text

SMALL = 4096


def numbered(number: int, size: int = 3000) -> Batch:
    return batch(f"{number}:".ljust(size, "x"), f"{number}!")


def numbers(count: int) -> list[str]:
    return [f"{number}{mark}" for number in range(count) for mark in ":!"]


async def hear(peer: Peer, count: int) -> list[str]:
    heard = [json.loads(await peer.hear_text())["message"] for _ in range(count)]
    return [message.rstrip("x") for message in heard]


@pytest.mark.parametrize("offer", ["", OFFER])
async def test_each_message_is_one_frame(offer: str) -> None:
    async with websockets(offer=offer) as (connection, peer):
        one, two = batch("a", "b"), batch("c")
        assert connection.offer(one)
        assert connection.offer(two)
        assert connection.backlog == 0
        heard = [await peer.hear_text() for _ in range(3)]
        assert [text.encode() for text in heard] == one.json + two.json


async def read_on(connection: DirectConnection) -> None:
    """Read until the end, as `broadcast` does."""
    with suppress(ConnectionClosedError):
        while True:
            await connection.receive()


def fill(connection: DirectConnection) -> int:
    """Offer batches until one is not taken; return how many were."""
    count = 0
    while connection.offer(numbered(count)):
        count += 1
    return count


async def send(connection: DirectConnection, batch: Batch) -> None:
    """Send a batch as `listen` does."""
    while not connection.offer(batch):
        await connection.drain()
    await connection.drain()


async def test_a_full_buffer_takes_no_batch_and_sends_what_it_took() -> None:
    async with websockets(buffers=SMALL) as (connection, peer):
        count = fill(connection)
        assert 0 < connection.backlog <= BUFFER
        assert not connection.offer(numbered(count))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.drain)
            assert await hear(peer, 2 * count) == numbers(count)
        assert connection.backlog == 0
        await send(connection, numbered(count))
        assert await hear(peer, 2) == [f"{count}:", f"{count}!"]


async def test_an_empty_buffer_takes_a_batch_of_any_size() -> None:
    async with websockets(buffers=SMALL) as (connection, peer):
        assert connection.offer(batch("x" * 4 * BUFFER))
        assert connection.backlog > BUFFER
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.drain)
            assert "x" * 4 * BUFFER in await peer.hear_text()


async def test_frames_stay_whole_and_in_order_through_hundreds_of_partial_writes() -> None:
    rounds = 400
    async with websockets(buffers=SMALL) as (connection, peer):

        async def talk() -> None:
            for number in range(rounds):
                await send(connection, numbered(number, size=1 + number * 37 % 9000))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            assert await hear(peer, 2 * rounds) == numbers(rounds)


async def test_a_pong_goes_between_two_frames(nursery: trio.Nursery) -> None:
    async with websockets(buffers=SMALL) as (connection, peer):
        count = fill(connection)
        await peer.send(frame(Opcode.PING, b"there?"))
        nursery.start_soon(read_on, connection)
        await wait_all_tasks_blocked(0.01)
        nursery.start_soon(send, connection, numbered(count))
        texts, pong = await texts_until_pong(peer)
        assert pong == b"there?"
        assert texts <= 2 * count
        assert await hear(peer, 2 * (count + 1) - texts) == numbers(count + 1)[texts:]


async def texts_until_pong(peer: Peer) -> tuple[int, bytes]:
    """Return how many whole texts came before the next pong, and what it carries."""
    texts, open_ = 0, False
    while isinstance(event := await peer.hear(), TextMessage):
        open_ = not event.message_finished
        texts += event.message_finished
    assert not open_
    return texts, bytes(getattr(event, "payload", b""))


async def test_a_pong_that_had_to_wait_goes_out_with_the_next_beats_though_nobody_drains(
    nursery: trio.Nursery,
) -> None:
    async with websockets(buffers=SMALL) as (connection, peer):
        fill(connection)
        nursery.start_soon(read_on, connection)
        await peer.send(frame(Opcode.PING, b"there?"))
        await wait_all_tasks_blocked(0.01)
        now = trio.current_time()  # No ping is due, which would take the pong along.

        async def beat() -> None:
            while True:
                connection.beat(now)
                await trio.sleep(0.001)

        nursery.start_soon(beat)
        _, pong = await texts_until_pong(peer)
        assert pong == b"there?"


async def test_pings_whose_answers_the_peer_does_not_read_take_bounded_memory(
    nursery: trio.Nursery,
) -> None:
    async with websockets(buffers=SMALL) as (connection, peer):
        fill(connection)
        nursery.start_soon(read_on, connection)
        before = connection.backlog
        for _ in range(module.CONTROL_BURST):
            await peer.send(frame(Opcode.PING, b"x" * 125))
            await trio.lowlevel.checkpoint()
        await wait_all_tasks_blocked(0.01)
        # All the pongs would take 60,000 bytes.
        assert before < connection.backlog < before + 10_000
        assert not connection.gone


@pytest.mark.parametrize(
    "flood",
    [frame(Opcode.PING, b""), frame(Opcode.PONG, b"x"), frame(Opcode.CONTINUATION, b"", flags=0)],
    ids=["pings", "pongs", "empty fragments"],
)
async def test_a_flood_of_frames_without_text_is_closed_with_1008(flood: bytes) -> None:
    async with websockets() as (connection, peer), trio.open_nursery() as nursery:
        await peer.send(frame(Opcode.TEXT, b"begins", flags=0))
        nursery.start_soon(peer.try_to_send, flood * (module.CONTROL_BURST + 100))
        with trio.fail_after(DEADLINE), pytest.raises(ConnectionClosedError):
            await connection.receive()
        nursery.start_soon(connection.aclose)
        assert (await peer.hear_close()).code == 1008
        await peer.stream.aclose()


async def test_a_peer_that_reads_nothing_is_aborted() -> None:
    async with websockets(buffers=SMALL, stall_timeout=0.1) as (connection, peer):
        fill(connection)
        with trio.fail_after(DEADLINE), pytest.raises(ConnectionClosedError):
            await connection.drain()
        with trio.fail_after(DEADLINE), pytest.raises(ConnectionClosedError):
            await connection.receive()
        with pytest.raises(ConnectionClosedError):
            connection.offer(batch("more"))
        await connection.aclose()
        assert not await peer.ends()


def beat_for(connection: DirectConnection, seconds: int) -> None:
    now = trio.current_time()
    for second in range(1, seconds + 1):
        connection.beat(now + second)


async def test_pings_go_out_every_so_often() -> None:
    async with websockets() as (connection, peer):
        beat_for(connection, 3 * module.PING_INTERVAL + 1)
        assert connection.offer(batch("end"))
        for _ in range(3):
            assert isinstance(await peer.hear(), Ping)
        assert "end" in await peer.hear_text()


async def test_a_silent_peer_is_aborted(mock_clock: MockClock) -> None:
    async with websockets() as (connection, peer), trio.open_nursery() as nursery:
        aborted = trio.Event()

        async def receive() -> None:
            with pytest.raises(ConnectionClosedError):
                await connection.receive()
            aborted.set()

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        beat_for(connection, module.SILENCE)
        await peer.send(frame(Opcode.PONG, b""))
        await wait_all_tasks_blocked(0.05)
        beat_for(connection, module.SILENCE)
        await wait_all_tasks_blocked(0.01)
        assert not aborted.is_set()
        beat_for(connection, 1)


async def test_what_a_peer_sent_while_we_were_frozen_is_heard(mock_clock: MockClock) -> None:
    async with websockets() as (connection, peer), trio.open_nursery() as nursery:
        heard = trio.Event()

        async def receive() -> None:
            assert await connection.receive() == "still here"
            heard.set()

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        beat_for(connection, module.PING_INTERVAL)
        mock_clock.jump(10 * module.SILENCE)
        connection.beat(trio.current_time())  # Before the task that receives has its turn.
        await peer.send(text("still here"))
        with trio.fail_after(DEADLINE):
            await heard.wait()


async def test_a_peer_that_we_hold_back_is_not_dead() -> None:
    async with websockets() as (connection, peer):
        await peer.send(text("a") + text("b"))
        assert await connection.receive() == "a"
        beat_for(connection, 2 * module.SILENCE)
        assert await connection.receive() == "b"
        beat_for(connection, 2 * module.SILENCE)
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
