"""Hypercorn's HTTP server, held to HTTP/1.1, with our own answers to handshakes."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import structlog
import trio
from h11 import Connection, Data, EndOfMessage, Request, Response
from hypercorn.events import Closed
from hypercorn.protocol import events
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from sharechat.domain.outcomes import problem_json
from sharechat.net import handshake
from sharechat.net.handover import find_handover, handover_of
from sharechat.net.handshake import Headers

log = structlog.get_logger()

_MALFORMED = "The request is malformed."
_WRONG_VERSION = "This server speaks HTTP/1.1. A proxy in front of it may speak HTTP/2 to clients."


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
                    self.stream.secure,
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
    """Refuses HTTP/2 and other versions, and ignores `Upgrade: h2c` (RFC 9110, section 7.8)."""

    @property
    def address(self) -> str:
        return self.client[0] if self.client else ""

    async def _check_protocol(self, event: Request) -> None:
        if not event.http_version.startswith(b"1."):
            await self._refuse(505, "about:blank", _phrase(505), _WRONG_VERSION)

    async def _create_stream(self, request: Request) -> None:
        headers = list(request.headers)
        if not handshake.is_handshake(request.method, headers):
            await super()._create_stream(request)
            return
        assert isinstance(self.connection, Connection)
        early, _ = self.connection.trailing_data
        if refusal := handshake.check(request.http_version, headers, early=bool(early)):
            problem, detail, more = refusal
            if handover := handover_of(self.connection_state):
                handover.telemetry.refused(problem)
            await self._refuse(problem.status, problem.uri, problem.title, detail, more)
        self.connection = H11WSConnection(self.connection)
        stream = _Handshake(self)
        self.stream = stream  # type: ignore[assignment]
        await stream.begin(request.target, headers)

    async def _send_error_response(self, status_code: int) -> None:
        log.debug("refused", status=status_code, detail=_MALFORMED, address=self.address)
        await self.answer(status_code, "about:blank", _phrase(status_code), _MALFORMED)

    async def _refuse(
        self, status: int, uri: str, title: str, detail: str, more: Headers | None = None
    ) -> None:
        log.debug("refused", status=status, detail=detail, address=self.address)
        await self.answer(status, uri, title, detail, more)
        await self.send(Closed())
        # The Handover cancels what runs on a connection that has been closed.
        await trio.sleep_forever()

    async def answer(
        self, status: int, uri: str, title: str, detail: str, more: Headers | None = None
    ) -> None:
        """Answer with a problem, after which the connection must be closed."""
        body = problem_json(status, uri, title, detail)
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *(more or []),
        ]
        await self._send_h11_event(Response(status_code=status, headers=headers))
        await self._send_h11_event(Data(data=body))
        await self._send_h11_event(EndOfMessage())


class _Handshake:
    """A valid handshake that the application answers.

    To hypercorn this is a stream, in the place of its own WSStream. That one goes by the last
    of several headers, fails if one is not ASCII, and negotiates extensions by itself.
    """

    def __init__(self, protocol: _Http1Protocol) -> None:
        self._protocol = protocol
        self._send = protocol.stream_send
        self._headers: Headers = []
        self._put: Callable[[Any], Awaitable[None]] | None = None
        self._answered = False
        self._refusal: Any = None

    async def begin(self, target: bytes, headers: Headers) -> None:
        protocol = self._protocol
        self._headers = headers
        path, _, query = target.partition(b"?")
        scope: Any = {
            "type": "websocket",
            "asgi": {"spec_version": "2.3", "version": "3.0"},
            "scheme": "wss" if protocol.ssl else "ws",
            "http_version": "1.1",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": protocol.config.root_path,
            "headers": headers,
            "client": protocol.client,
            "server": protocol.server,
            "state": protocol.connection_state.copy(),
            "subprotocols": handshake.elements(headers, b"sec-websocket-protocol"),
            "extensions": {"websocket.http.response": {}},
        }
        if handover := find_handover(scope):
            handover.expect_answer()
        self._put = await protocol.task_group.spawn_app(
            protocol.app,
            protocol.config,
            scope,
            self._answer,
        )
        await self._put({"type": "websocket.connect"})

    async def handle(self, event: events.Event) -> None:
        # Until the application has answered, nothing is read.
        if isinstance(event, events.StreamClosed) and self._put:
            await self._put({"type": "websocket.disconnect", "code": 1006})

    async def _answer(self, message: Any) -> None:
        """Send what the application answers; None tells that it has ended."""
        kind = message["type"] if message else None
        if kind == "websocket.http.response.start":
            self._refusal = message
        elif kind == "websocket.http.response.body":
            await self._refuse(message)
        elif self._answered:
            pass  # The socket belongs to what serves the websocket.
        elif kind == "websocket.accept":
            self._answered = True
            headers = [*handshake.accepting(self._headers), *message.get("headers", ())]
            if protocol := message.get("subprotocol"):
                headers.append((b"sec-websocket-protocol", protocol.encode()))
            await self._send(events.Response(STREAM_ID, headers, 101))
        else:
            self._answered = True
            await self._protocol.answer(
                500, "about:blank", _phrase(500), "Something went wrong in the server."
            )
        if message is None:
            await self._send(events.StreamClosed(STREAM_ID))

    async def _refuse(self, message: Any) -> None:
        if not self._answered:
            self._answered = True
            headers = [*self._refusal.get("headers", ()), (b"connection", b"close")]
            await self._send(events.Response(STREAM_ID, headers, self._refusal["status"]))
        if body := message.get("body", b""):
            await self._send(events.Body(STREAM_ID, body))
        if not message.get("more_body", False):
            await self._send(events.EndBody(STREAM_ID))


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase
