"""One websocket to a room, by trio-websocket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)

from sharechat.client.addresses import RoomAddress, Server
from sharechat.client.errors import (
    ClientError,
    ProtocolError,
    UnreachableError,
    closed,
    refused,
    unreachable,
)
from sharechat.client.rest import detail_of

SUBPROTOCOL = "sharechat.v1"

CONNECT_TIMEOUT = 15.0
"""Seconds that it may take until the handshake has been answered."""

PING_INTERVAL = 20.0
"""Seconds between two pings, and until the answer must have come."""

_CLOSE_TIMEOUT = 1.0
"""Seconds that a closing handshake may take."""

_MAX_FRAME = 1 << 20

GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


@asynccontextmanager
async def open_websocket(
    address: RoomAddress, after: str | None
) -> AsyncIterator[WebSocketConnection]:
    """Open a websocket to a room that speaks `sharechat.v1`, for the length of the block.

    With `after`, the room is heard from past that message on. Whatever ends the connection is
    raised as a ClientError, also if it happens within the block. However the block ends, and
    if it is cancelled, nothing is left open.
    """
    try:
        async with _connected(address, after) as websocket:
            yield websocket
    except ConnectionRejected as error:
        raise refused(error.status_code, detail_of(error.body)) from None
    except ConnectionClosed as error:
        if error.reason is None:
            raise closed(1006, None) from None
        raise closed(error.reason.code, error.reason.reason) from None
    except (HandshakeError, OSError, trio.BrokenResourceError) as error:
        raise unreachable(error, address.server.authority) from error


@asynccontextmanager
async def _connected(address: RoomAddress, after: str | None) -> AsyncIterator[WebSocketConnection]:
    """Like `open_websocket`, but raise what trio and trio-websocket raise, without groups."""
    with trio.move_on_after(CONNECT_TIMEOUT) as patience:
        stream = _Stream(await _open_stream(address.server))
        try:
            async with unwrapped(), _shielded_nursery() as nursery:
                websocket = await wrap_client_stream(
                    nursery,
                    stream,  # type: ignore[arg-type]  # any Stream will do
                    address.server.authority,
                    address.websocket_target(after),
                    subprotocols=[SUBPROTOCOL],
                    max_message_size=_MAX_FRAME,
                )
                patience.deadline = inf
                stream.answered = True
                if websocket.subprotocol != SUBPROTOCOL:
                    raise ProtocolError(f"The server does not speak {SUBPROTOCOL}.")
                nursery.start_soon(_keep_alive, websocket)
                try:
                    yield websocket
                finally:
                    with trio.move_on_after(_CLOSE_TIMEOUT, shield=True):
                        await websocket.aclose()
        finally:
            await trio.aclose_forcefully(stream)
    if patience.cancelled_caught:
        raise UnreachableError("The server does not answer.")


@asynccontextmanager
async def _shielded_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery whose tasks go on while the block is cancelled, and are cancelled at its end.

    So a closing handshake in the block has somebody who reads the server's answer. The block must
    end within a bounded time of being cancelled.
    """
    async with trio.open_nursery() as outer:
        nursery = await outer.start(_hold_shielded_nursery)
        try:
            yield nursery
        finally:
            nursery.cancel_scope.cancel()


async def _hold_shielded_nursery(*, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    async with trio.open_nursery() as nursery:
        task_status.started(nursery)
        # If the start was cancelled nobody will ever cancel the nursery.
        await trio.lowlevel.checkpoint_if_cancelled()
        nursery.cancel_scope.shield = True
        await trio.sleep_forever()


class _Stream(trio.abc.Stream):
    """A stream that fails if it ends or breaks before the handshake has been answered.

    trio-websocket 0.12 waits for the answer for ever then.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.answered = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except GONE:
            data = b""
        if not data and not self.answered:
            raise UnreachableError("The server closed the connection without an answer.")
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._stream.send_all(data)
        except GONE:
            if self.answered:
                raise
            raise UnreachableError("The server closed the connection without an answer.") from None

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _open_stream(server: Server) -> trio.SocketStream | trio.SSLStream[trio.SocketStream]:
    if not server.secure:
        return await trio.open_tcp_stream(server.host, server.port)
    stream = await trio.open_ssl_over_tcp_stream(server.host, server.port, https_compatible=True)
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


async def _keep_alive(websocket: WebSocketConnection) -> None:
    """Raise UnreachableError once a ping is not answered."""
    while True:
        await trio.sleep(PING_INTERVAL)
        with trio.move_on_after(PING_INTERVAL) as patience:
            await websocket.ping()
        if patience.cancelled_caught:
            raise UnreachableError("The server does not answer.")


@asynccontextmanager
async def unwrapped() -> AsyncIterator[None]:
    """Raise an error of a nursery bare: what ends one connection is one error.

    If there are several, those that name the reason come before those that follow from it.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        error = _leaf(group)
        context = error.__context__
        try:
            raise error
        finally:
            error.__context__ = context


def _leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    for kind in (ClientError, ConnectionClosed, Exception):
        if found := group.subgroup(kind):
            group = found
            break
    first = group.exceptions[0]
    return _leaf(first) if isinstance(first, BaseExceptionGroup) else first
