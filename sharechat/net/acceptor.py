"""Serving the application until the process is told to stop.

Hypercorn speaks HTTP, answers handshakes and runs the ASGI lifespan. The accept loop is
our own, so that each connection is a Transport which the websocket route can find.
"""

import errno
import socket
from collections.abc import Awaitable, Callable

import structlog
import trio
from h11 import LocalProtocolError
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState, LifespanState
from hypercorn.utils import wrap_app
from quart_trio import QuartTrio

from sharechat.actors.controller import Controller
from sharechat.domain.messages import to_json
from sharechat.domain.outcomes import TOO_MANY
from sharechat.net.admission import Admission
from sharechat.net.transport import GONE, Transport
from sharechat.web.problems import RETRY_AFTER, describe
from sharechat.web.websocket import TRANSPORT

log = structlog.get_logger()

BACKLOG = 4096
"""How many connections may wait to be accepted: a whole room coming back at once."""

GRACE = 1
"""Seconds that connections get to end after their members have left."""

_TOO_MANY_BODY = to_json(describe(TOO_MANY, "Close some of the others first."))
_TOO_MANY = (
    f"HTTP/1.1 {TOO_MANY.status} Too Many Requests\r\nRetry-After: {RETRY_AFTER}\r\n"
    "Connection: close\r\nContent-Type: application/problem+json\r\n"
    f"Content-Length: {len(_TOO_MANY_BODY)}\r\n\r\n"
).encode() + _TOO_MANY_BODY

_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens on host and port. Raises OSError."""
    family, type_, proto, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, type_, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


async def serve(
    app: QuartTrio,
    controller: Controller,
    admission: Admission,
    listener: socket.socket,
    *,
    until: Callable[[], Awaitable[object]],
    started: Callable[[], None] = lambda: None,
) -> None:
    """Serve `app` on a listening socket until `until()` returns, then drain.

    `started()` is called once requests are answered. When draining, every member hears a
    close and has left before this returns. Cancelling ends everything at once.
    Raises hypercorn's LifespanFailureError if the application cannot start.
    """
    config = Config()
    config.errorlog = None
    config.include_server_header = False
    wrapped = wrap_app(app, 0, "asgi")
    state: LifespanState = {}
    lifespan = Lifespan(wrapped, config, state)
    context = WorkerContext(max_requests=None)
    with listener:
        async with trio.open_nursery() as lifespan_nursery:
            await lifespan_nursery.start(lifespan.handle_lifespan)
            await lifespan.wait_for_startup()
            async with trio.open_nursery() as connections:
                handler = _Handler(wrapped, config, context, state, admission)
                connections.start_soon(handler.cut_off_stuck)
                async with trio.open_nursery() as acceptor:
                    acceptor.start_soon(_accept, listener, connections, handler)
                    started()
                    await until()
                    log.info("stopping")
                    acceptor.cancel_scope.cancel()
                listener.close()
                await controller.stop()
                await context.terminated.set()
                await handler.drain(GRACE)
                connections.cancel_scope.cancel()
            await lifespan.wait_for_shutdown()
            lifespan_nursery.cancel_scope.cancel()


class _Handler:
    """Serves one accepted connection, to its end, whatever happens."""

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        state: LifespanState,
        admission: Admission,
    ) -> None:
        self._app = app
        self._config = config
        self._context = context
        self._state = state
        self._admission = admission
        self._open: set[Transport] = set()
        self._all_ended = trio.Event()

    async def drain(self, seconds: float) -> None:
        """Wait until every connection has ended; abort those that have not after `seconds`.

        Hypercorn shields what it sends from being cancelled: only a socket that is gone
        ends that. And it waits for other things that only being cancelled ends.
        """
        if self._open:
            with trio.move_on_after(seconds):
                await self._all_ended.wait()
        for transport in list(self._open):
            transport.abort()

    async def cut_off_stuck(self) -> None:
        """Abort, until cancelled, the connections that hypercorn keeps for nothing."""
        while True:
            await trio.sleep(1)
            for transport in [transport for transport in self._open if transport.stuck]:
                transport.abort()

    async def __call__(self, sock: socket.socket, address: str) -> None:
        transport = Transport(sock)
        self._open.add(transport)
        state = ConnectionState({**self._state, TRANSPORT: transport})
        try:
            with self._admission.admit(address) as welcome:
                if not welcome:
                    await _turn_away(transport)
                    return
                # TCPServer asks of its stream what a Transport has, and no more.
                await TCPServer(self._app, self._config, self._context, state, transport)  # type: ignore[arg-type]
                if transport.successor is not None:
                    await transport.successor()
        except* GONE:
            pass  # It went before it could be answered.
        except* (UnicodeDecodeError, LocalProtocolError):
            # Bytes in a header, or a client that does not wait for its answer, that
            # hypercorn did not expect.
            log.info("connection ended, its request made no sense", address=address)
        except* Exception:
            # One connection's failure is not the server's.
            log.exception("connection failed")
        finally:
            transport.close()
            self._open.remove(transport)
            if self._context.terminated.is_set() and not self._open:
                self._all_ended.set()


async def _turn_away(transport: Transport) -> None:
    await transport.send_all(_TOO_MANY)
    await transport.aclose()


async def _accept(
    listener: socket.socket,
    connections: trio.Nursery,
    handler: Callable[[socket.socket, str], Awaitable[None]],
) -> None:
    """Start a task for every connection until cancelled."""
    while True:
        await trio.lowlevel.wait_readable(listener)
        try:
            sock, address = listener.accept()
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            if error.errno in _OUT_OF_FILES:
                log.warning("cannot accept", reason=error.strerror)
                await trio.sleep(0.1)
            # Anything else concerns a connection that ended before it was accepted.
            continue
        connections.start_soon(handler, sock, address[0])
