"""Serving the application until the process is told to stop."""

import signal
import socket
from collections.abc import Callable

import trio
from hypercorn.config import Config, Sockets
from hypercorn.trio.run import worker_serve
from hypercorn.utils import wrap_app
from quart_trio import QuartTrio

from sharechat.actors.controller import Controller

BACKLOG = 4096
"""How many connections may wait to be accepted: a whole room coming back at once."""

GRACE = 1
"""Seconds that connections get to end after their members have left."""


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
    sock: socket.socket,
    *,
    started: Callable[[], None] = lambda: None,
) -> None:
    """Serve `app` on a listening socket until SIGTERM or SIGINT, then drain.

    `started()` is called once requests are answered. When told to stop, every member
    hears a close and has left before this returns. Cancelling ends everything at once.
    """
    config = Config()
    config.errorlog = None
    config.graceful_timeout = GRACE
    config.websocket_ping_interval = 20
    config.include_server_header = False

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:

        async def told_to_stop() -> None:
            await signals.__anext__()
            await controller.stop()

        async with trio.open_nursery() as nursery:
            await nursery.start(
                lambda task_status: worker_serve(
                    wrap_app(app, 0, "asgi"),
                    config,
                    sockets=Sockets([], [sock], []),
                    shutdown_trigger=told_to_stop,
                    task_status=task_status,
                )
            )
            started()
