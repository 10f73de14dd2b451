"""Both ends of a TCP connection in one process: ours, and a client's."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import trio
from wsproto.extensions import Extension, PerMessageDeflate

from sharechat.domain.messages import Batch, MessageType, chat, new_member_id, new_room_id, stamp
from sharechat.domain.messages import Identity as Who
from sharechat.net.decoder import Decoder
from sharechat.net.direct_connection import DirectConnection
from sharechat.net.transport import Transport
from tests.harness.peer import Peer

OFFER = "permessage-deflate; client_max_window_bits=15; server_max_window_bits=15"
LIMIT = 16 * 1024

_ROOM, _WHO = new_room_id(), Who(new_member_id(), "Teal Creek")
_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def batch(*messages: str) -> Batch:
    drafts = [chat(_ROOM, _WHO, message) for message in messages]
    return Batch([stamp(draft, _NOW, type_=MessageType.CHAT) for draft in drafts])


def tcp_pair(buffers: int | None = None) -> tuple[socket.socket, trio.SocketStream]:
    """Return our end, non-blocking, and the client's; `buffers` bounds what is on its way."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.socket()
        if buffers:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        theirs.connect(listener.getsockname())
        ours, _ = listener.accept()
    if buffers:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
    ours.setblocking(False)
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, trio.SocketStream(trio.socket.from_stdlib_socket(theirs))


@asynccontextmanager
async def transports(
    buffers: int | None = None,
) -> AsyncIterator[tuple[Transport, trio.SocketStream]]:
    """Connect a Transport, which is not taken over, and a client's stream."""
    ours, theirs = tcp_pair(buffers)
    transport = Transport(ours)
    try:
        yield transport, theirs
    finally:
        transport.abort()
        theirs.socket.close()


@asynccontextmanager
async def websockets(
    *, buffers: int | None = None, offer: str = "", limit: int = LIMIT
) -> AsyncIterator[tuple[DirectConnection, Peer]]:
    """Connect a DirectConnection and a client, past the handshake."""
    extensions: Sequence[Extension] = ()
    if offer:
        deflate = PerMessageDeflate()
        deflate.finalize(offer)
        extensions = [deflate]
    async with transports(buffers) as (transport, theirs):
        transport.take_over()
        yield DirectConnection(transport, Decoder(offer, limit)), Peer(theirs, extensions)
