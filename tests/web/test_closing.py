"""How a DirectConnection ends, whoever begins."""

from contextlib import suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, TextMessage
from wsproto.frame_protocol import Opcode

from sharechat.domain.errors import ConnectionClosedError
from sharechat.domain.outcomes import BAD_FRAME, RESTARTING, TOO_SLOW
from sharechat.net.direct_connection import DirectConnection
from tests.harness.deadline import DEADLINE
from tests.harness.pair import batch, receive, websockets
from tests.harness.peer import Peer, frame, text


async def test_we_close_and_the_peer_answers() -> None:
    async with websockets() as (connection, peer), trio.open_nursery() as nursery:
        assert connection.offer(batch("last"))
        nursery.start_soon(connection.aclose, RESTARTING)
        await peer.hear_text()
        close = await peer.hear_close()
        assert (close.code, close.reason) == (RESTARTING.code, RESTARTING.reason)
        await peer.send(text("too late") + frame(Opcode.CLOSE, b"\x03\xe8"))
        assert await peer.ends()
        await peer.stream.aclose()


async def test_without_a_reason_a_close_is_normal() -> None:
    async with websockets() as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.aclose)
        assert (await peer.hear_close()).code == 1000
        await peer.stream.aclose()


async def test_a_peer_that_does_not_answer_holds_nobody_up() -> None:
    async with websockets(close_timeout=0.1) as (connection, peer):
        with trio.fail_after(DEADLINE):
            await connection.aclose(RESTARTING)
        assert (await peer.hear_close()).code == 1012


async def test_a_peer_that_does_not_read_holds_nobody_up() -> None:
    async with websockets(buffers=4096, close_timeout=0.1) as (connection, peer):
        while connection.offer(batch("x" * 3000)):
            pass
        with trio.fail_after(DEADLINE):
            await connection.aclose(TOO_SLOW)
        assert not await peer.ends()


async def test_a_peer_that_falls_behind_and_reads_on_hears_why() -> None:
    async with websockets(buffers=4096) as (connection, peer), trio.open_nursery() as nursery:
        while connection.offer(batch("x" * 3000)):
            pass
        nursery.start_soon(connection.aclose, TOO_SLOW)
        assert (await peer.hear_close()).code == 1013
        assert await peer.ends()
        await peer.stream.aclose()


async def test_a_peer_that_falls_behind_hears_why_though_the_close_is_cancelled() -> None:
    async with websockets(buffers=4096) as (connection, peer), trio.open_nursery() as nursery:
        while connection.offer(batch("x" * 3000)):
            pass

        async def close() -> None:
            with trio.CancelScope() as scope:
                scope.cancel()
                await connection.aclose(RESTARTING)

        nursery.start_soon(close)
        assert (await peer.hear_close()).code == 1012
        await peer.stream.aclose()


async def test_a_peer_that_has_sent_something_unread_still_gets_everything() -> None:
    """If the socket were closed at once, the kernel would reset the connection."""
    async with websockets(buffers=4096) as (connection, peer), trio.open_nursery() as nursery:
        await peer.send(text("never received"))
        assert connection.offer(batch("x" * 4000))
        assert connection.backlog == 0  # The kernel holds what the peer has no room for.
        nursery.start_soon(connection.aclose, RESTARTING)
        await wait_all_tasks_blocked(0.01)
        assert "x" * 4000 in await peer.hear_text()
        assert (await peer.hear_close()).code == 1012
        assert await peer.ends()
        await peer.stream.aclose()


async def test_a_violation_is_named_though_the_server_stops() -> None:
    async with websockets() as (connection, peer), trio.open_nursery() as nursery:
        await peer.send(frame(Opcode.PING, b"", mask=False))
        with pytest.raises(ConnectionClosedError):
            await receive(connection)
        nursery.start_soon(connection.aclose, RESTARTING)
        assert (await peer.hear_close()).code == BAD_FRAME.code
        await peer.stream.aclose()


@pytest.mark.parametrize("rate", [100_000, 2_000_000])
async def test_a_slow_reader_hears_why_it_is_closed(rate: int) -> None:
    # In real time, since it is the kernel that holds what the client has yet to read.
    async with websockets(buffers=1 << 16) as (connection, peer):
        while connection.offer(batch("x" * 10_000)):
            pass
        assert connection.backlog > 30_000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.aclose, TOO_SLOW)
            received = b""
            with trio.fail_after(DEADLINE):
                while data := await peer.stream.receive_some(rate // 20):
                    received += data
                    await trio.sleep(len(data) / rate)
        *texts, close = parse_frames(received)
        assert all(isinstance(event, TextMessage) for event in texts)
        assert isinstance(close, CloseConnection)
        assert close.code == TOO_SLOW.code


def parse_frames(data: bytes) -> list[Event]:
    """Return what a client hears; a frame that is cut off raises or is missing."""
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(data)
    return list(client.events())


async def test_what_waits_is_dropped_at_a_frames_boundary() -> None:
    async with websockets(buffers=4096) as (connection, peer), trio.open_nursery() as nursery:
        while connection.offer(batch("x" * 3000, "y" * 3000)):
            pass
        waiting = connection.backlog
        nursery.start_soon(connection.aclose, TOO_SLOW)
        await wait_all_tasks_blocked()
        assert connection.backlog < 3500 < waiting
        assert (await peer.hear_close()).code == 1013
        await peer.stream.aclose()


async def closing(peer: Peer, data: bytes, connection: DirectConnection) -> None:
    await peer.send(data)
    with trio.fail_after(DEADLINE):
        assert await connection.receive() == "last"
        with pytest.raises(ConnectionClosedError):
            await connection.receive()
        with pytest.raises(ConnectionClosedError):
            await connection.receive()
        await connection.aclose(RESTARTING)


@pytest.mark.parametrize(
    ("payload", "code"),
    [(b"", 1005), (b"\x03\xe8", 1000), (b"\x03\xe9bye", 1001), (b"\x10\x00", 4096)],
)
async def test_the_peer_closes_and_gets_its_own_code_back(payload: bytes, code: int) -> None:
    async with websockets() as (connection, peer):
        await closing(peer, text("last") + frame(Opcode.CLOSE, payload), connection)
        assert (await peer.hear_close()).code == code


@pytest.mark.parametrize(
    "garbage",
    [text("x"), frame(Opcode.PING, b"x"), frame(0x3, b""), frame(Opcode.CLOSE, b"\x03\xe9")],
)
async def test_what_comes_behind_the_peers_close_is_nothing_to_us(garbage: bytes) -> None:
    async with websockets() as (connection, peer):
        await closing(peer, text("last") + frame(Opcode.CLOSE, b"\x03\xe8") + garbage, connection)
        assert (await peer.hear_close()).code == 1000


async def test_a_peer_that_answers_a_ping_after_its_close_frame_still_gets_ours() -> None:
    """It must answer until it has our close frame (RFC 6455, section 5.5.2)."""
    async with websockets() as (connection, peer), trio.open_nursery() as nursery:
        await peer.send(frame(Opcode.CLOSE, b"\x03\xe8"))
        with pytest.raises(ConnectionClosedError):
            await receive(connection)
        await peer.send(frame(Opcode.PONG, b""))
        await wait_all_tasks_blocked(0.01)
        nursery.start_soon(connection.aclose)
        assert (await peer.hear_close()).code == 1000
        assert await peer.ends(), "the socket was closed with the pong unread, so it was reset"
        await peer.stream.aclose()


@pytest.mark.parametrize("way", ["reset", "eof"])
async def test_a_peer_that_goes_without_a_word(way: str) -> None:
    async with websockets() as (connection, peer):
        await peer.send(text("last"))
        if way == "eof":
            await peer.stream.send_eof()
            with trio.fail_after(DEADLINE):
                assert await connection.receive() == "last"
        else:
            peer.drop()
        with trio.fail_after(DEADLINE):
            with suppress(ConnectionClosedError):
                # A reset may drop what we had not read.
                assert await connection.receive() == "last"
            with pytest.raises(ConnectionClosedError):
                await connection.receive()
            await connection.aclose()


async def test_closing_twice_and_when_cancelled() -> None:
    async with websockets() as (connection, peer):
        await peer.stream.send_eof()
        with trio.CancelScope() as scope:
            scope.cancel()
            await connection.aclose(RESTARTING)
        await connection.aclose()
        await connection.aclose(TOO_SLOW)
        assert (await peer.hear_close()).code == 1012


async def test_after_a_cancelled_drain_no_frame_is_torn_by_the_close() -> None:
    async with websockets(buffers=4096) as (connection, peer), trio.open_nursery() as nursery:
        assert connection.offer(batch("x" * 300_000))
        with trio.move_on_after(0.05):
            await connection.drain()
        nursery.start_soon(connection.aclose, RESTARTING)
        assert "x" * 300_000 in await peer.hear_text()
        assert (await peer.hear_close()).code == 1012
        await peer.stream.aclose()
