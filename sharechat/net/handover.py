"""How a connection passes from hypercorn, which answers the handshake, to its websocket.

    HTTP ---> HANDSHAKE ---> TAKEN
      |           |            |
      +-----------+------------+---> CLOSING ---> CLOSED

In each state the socket has one owner. Every way out of a state ends in CLOSED.
"""

import enum
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from math import inf
from typing import Any

import trio

from sharechat.domain.telemetry import SILENT, Telemetry
from sharechat.net.decoder import Decoder
from sharechat.net.direct_connection import DirectConnection
from sharechat.net.heartbeat import Heartbeat
from sharechat.net.transport import Transport

HTTP_TIMEOUT = 15
"""Seconds without a byte from us after which hypercorn loses the connection.

Longer than any answer takes, even to a request that comes when the connection has been idle
for hypercorn's own five seconds. What the peer sends does not count: it might never end.
"""

LINGER = 1
"""Seconds that closing waits for the peer to have read everything."""

_ACCEPTED = b"HTTP/1.1 101 "

Serve = Callable[[DirectConnection], Awaitable[None]]
Asgi = Callable[[Any, Any, Any], Awaitable[None]]


class State(enum.Enum):
    HTTP = enum.auto()
    """Hypercorn owns the socket: it reads requests and writes responses."""
    HANDSHAKE = enum.auto()
    """Hypercorn writes the answer to a websocket's handshake; nobody reads."""
    TAKEN = enum.auto()
    """The handshake was accepted: the websocket's connection owns the socket."""
    CLOSING = enum.auto()
    """Nobody writes any more. What the peer still sends is dropped, for a moment."""
    CLOSED = enum.auto()


class Handover:
    """One accepted connection, from its first byte to its end.

    To hypercorn this is the stream that it serves: `receive_some`, `send_all`, `send_eof` and
    `aclose` are those of `trio.abc.HalfCloseableStream`. Once the handshake of a websocket has
    been accepted they have no effect any more.
    """

    def __init__(
        self,
        transport: Transport,
        heartbeat: Heartbeat,
        *,
        timeout: float = HTTP_TIMEOUT,
        linger: float = LINGER,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self.socket = transport.socket  # Hypercorn asks it for the addresses of both ends.
        self.telemetry = telemetry
        self.secure = transport.secure
        self._transport = transport
        self._heartbeat = heartbeat
        self._timeout = timeout
        self._linger = linger
        self._phase = State.HTTP
        # Around all of hypercorn's work; the deadline moves on with every write.
        self._http = trio.CancelScope(deadline=trio.current_time() + timeout)
        # Around hypercorn's wait for bytes in HTTP, to take it off the socket.
        self._reading = trio.CancelScope()
        # Set when the handshake has had its answer, and hypercorn is to end.
        self._answered = trio.Event()
        self._websocket: tuple[Decoder, Serve] | None = None
        self._held: ExitStack | None = None

    @property
    def state(self) -> State:
        if self._transport.closed:
            return State.CLOSED
        if self._transport.closing:
            return State.CLOSING
        return self._phase

    async def run(self, serve_http: Callable[["Handover"], Awaitable[None]]) -> None:
        """Serve the connection to its end: by `serve_http`, and then as what was taken.

        However this ends, the socket is closed then. Raises what they raise.
        """
        try:
            with self._http:
                await serve_http(self)
            if self._websocket is not None:
                decoder, serve = self._websocket
                connection = DirectConnection(self._transport, decoder, telemetry=self.telemetry)
                with self._heartbeat.watch(connection):
                    await serve(connection)
            else:
                await self._transport.aclose(self._linger)
        finally:
            self._transport.close()
            if self._held is not None:
                self._held.close()

    # For what answers the handshake.

    def expect_answer(self) -> None:
        """Let hypercorn do nothing from now on but answer the handshake.

        What the client sends meanwhile is left for the websocket, or for nobody.
        """
        self._phase = State.HANDSHAKE
        self._reading.cancel()

    @contextmanager
    def handshake(self) -> Iterator[None]:
        """Expect an answer; at the end of the block hypercorn must end."""
        self.expect_answer()
        try:
            yield
        finally:
            self._answered.set()

    def take(self, decoder: Decoder, serve: Serve, held: ExitStack) -> None:
        """Have `serve` called with the connection as soon as hypercorn's tasks have ended.

        `held` is closed when the connection has ended, however it does. Nothing is served if
        the acceptance could not be written, since the client has gone.
        """
        self._held = held
        if self.state is State.TAKEN:
            self._websocket = decoder, serve

    # For hypercorn.

    async def receive_some(self, max_bytes: int) -> bytes:
        """Return what has come, b"" at the end or once hypercorn is to end."""
        while self.state is State.HTTP:
            with trio.CancelScope() as self._reading:
                await self._transport.wait_readable()
            # What comes during the handshake belongs to the websocket, and is left unread.
            if self.state is State.HTTP:
                try:
                    return self._transport.read_nowait(max_bytes)
                except trio.WouldBlock:
                    continue
        await self._answered.wait()
        return b""

    async def send_all(self, data: bytes) -> None:
        """Send everything. Raises BrokenResourceError, ClosedResourceError."""
        if self._phase is State.TAKEN:
            await trio.lowlevel.checkpoint()
        elif self._phase is State.HANDSHAKE and data.startswith(_ACCEPTED):
            self._transport.write(data)
            self._phase = State.TAKEN
            await trio.lowlevel.checkpoint()
        else:
            self._http.deadline = inf
            try:
                self._transport.write(data)
                await self._transport.drain()
            finally:
                self._http.deadline = trio.current_time() + self._timeout

    async def send_eof(self) -> None:
        if self._phase is not State.TAKEN:
            self._transport.shut_write()
        # Hypercorn may call this in a task of the application that has been cancelled, and must
        # then still go on to `aclose`.
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def aclose(self) -> None:
        """Shut the connection, and end hypercorn's work: it is done, though it may not know."""
        if self._phase is not State.TAKEN:
            self._transport.shut_write()
            self._http.cancel()
        await trio.lowlevel.checkpoint()


_KEY = "sharechat.handover"


def in_state(handover: Handover) -> dict[str, Any]:
    """Return the ASGI state that makes `handover` known to the application."""
    return {_KEY: handover}


def handover_of(state: Mapping[str, Any]) -> Handover | None:
    """Return the Handover that `in_state` has put into an ASGI state."""
    handover: Handover | None = state.get(_KEY)
    return handover


def find_handover(scope: Mapping[str, Any]) -> Handover | None:
    """Return the Handover of a websocket that may be taken, if this is one.

    On HTTP/2 it may not: there a websocket shares its connection with others (RFC 8441).
    """
    if scope["type"] != "websocket" or scope.get("http_version") != "1.1":
        return None
    return handover_of(scope.get("state") or {})


def answering_handshakes(app: Asgi) -> Asgi:
    """Wrap an ASGI application so that handshakes put their connection into HANDSHAKE."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        handover = find_handover(scope)
        if handover is None:
            await app(scope, receive, send)
            return

        with handover.handshake():
            await app(scope, receive, send)

    return wrapped
