"""Hypercorn's HTTP server, held to HTTP/1.1."""

import trio
from h11 import Data, EndOfMessage, Request, Response
from hypercorn.events import Closed
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from sharechat.domain.outcomes import problem_json

_BODY = problem_json(
    505,
    "about:blank",
    "HTTP Version Not Supported",
    "This server speaks HTTP/1.1. A proxy in front of it may speak HTTP/2 to clients.",
)


class Http1Server(TCPServer):
    """Hypercorn's TCPServer, which would change to HTTP/2 if a client asks for it.

    In the clear no browser does. Hypercorn lets a client open 100 streams on one connection
    and make it buffer 16 MiB on each, so two connections would be enough to fill a server.
    """

    async def run(self) -> None:
        sock = self.stream.socket
        try:
            client = parse_socket_addr(sock.family, sock.getpeername())
            server = parse_socket_addr(sock.family, sock.getsockname())
            async with TaskGroup() as task_group:
                self._task_group = task_group
                self.protocol = _Http1Protocol(  # type: ignore[assignment]
                    self.app,
                    self.config,
                    self.context,
                    task_group,
                    ConnectionState(self.state),
                    False,
                    client,
                    server,
                    self.protocol_send,
                )
                await self.protocol.initiate()
                await self.idle_task.restart(task_group, self._idle_timeout)
                await self._read_data()
        except OSError:
            pass  # The peer went before its address could be asked for.
        finally:
            await self._close()


class _Http1Protocol(H11Protocol):
    """Refuses the preface of HTTP/2, and ignores `Upgrade: h2c` (RFC 9110, section 7.8)."""

    async def _create_stream(self, request: Request) -> None:
        await super()._create_stream(request)
        if isinstance(self.stream, WSStream) and self.stream.closed:
            # Hypercorn has refused an invalid handshake, and would leave closing to the client.
            await self.send(Closed())

    async def _check_protocol(self, event: Request) -> None:
        if event.http_version in (b"1.0", b"1.1"):
            return
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(_BODY)),
            (b"connection", b"close"),
        ]
        await self._send_h11_event(Response(status_code=505, headers=headers))
        await self._send_h11_event(Data(data=_BODY))
        await self._send_h11_event(EndOfMessage())
        await self.send(Closed())
        # The Handover cancels what runs on a connection that has been closed.
        await trio.sleep_forever()
