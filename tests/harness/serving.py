"""A server in the test's own process: the application behind the acceptor, on a free port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from sharechat.bootstrap import Server
from sharechat.net import acceptor, listeners
from sharechat.net.certificate import Certificate
from sharechat.net.handover import HTTP_TIMEOUT
from tests.harness.deadline import DEADLINE


@asynccontextmanager
async def serving(
    server: Server,
    *,
    http_timeout: float = HTTP_TIMEOUT,
    certificate: Certificate | None = None,
) -> AsyncIterator[tuple[str, int]]:
    """Serve until the end of the block, and then stop; yield the host and the port."""
    listener = listeners.bind("127.0.0.1", 0)
    address = listener.getsockname()
    stop, started = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        nursery.start_soon(
            partial(
                acceptor.serve,
                server.app,
                server.admission,
                listener,
                until=stop.wait,
                drain=server.controller.stop,
                started=started.set,
                http_timeout=http_timeout,
                certificate=certificate,
            )
        )
        with trio.fail_after(DEADLINE):
            await started.wait()
        yield address
        stop.set()
