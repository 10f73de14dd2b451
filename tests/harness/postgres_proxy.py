"""A TCP proxy in front of PostgreSQL that can lose an answer, or connections, or refuse them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from psycopg.conninfo import conninfo_to_dict, make_conninfo


class PostgresProxy:
    """Forwards connections to a server, or fails as a test wants it to."""

    def __init__(self, server_url: str) -> None:
        parts = conninfo_to_dict(server_url)
        self._host, self._port = str(parts["host"]), int(str(parts.get("port", 5432)))
        self._server_url = server_url
        self.url = ""
        """The URL of the database through this proxy; set once `run` has started."""
        self.cut_next_answer = False
        """Set this to drop the next answer; the proxy then unsets it."""
        self.refuses = False
        """Whether to close new connections at once."""
        self.connections = 0
        """How many connections have been accepted so far."""
        self._scopes: set[trio.CancelScope] = set()

    def drop(self) -> None:
        """Close all connections; new ones are still accepted."""
        for scope in self._scopes:
            scope.cancel()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        self.url = make_conninfo(
            self._server_url, host="127.0.0.1", port=port, gssencmode="disable", sslmode="disable"
        )
        async with listener:
            task_status.started()
            await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, client: trio.SocketStream) -> None:
        self.connections += 1
        if self.refuses:
            await client.aclose()
            return
        server = await trio.open_tcp_stream(self._host, self._port)
        async with client, server, trio.open_nursery() as nursery:
            self._scopes.add(nursery.cancel_scope)

            async def forward_answers() -> None:
                async for data in server:
                    if self.cut_next_answer:
                        self.cut_next_answer = False
                        break
                    await client.send_all(data)
                nursery.cancel_scope.cancel()

            async def forward_requests() -> None:
                async for data in client:
                    await server.send_all(data)
                nursery.cancel_scope.cancel()

            nursery.start_soon(forward_answers)
            nursery.start_soon(forward_requests)


@asynccontextmanager
async def open_proxy(server_url: str) -> AsyncIterator[PostgresProxy]:
    proxy = PostgresProxy(server_url)
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.run)
        yield proxy
        nursery.cancel_scope.cancel()
