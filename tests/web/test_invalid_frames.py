"""A client that breaks the protocol is told why it is closed, and costs little memory."""

import tracemalloc
import zlib

import pytest
import trio
from wsproto.frame_protocol import Opcode

from sharechat.domain.errors import ConnectionClosedError
from sharechat.domain.outcomes import BAD_FRAME, NOT_UTF8, TOO_LARGE, Close
from sharechat.net.direct_connection import DirectConnection
from tests.harness.pair import LIMIT, OFFER, receive, websockets
from tests.harness.peer import COMPRESSED, FIN, Peer, compressed, frame, text

HELLO = compressed(b"hello")[6:]
"""The payload of a compressed frame."""


async def assert_closed(connection: DirectConnection, peer: Peer, why: Close) -> None:
    """Assert that receiving raises, and that closing sends the client this close frame."""
    with pytest.raises(ConnectionClosedError):
        await receive(connection)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.aclose)
        close = await peer.hear_close()
        assert (close.code, close.reason) == (why.code, why.reason)
        await peer.stream.aclose()


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
        # Refused at once, though the frame announces exabytes.
        b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0" + b"x" * (LIMIT + 1),
        frame(Opcode.TEXT, b"x", flags=0) + frame(Opcode.CONTINUATION, b"x", flags=0) * LIMIT,
    ],
    ids=["text", "binary", "é", "turtles", "fragments", "unfinished", "exabytes", "crumbs"],
)
async def test_a_message_over_the_limit_is_closed_as_too_large(data: bytes) -> None:
    async with websockets() as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.try_to_send, data)
        await assert_closed(connection, peer, TOO_LARGE)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("size", [LIMIT + 1, 200_000_000])
async def test_a_decompression_bomb_is_closed_in_bounded_memory(size: int) -> None:
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
        await assert_closed(connection, peer, TOO_LARGE)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "data",
    [
        text(b"\xff"),
        text(b"\xed\xa0\x80"),  # a surrogate
        text(b"\xc0\x80"),  # an overlong encoding
        text("é".encode()[:1]),
        frame(Opcode.BINARY, b"\xff"),
        frame(Opcode.BINARY, "é".encode()[:1]),
        frame(Opcode.TEXT, b"\xc3", flags=0) + frame(Opcode.CONTINUATION, b"x"),
        frame(Opcode.BINARY, b"\xc3", flags=0) + frame(Opcode.CONTINUATION, b"x"),
        frame(Opcode.CLOSE, b"\x03\xe8\xff"),
    ],
)
async def test_data_that_is_not_utf8_is_closed_as_not_utf8(data: bytes) -> None:
    async with websockets() as (connection, peer):
        await peer.send(data + text("after"))
        await assert_closed(connection, peer, NOT_UTF8)


async def test_compressed_data_that_is_not_utf8_is_closed_as_not_utf8() -> None:
    async with websockets(offer=OFFER) as (connection, peer):
        await peer.send(compressed(b"\xff\xfe"))
        await assert_closed(connection, peer, NOT_UTF8)


@pytest.mark.parametrize(
    "data",
    [
        frame(Opcode.TEXT, b"hello", mask=False),
        frame(0x3, b""),
        frame(0xB, b""),
        frame(Opcode.TEXT, b"", flags=FIN | 0x20),
        frame(Opcode.TEXT, b"", flags=FIN | COMPRESSED),  # compression was not negotiated
        frame(Opcode.CONTINUATION, b"of what?"),
        frame(Opcode.TEXT, b"a", flags=0) + text("b"),
        frame(Opcode.PING, b"x" * 126),
        frame(Opcode.PING, b"x", flags=0),
        frame(Opcode.CLOSE, b"x"),
        frame(Opcode.CLOSE, (1005).to_bytes(2, "big")),
        frame(Opcode.CLOSE, (999).to_bytes(2, "big")),
        # Lengths that are not in their shortest form (RFC 6455, section 5.2).
        b"\x81\xfe\x00\x7d\0\0\0\0" + b"x" * 125,
        b"\x82\xfe\x00\x00\0\0\0\0",
        b"\x81\xff\0\0\0\0\0\0\xff\xff\0\0\0\0",
        b"\x89\xfe\x00\x04\0\0\0\0ping",
        # A length whose first bit is set.
        b"\x81\xff\x80\0\0\0\0\0\0\0\0\0\0\0",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_an_invalid_frame_is_closed_as_a_bad_frame(data: bytes) -> None:
    async with websockets() as (connection, peer):
        await peer.send(data)
        await assert_closed(connection, peer, BAD_FRAME)


@pytest.mark.parametrize(
    "data",
    [
        frame(0x3, b""),
        frame(Opcode.CONTINUATION, b"", flags=FIN | COMPRESSED),
        # RSV1 may stand on the first frame of a message only.
        frame(Opcode.TEXT, HELLO[:3], flags=COMPRESSED)
        + frame(Opcode.CONTINUATION, HELLO[3:], flags=FIN | COMPRESSED),
        frame(Opcode.TEXT, b"x", flags=0)
        + frame(Opcode.CONTINUATION, b"x", flags=FIN | COMPRESSED),
        frame(Opcode.TEXT, b"not deflated", flags=FIN | COMPRESSED),
        frame(Opcode.PING, b"", flags=FIN | COMPRESSED),
    ],
)
async def test_an_invalid_frame_is_closed_where_compression_was_negotiated(data: bytes) -> None:
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
async def test_messages_before_an_invalid_frame_are_received(data: bytes, why: Close) -> None:
    """Whether they arrive in the same read as the invalid frame makes no difference."""
    async with websockets() as (connection, peer):
        await peer.send(text("first") + text("second") + data)
        assert await receive(connection) == "first"
        assert await receive(connection) == "second"
        await assert_closed(connection, peer, why)
