"""How a DirectConnection receives what a client that follows the protocol sends."""

import os
import select
import socket
import zlib

import pytest
import trio
import trio.lowlevel
from trio.testing import wait_all_tasks_blocked
from wsproto.frame_protocol import Opcode

from sharechat.domain.errors import ConnectionClosedError
from sharechat.net.direct_connection import PING_INTERVAL
from tests.harness.deadline import DEADLINE
from tests.harness.pair import LIMIT, OFFER, past_handshake, receive, transports, websockets
from tests.harness.peer import COMPRESSED, compressed, frame, text


@pytest.mark.parametrize(
    "message", ["", "hello", "two\nlines", "żółw 🐢", "\0", "x" * LIMIT, "é" * (LIMIT // 2)]
)
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
@pytest.mark.parametrize("offer", ["", OFFER])
async def test_a_text_or_binary_message_is_received_as_text(
    message: str, opcode: Opcode, offer: str
) -> None:
    async with websockets(offer=offer) as (connection, peer):
        await peer.send(frame(opcode, message.encode()))
        assert await receive(connection) == message


async def test_messages_keep_their_order_however_their_bytes_are_split() -> None:
    expected = [str(number) * (number % 400) for number in range(1, 300)]
    stream = b"".join(map(text, expected))
    async with websockets() as (connection, peer), trio.open_nursery() as nursery:

        async def send() -> None:
            for start in range(0, len(stream), 777):
                await peer.send(stream[start : start + 777])

        nursery.start_soon(send)
        assert [await receive(connection) for _ in expected] == expected


async def test_fragments_are_one_message_though_a_ping_comes_between_them() -> None:
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


async def test_a_message_that_arrives_byte_by_byte_is_received() -> None:
    """The limit is on the size of a message, not on the number of reads that it takes."""
    async with transports() as (transport, theirs), trio.open_nursery() as nursery:
        connection, peer = past_handshake(transport, theirs)
        data = text("x" * 3000)

        async def trickle() -> None:
            for byte in data:
                await peer.send(bytes([byte]))
                # The server must have read each byte before the next one is sent.
                while is_readable(transport.socket):
                    await trio.lowlevel.checkpoint()

        nursery.start_soon(trickle)
        assert await receive(connection) == "x" * 3000


def is_readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


async def test_compressed_messages_are_received_among_plain_ones() -> None:
    async with websockets(offer=OFFER) as (connection, peer):
        expected = ["", "hello " * 100, "żółw 🐢", "x" * LIMIT, os.urandom(3000).hex()]
        await peer.send(b"".join(compressed(message.encode()) for message in expected))
        await peer.send(compressed("binär".encode(), Opcode.BINARY) + text("plain"))
        received = [await receive(connection) for _ in range(len(expected) + 2)]
        assert received == [*expected, "binär", "plain"]


async def test_a_compressed_message_may_come_in_fragments() -> None:
    deflate = zlib.compressobj(wbits=-15)
    data = deflate.compress(b"hello " * 99) + deflate.flush(zlib.Z_SYNC_FLUSH)[:-4]
    async with websockets(offer=OFFER) as (connection, peer):
        await peer.send(frame(Opcode.TEXT, data[:5], flags=COMPRESSED))
        await peer.send(frame(Opcode.CONTINUATION, data[5:]))
        assert await receive(connection) == "hello " * 99


async def test_compressed_messages_are_inflated_only_as_they_are_received() -> None:
    """300 messages of 16 KiB are 7 KB on the wire, and would be 4.9 MB in memory."""
    async with websockets(offer=OFFER) as (connection, peer):
        await peer.send(compressed(b"x" * LIMIT) * 300)
        await peer.send(text("the last"))
        for _ in range(300):
            assert await receive(connection) == "x" * LIMIT
            assert connection.held_back <= 4 * LIMIT
        assert await receive(connection) == "the last"


async def test_a_cancelled_receive_loses_nothing() -> None:
    async with transports() as (transport, theirs):
        connection, peer = past_handshake(transport, theirs)
        await peer.send(text("first") + text("second"))
        with trio.fail_after(DEADLINE):
            await trio.lowlevel.wait_readable(transport.socket)
        for expected in ("first", "second"):
            with trio.CancelScope() as scope:
                scope.cancel()
                await connection.receive()
            assert await receive(connection) == expected


async def test_what_a_client_said_before_it_reset_is_received_though_a_ping_fails_first() -> None:
    async with websockets() as (connection, peer):
        await peer.send(text("last words"))
        peer.drop()
        await wait_all_tasks_blocked(0.01)
        connection.beat(trio.current_time() + PING_INTERVAL + 1)
        assert await receive(connection) == "last words"
        with pytest.raises(ConnectionClosedError):
            await receive(connection)
        assert connection.gone
