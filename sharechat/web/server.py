"""Serving the application until the process is told to stop.

Hypercorn speaks HTTP, answers handshakes and runs the ASGI lifespan. The accept loop is
our own, so that each connection is a Transport which the websocket route can find.
"""

import errno
import signal
import socket
from collections.abc import Awaitable, Callable

import structlog
import trio
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState, LifespanState
from hypercorn.utils import wrap_app
from quart_trio import QuartTrio

from sharechat.actors.controller import Controller
from sharechat.web.serve import TRANSPORT
from sharechat.web.transport import Transport

log = structlog.get_logger()

BACKLOG = 4096
"""How many connections may wait to be accepted: a whole room coming back at once."""

GRACE = 1
"""Seconds that connections get to end after their members have left."""

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
    listener: socket.socket,
    *,
    started: Callable[[], None] = lambda: None,
) -> None:
    """Serve `app` on a listening socket until SIGTERM or SIGINT, then drain.

    `started()` is called once requests are answered. When told to stop, every member
    hears a close and has left before this returns. Cancelling ends everything at once.
    Raises hypercorn's LifespanFailureError if the application cannot start.
    """
    config = Config()
    config.errorlog = None
    config.include_server_header = False
    wrapped = wrap_app(app, 0, "asgi")
    state: LifespanState = {}
    lifespan = Lifespan(wrapped, config, state)
    context = WorkerContext(max_requests=None)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as lifespan_nursery:
            await lifespan_nursery.start(lifespan.handle_lifespan)
            await lifespan.wait_for_startup()
            async with trio.open_nursery() as connections:
                handler = _Handler(wrapped, config, context, state)
                async with trio.open_nursery() as acceptor:
                    acceptor.start_soon(_accept, listener, connections, handler)
                    started()
                    await anext(signals)
                    log.info("stopping")
                    acceptor.cancel_scope.cancel()
                listener.close()
                await controller.stop()
                await context.terminated.set()
                connections.cancel_scope.deadline = trio.current_time() + GRACE
            await lifespan.wait_for_shutdown()
            lifespan_nursery.cancel_scope.cancel()


class _Handler:
    """Serves one accepted connection, to its end, whatever happens."""

    def __init__(
        self, app: AppWrapper, config: Config, context: WorkerContext, state: LifespanState
    ) -> None:
        self._app = app
        self._config = config
        self._context = context
        self._state = state

    async def __call__(self, sock: socket.socket) -> None:
        transport = Transport(sock)
        state = ConnectionState({**self._state, TRANSPORT: transport})
        try:
            # TCPServer asks of its stream what a Transport has, and no more.
            await TCPServer(self._app, self._config, self._context, state, transport)  # type: ignore[arg-type]
        except Exception:
            # One connection's failure is not the server's.
            log.exception("connection failed")
        finally:
            transport.abort()


async def _accept(
    listener: socket.socket,
    connections: trio.Nursery,
    handler: Callable[[socket.socket], Awaitable[None]],
) -> None:
    """Start a task for every connection until cancelled."""
    while True:
        await trio.lowlevel.wait_readable(listener)
        try:
            sock, _ = listener.accept()
        except OSError as error:
            if error.errno in _OUT_OF_FILES:
                log.warning("cannot accept", reason=error.strerror)
                await trio.sleep(0.1)
            # Anything else concerns a connection that ended before it was accepted.
            continue
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections.start_soon(handler, sock)
