"""Both ends of a connection in one process: the server's and the client's."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import trio
from wsproto.extensions import Extension, PerMessageDeflate

from sharechat.domain.batch import Batch
from sharechat.domain.ids import new_member_id, new_room_id
from sharechat.domain.messages import Identity, MessageType, stamp
from sharechat.domain.telemetry import SILENT, Telemetry
from sharechat.net.decoder import Decoder
from sharechat.net.deflate import negotiate
from sharechat.net.direct_connection import CLOSE_TIMEOUT, DirectConnection
from sharechat.net.tls_transport import TlsTransport
from sharechat.net.transport import STALL_TIMEOUT, Transport
from tests.harness.deadline import DEADLINE
from tests.harness.drafts import chat
from tests.harness.peer import Peer
from tests.harness.tls import ClientStream, TlsStream, server_context

OFFER = "permessage-deflate; client_max_window_bits=15; server_max_window_bits=15"
"""The compression that both ends agree on, where a test wants it."""

LIMIT = 16 * 1024
"""Bytes that a message may have."""

_ROOM, _MEMBER = new_room_id(), Identity(new_member_id(), "Teal Creek")
_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def batch(*messages: str) -> Batch:
    """Return a batch of chat messages with these texts."""
    drafts = [chat(_ROOM, _MEMBER, message) for message in messages]
    return Batch([stamp(draft, _NOW, type_=MessageType.CHAT) for draft in drafts])


def tcp_pair(buffers: int | None = None) -> tuple[socket.socket, trio.SocketStream]:
    """Return the server's end, non-blocking, and the client's.

    `buffers` is the size of the kernel's buffers, in bytes.
    """
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


async def receive(connection: DirectConnection) -> str:
    """Return the next text. Raises TooSlowError after DEADLINE."""
    with trio.fail_after(DEADLINE):
        return await connection.receive()


@asynccontextmanager
async def transports(
    buffers: int | None = None, *, stall_timeout: float = STALL_TIMEOUT, secure: bool = False
) -> AsyncIterator[tuple[Transport, ClientStream]]:
    """Connect a Transport to a client's stream; `secure` lets them speak TLS."""
    async with over(*tcp_pair(buffers), stall_timeout=stall_timeout, secure=secure) as ends:
        yield ends


@asynccontextmanager
async def over(
    ours: socket.socket, theirs: trio.SocketStream, *, stall_timeout: float, secure: bool
) -> AsyncIterator[tuple[Transport, ClientStream]]:
    """Put a Transport over one end of a connection; `secure` lets both ends speak TLS."""
    transport: Transport
    stream: ClientStream = theirs
    if secure:
        stream = TlsStream(theirs)
        transport = TlsTransport(ours, server_context(), stall_timeout=stall_timeout)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.handshake)
            nursery.start_soon(stream.tls.do_handshake)
    else:
        transport = Transport(ours, stall_timeout=stall_timeout)
    try:
        yield transport, stream
    finally:
        transport.abort()
        theirs.socket.close()


def past_handshake(
    transport: Transport,
    theirs: ClientStream,
    *,
    offer: str = "",
    limit: int = LIMIT,
    close_timeout: float = CLOSE_TIMEOUT,
    telemetry: Telemetry = SILENT,
) -> tuple[DirectConnection, Peer]:
    """Return both ends of a websocket, as they are once the handshake is done."""
    extensions: Sequence[Extension] = ()
    if offer:
        deflate = PerMessageDeflate()
        deflate.finalize(offer)
        extensions = [deflate]
    decoder = Decoder(negotiate([offer]), limit)
    connection = DirectConnection(
        transport, decoder, close_timeout=close_timeout, telemetry=telemetry
    )
    return connection, Peer(theirs, extensions)


@asynccontextmanager
async def websockets(
    *,
    buffers: int | None = None,
    offer: str = "",
    limit: int = LIMIT,
    stall_timeout: float = STALL_TIMEOUT,
    close_timeout: float = CLOSE_TIMEOUT,
    telemetry: Telemetry = SILENT,
    secure: bool = False,
) -> AsyncIterator[tuple[DirectConnection, Peer]]:
    """Connect a DirectConnection to a client."""
    async with transports(buffers, stall_timeout=stall_timeout, secure=secure) as ends:
        transport, theirs = ends
        yield past_handshake(
            transport,
            theirs,
            offer=offer,
            limit=limit,
            close_timeout=close_timeout,
            telemetry=telemetry,
        )
