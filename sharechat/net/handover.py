"""How a connection passes from hypercorn, which answers the handshake, to its websocket.

    HTTP ---> TAKEN
      |         |
      +---------+---> CLOSING ---> CLOSED

In each state the socket has one owner. Every way out of a state ends in CLOSED.
"""

import enum
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, suppress
from math import inf
from typing import Any

import trio

from sharechat.domain.telemetry import SILENT, Telemetry
from sharechat.net.decoder import Decoder
from sharechat.net.direct_connection import DirectConnection
from sharechat.net.heartbeat import Heartbeat
from sharechat.net.transport import GONE, Transport

HTTP_TIMEOUT = 15
"""Seconds without a byte from us after which hypercorn loses the connection.

Longer than any answer takes, even to a request that comes when the connection has been idle
for hypercorn's own five seconds. What the peer sends does not count: it might never end.
"""

LINGER = 1
"""Seconds that closing waits for the peer to have read everything."""

Serve = Callable[[DirectConnection], Awaitable[None]]


class State(enum.Enum):
    HTTP = enum.auto()
    """Hypercorn owns the socket: it reads requests and writes responses."""
    TAKEN = enum.auto()
    """The handshake was accepted: the websocket's connection owns the socket."""
    CLOSING = enum.auto()
    """Nobody writes any more. What the peer still sends is dropped, for a moment."""
    CLOSED = enum.auto()


class Handover:
    """One accepted connection, from its first byte to its end.

    To hypercorn this is the stream that it serves: `receive_some`, `send_all`, `send_eof` and
    `aclose` are those of `trio.abc.HalfCloseableStream`. Once the handshake of a websocket has
    been accepted, hypercorn must not read any more, and the others have no effect.
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

    @property
    def gone(self) -> bool:
        """Whether the client has gone and left nothing unread. False if nobody knows."""
        return self._transport.is_at_end()

    def accept(self, answer: bytes) -> None:
        """Take the socket from hypercorn with `answer`, which accepts a handshake.

        What the client sends after its handshake has not been read, and is the websocket's.
        Nothing is taken if the client has gone.
        """
        with suppress(*GONE):
            self._transport.write(answer)
            self._phase = State.TAKEN

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
        """Wait for bytes and return them, b"" at the end. Cancelling loses nothing.

        Raises what `send_all` raises.
        """
        return await self._transport.read(max_bytes)

    async def send_all(self, data: bytes) -> None:
        """Send everything. Raises BrokenResourceError, ClosedResourceError.

        After a cancelled call a part may have been sent, and the rest goes with what is sent next.
        """
        if self._phase is State.TAKEN:
            return
        self._http.deadline = inf
        try:
            self._transport.write(data)
            await self._transport.drain()
        finally:
            self._http.deadline = trio.current_time() + self._timeout

    async def send_eof(self) -> None:
        if self._phase is State.TAKEN:
            return  # A checkpoint would cost every handshake a turn of the scheduler.
        self._transport.shut_write()
        # Hypercorn may call this in a task of the application that has been cancelled, and must
        # then still go on to `aclose`.
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def aclose(self) -> None:
        """Shut the connection, and end hypercorn's work: it is done, though it may not know."""
        if self._phase is State.TAKEN:
            return
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
