"""Hypercorn's HTTP server, held to HTTP/1.1, with our own answers to handshakes."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from math import inf
from typing import Any
from urllib.parse import unquote

import structlog
import trio
from h11 import Connection, Data, EndOfMessage, InformationalResponse, Request, Response
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol import events
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr

from sharechat.domain.outcomes import problem_json
from sharechat.domain.telemetry import Part
from sharechat.net import handshake
from sharechat.net.handover import Handover, State
from sharechat.net.handshake import Headers
from sharechat.net.transport import GONE

log = structlog.get_logger()

Asgi = Callable[[Any, Any, Any], Awaitable[None]]

_MALFORMED = "The request is malformed."
_WRONG_VERSION = "This server speaks HTTP/1.1. A proxy in front of it may speak HTTP/2 to clients."


class Http1Server(TCPServer):
    """Hypercorn's TCPServer, which would change to HTTP/2 if a client asks for it.

    In the clear no browser does. Hypercorn lets a client open 100 streams on one connection
    and make it buffer 16 MiB on each, so two connections would be enough to fill a server.

    A handshake is answered in the task that reads, and reading ends with it. Hypercorn has a task
    for each application and one for each wait between requests; a handshake needs neither.
    """

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        state: ConnectionState,
        handover: Handover,
    ) -> None:
        # Hypercorn asks nothing of its stream that a Handover does not have.
        super().__init__(app, config, context, state, handover)  # type: ignore[arg-type]
        self._handover = handover
        # Around all reading. Its deadline is infinite while a request is answered.
        self._reading = trio.CancelScope()

    async def run(self) -> None:
        """Serve requests until the connection ends, is idle for too long, or is taken.

        However this ends, cancelled or not, the Handover is closed then unless it is taken.
        """
        sock = self._handover.socket
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
                    self._handover,
                    client,
                    server,
                    self.protocol_send,
                )
                await self.protocol_send(Updated(idle=True))
                await self._read_data()
        except OSError:
            pass  # The peer went before its address could be asked for.
        finally:
            await self._close()

    def end_if_idle(self) -> None:
        """End the connection, unless a request is being answered."""
        if self._reading.deadline != inf:
            self._reading.cancel()

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, Updated):
            timeout = self.config.keep_alive_timeout if event.idle else inf
            self._reading.deadline = trio.current_time() + timeout
        else:
            await super().protocol_send(event)

    async def _read_data(self) -> None:
        with self._reading:
            while self._handover.state is State.HTTP:
                try:
                    data = await self._handover.receive_some(MAX_RECV)
                except GONE:
                    break
                await self.protocol.handle(RawData(data))
                if not data:
                    break
        await self.protocol.handle(Closed())


class _Http1Protocol(H11Protocol):
    """Refuses HTTP/2 and other versions, and ignores `Upgrade: h2c` (RFC 9110, section 7.8)."""

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        task_group: TaskGroup,
        state: ConnectionState,
        handover: Handover,
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
        send: Callable[[Event], Awaitable[None]],
    ) -> None:
        super().__init__(
            app, config, context, task_group, state, handover.secure, client, server, send
        )
        self.handover = handover

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
            self.handover.telemetry.refused(problem)
            await self._refuse(problem.status, problem.uri, problem.title, detail, more)
        self.connection = H11WSConnection(self.connection)
        await _Handshake(self, self.connection.h11_connection, headers).run(request.target)

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

    It takes the place of hypercorn's WSStream. That one goes by the last of several headers, fails
    if one is not ASCII, and negotiates extensions by itself.
    """

    def __init__(self, protocol: _Http1Protocol, connection: Connection, headers: Headers) -> None:
        self._protocol = protocol
        self._connection = connection
        self._headers = headers
        self._answered = False
        self._refusal: Any = None

    async def run(self, target: bytes) -> None:
        """Have the application answer, until it has ended; nothing is read meanwhile.

        Cancelling ends the application, and the client gets no answer.
        """
        protocol = self._protocol
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
            "headers": self._headers,
            "client": protocol.client,
            "server": protocol.server,
            "state": protocol.connection_state.copy(),
            "subprotocols": handshake.elements(self._headers, b"sec-websocket-protocol"),
            "extensions": {"websocket.http.response": {}},
        }
        spawn, call_soon = trio.to_thread.run_sync, trio.from_thread.run
        try:
            await protocol.app(scope, _receive_nothing, self._answer, spawn, call_soon)
        except Exception:
            log.exception("handshake failed")
            protocol.handover.telemetry.failed(Part.REQUEST)
        if not self._answered:
            await protocol.answer(
                500, "about:blank", _phrase(500), "Something went wrong in the server."
            )
        if protocol.handover.state is not State.TAKEN:
            await protocol.send(Closed())

    async def _answer(self, message: Any) -> None:
        """Send what the application answers."""
        match message["type"]:
            case "websocket.http.response.start":
                self._refusal = message
            case "websocket.http.response.body":
                await self._refuse(message)
            case "websocket.accept" if not self._answered:
                self._answered = True
                headers = [*handshake.accepting(self._headers), *message.get("headers", ())]
                if subprotocol := message.get("subprotocol"):
                    headers.append((b"sec-websocket-protocol", subprotocol.encode()))
                headers += self._protocol.config.response_headers("h11")
                response = InformationalResponse(status_code=101, headers=headers)
                self._protocol.handover.accept(self._connection.send(response) or b"")

    async def _refuse(self, message: Any) -> None:
        send = self._protocol.stream_send
        if not self._answered:
            self._answered = True
            headers = [*self._refusal.get("headers", ()), (b"connection", b"close")]
            await send(events.Response(STREAM_ID, headers, self._refusal["status"]))
        if body := message.get("body", b""):
            await send(events.Body(STREAM_ID, body))
        if not message.get("more_body", False):
            await send(events.EndBody(STREAM_ID))


async def _receive_nothing() -> Any:
    """The `receive` of a handshake, during which nothing is read."""
    await trio.sleep_forever()


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase
