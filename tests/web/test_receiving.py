"""What a DirectConnection makes of what a client sends, right and wrong."""

import os
import select
import tracemalloc
import zlib

import pytest
import trio
import trio.lowlevel
from wsproto.frame_protocol import Opcode

from sharechat.domain.errors import ConnectionClosedError
from sharechat.domain.outcomes import BAD_FRAME, NOT_UTF8, TOO_LARGE, Close
from sharechat.net.direct_connection import DirectConnection
from tests.harness.deadline import DEADLINE
from tests.harness.pair import LIMIT, OFFER, websockets
from tests.harness.peer import COMPRESSED, FIN, Peer, compressed, frame, text


async def receive(connection: DirectConnection) -> str:
    with trio.fail_after(DEADLINE):
        return await connection.receive()


async def refused(connection: DirectConnection, peer: Peer, why: Close) -> None:
    """See that the client is told why, and the connection ended in order."""
    with pytest.raises(ConnectionClosedError):
        await receive(connection)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.aclose)
        close = await peer.hear_close()
        assert (close.code, close.reason) == (why.code, why.reason)
        await peer.stream.aclose()


@pytest.mark.parametrize(
    "message", ["", "hello", "two\nlines", "żółw 🐢", "\0", "x" * LIMIT, "é" * (LIMIT // 2)]
)
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
@pytest.mark.parametrize("offer", ["", OFFER])
async def test_a_message(message: str, opcode: Opcode, offer: str) -> None:
    async with websockets(offer=offer) as (connection, peer):
        await peer.send(frame(opcode, message.encode()))
        assert await receive(connection) == message


async def test_messages_keep_their_order_however_they_are_cut() -> None:
    expected = [str(number) * (number % 400) for number in range(1, 300)]
    stream = b"".join(map(text, expected))
    async with websockets() as (connection, peer), trio.open_nursery() as nursery:

        async def send() -> None:
            for start in range(0, len(stream), 777):
                await peer.send(stream[start : start + 777])

        nursery.start_soon(send)
        assert [await receive(connection) for _ in expected] == expected


async def test_fragments_with_a_ping_between_them() -> None:
    async with websockets() as (connection, peer):
        await peer.send(
            frame(Opcode.TEXT, "zażó".encode()[:5], flags=0)
            + frame(Opcode.PING, b"now?")
            + frame(Opcode.CONTINUATION, "zażó".encode()[5:], flags=0)
            + frame(Opcode.CONTINUATION, "łć".encode())
            + frame(Opcode.BINARY, b"a", flags=0)
            + frame(Opcode.CONTINUATION, b"b")
        )
        assert await receive(connection) == "zażółć"
        assert await receive(connection) == "ab"
        assert await peer.hear_pong() == b"now?"


async def test_a_message_that_trickles_in_is_one_message() -> None:
    """Legal, and what a slow line does: the size is what counts, not the pieces."""
    async with websockets() as (connection, peer), trio.open_nursery() as nursery:
        data = text("x" * 3000)

        async def trickle() -> None:
            for byte in data:
                await peer.send(bytes([byte]))
                # Until we have read it, so that each byte comes by itself.
                while unread(connection):
                    await trio.lowlevel.checkpoint()

        nursery.start_soon(trickle)
        assert await receive(connection) == "x" * 3000


def unread(connection: DirectConnection) -> bool:
    """Return whether something has come that was not read."""
    return bool(select.select([connection._transport.socket], [], [], 0)[0])


async def test_compressed_messages() -> None:
    async with websockets(offer=OFFER) as (connection, peer):
        expected = ["", "hello " * 100, "żółw 🐢", "x" * LIMIT, os.urandom(3000).hex()]
        await peer.send(b"".join(compressed(message.encode()) for message in expected))
        await peer.send(compressed("binär".encode(), Opcode.BINARY) + text("plain"))
        received = [await receive(connection) for _ in range(len(expected) + 2)]
        assert received == [*expected, "binär", "plain"]


async def test_a_compressed_message_in_fragments() -> None:
    deflate = zlib.compressobj(wbits=-15)
    data = deflate.compress(b"hello " * 99) + deflate.flush(zlib.Z_SYNC_FLUSH)[:-4]
    async with websockets(offer=OFFER) as (connection, peer):
        await peer.send(frame(Opcode.TEXT, data[:5], flags=COMPRESSED))
        await peer.send(frame(Opcode.CONTINUATION, data[5:]))
        assert await receive(connection) == "hello " * 99


@pytest.mark.parametrize(
    "data",
    [
        text("x" * (LIMIT + 1)),
        frame(Opcode.BINARY, b"x" * (LIMIT + 1)),
        text("é" * (LIMIT // 2) + "x"),
        text("🐢" * (LIMIT // 4 + 1)),
        frame(Opcode.TEXT, b"x" * LIMIT, flags=0) + frame(Opcode.CONTINUATION, b"x"),
        frame(Opcode.BINARY, b"x" * LIMIT, flags=0)
        + frame(Opcode.CONTINUATION, b"x" * 1000, flags=0),
        # The rest of a message of exabytes need not be waited for.
        b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0" + b"x" * (LIMIT + 1),
        frame(Opcode.TEXT, b"", flags=0) + frame(Opcode.CONTINUATION, b"", flags=0) * 100_000,
    ],
    ids=["text", "binary", "é", "turtles", "fragments", "unfinished", "exabytes", "nothing"],
)
async def test_too_large(data: bytes) -> None:
    async with websockets() as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.try_to_send, data)
        await refused(connection, peer, TOO_LARGE)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("size", [LIMIT + 1, 200_000_000])
async def test_a_compressed_bomb_costs_little(size: int) -> None:
    deflate = zlib.compressobj(9, wbits=-15)
    data = b"".join(deflate.compress(b"\0" * 1_000_000) for _ in range(size // 1_000_000))
    data += deflate.compress(b"\0" * (size % 1_000_000)) + deflate.flush(zlib.Z_SYNC_FLUSH)[:-4]
    bomb = frame(Opcode.BINARY, data, flags=FIN | COMPRESSED)
    async with websockets(offer=OFFER) as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.try_to_send, bomb)
        tracemalloc.start()
        try:
            with pytest.raises(ConnectionClosedError):
                await receive(connection)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 20_000_000
        await refused(connection, peer, TOO_LARGE)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "data",
    [
        text(b"\xff"),
        text(b"\xed\xa0\x80"),  # a surrogate
        text(b"\xc0\x80"),  # a longer form than needed
        text("é".encode()[:1]),
        frame(Opcode.BINARY, b"\xff"),
        frame(Opcode.BINARY, "é".encode()[:1]),
        frame(Opcode.TEXT, b"\xc3", flags=0) + frame(Opcode.CONTINUATION, b"x"),
        frame(Opcode.BINARY, b"\xc3", flags=0) + frame(Opcode.CONTINUATION, b"x"),
        frame(Opcode.CLOSE, b"\x03\xe8\xff"),
    ],
)
async def test_not_utf8(data: bytes) -> None:
    async with websockets() as (connection, peer):
        await peer.send(data + text("after"))
        await refused(connection, peer, NOT_UTF8)


async def test_compressed_and_not_utf8() -> None:
    async with websockets(offer=OFFER) as (connection, peer):
        await peer.send(compressed(b"\xff\xfe"))
        await refused(connection, peer, NOT_UTF8)


@pytest.mark.parametrize(
    "data",
    [
        frame(Opcode.TEXT, b"hello", mask=False),
        frame(0x3, b""),
        frame(0xB, b""),
        frame(Opcode.TEXT, b"", flags=FIN | 0x20),
        frame(Opcode.TEXT, b"", flags=FIN | COMPRESSED),  # which was not agreed
        frame(Opcode.CONTINUATION, b"of what?"),
        frame(Opcode.TEXT, b"a", flags=0) + text("b"),
        frame(Opcode.PING, b"x" * 126),
        frame(Opcode.PING, b"x", flags=0),
        frame(Opcode.CLOSE, b"x"),
        frame(Opcode.CLOSE, (1005).to_bytes(2, "big")),
        frame(Opcode.CLOSE, (999).to_bytes(2, "big")),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_not_the_protocol(data: bytes) -> None:
    async with websockets() as (connection, peer):
        await peer.send(data)
        await refused(connection, peer, BAD_FRAME)


@pytest.mark.parametrize(
    "data",
    [
        frame(0x3, b""),
        frame(Opcode.CONTINUATION, b"", flags=FIN | COMPRESSED),
        frame(Opcode.TEXT, b"not deflated", flags=FIN | COMPRESSED),
        frame(Opcode.PING, b"", flags=FIN | COMPRESSED),
    ],
)
async def test_not_the_protocol_where_compression_was_agreed(data: bytes) -> None:
    async with websockets(offer=OFFER) as (connection, peer):
        await peer.send(data)
        with pytest.raises(ConnectionClosedError):
            await receive(connection)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.aclose)
            assert (await peer.hear_close()).code in (1002, 1007)
            await peer.stream.aclose()


@pytest.mark.parametrize(
    ("data", "why"),
    [(text("x" * (LIMIT + 1)), TOO_LARGE), (text(b"\xff"), NOT_UTF8), (frame(0x3, b""), BAD_FRAME)],
)
async def test_what_came_before_a_violation_counts(data: bytes, why: Close) -> None:
    """Whether they came in one read or in two is chance."""
    async with websockets() as (connection, peer):
        await peer.send(text("first") + text("second") + data)
        assert await receive(connection) == "first"
        assert await receive(connection) == "second"
        await refused(connection, peer, why)


async def test_cancelling_loses_nothing() -> None:
    async with websockets() as (connection, peer):
        await peer.send(text("first") + text("second"))
        with trio.fail_after(DEADLINE):
            await trio.lowlevel.wait_readable(connection._transport.socket)
        for expected in ("first", "second"):
            with trio.CancelScope() as scope:
                scope.cancel()
                await connection.receive()
            assert await receive(connection) == expected
