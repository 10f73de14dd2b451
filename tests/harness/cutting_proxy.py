"""A TCP proxy in front of a server that cuts connections where a test wants it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import trio

from tests.harness.sockets import reset_on_close

GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class CuttingProxy:
    """Forwards connections to a port, which may change, until told to cut them."""

    def __init__(self, target: int) -> None:
        self.target = target
        """The port that new connections are forwarded to."""
        self.port = 0
        self.accepted = 0
        """How many connections there have been."""
        self.refuses = False
        """Whether new connections are cut at once."""
        self.passes_up: Callable[[bytes], int | None] = lambda _: None
        self.passes_down: Callable[[bytes], int | None] = lambda _: None
        """Asked about what a client or the server sends: how many bytes of it to forward before
        the connection is cut; None to forward all and go on."""
        self._open: set[trio.CancelScope] = set()

    def cut(self) -> None:
        """Cut every connection."""
        for scope in list(self._open):
            scope.cancel()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, client: trio.SocketStream) -> None:
        self.accepted += 1
        reset_on_close(client)
        async with client:
            if self.refuses:
                return
            with suppress(OSError, *GONE), trio.CancelScope() as scope:
                self._open.add(scope)
                try:
                    server = await trio.open_tcp_stream("127.0.0.1", self.target)
                    reset_on_close(server)
                    async with server, trio.open_nursery() as nursery:
                        nursery.start_soon(self._forward, client, server, "passes_up", scope)
                        nursery.start_soon(self._forward, server, client, "passes_down", scope)
                finally:
                    self._open.remove(scope)

    async def _forward(
        self,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        direction: str,
        scope: trio.CancelScope,
    ) -> None:
        with suppress(*GONE):
            async for data in source:
                allowed = getattr(self, direction)(bytes(data))
                await sink.send_all(data if allowed is None else data[:allowed])
                if allowed is not None:
                    break
        scope.cancel()


@asynccontextmanager
async def open_cutting_proxy(target: int) -> AsyncIterator[CuttingProxy]:
    proxy = CuttingProxy(target)
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.run)
        yield proxy
        nursery.cancel_scope.cancel()
