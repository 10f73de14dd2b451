"""Serving the application on a socket until the process is told to stop.

Hypercorn speaks HTTP. The accept loop is our own, so that a websocket
can take over its connection from hypercorn afterwards.
"""

import errno
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
import trio
from h11 import LocalProtocolError
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

from sharechat.domain.errors import TooManyConnectionsError
from sharechat.domain.outcomes import RETRY_AFTER, TOO_MANY, problem_json
from sharechat.domain.telemetry import SILENT, Part, Telemetry
from sharechat.net.admission import Admission
from sharechat.net.certificate import Certificate
from sharechat.net.handover import HTTP_TIMEOUT, Handover, in_state
from sharechat.net.heartbeat import Heartbeat
from sharechat.net.http1 import Asgi, Http1Server
from sharechat.net.tls_transport import NotTlsError, TlsTransport
from sharechat.net.transport import GONE, Transport

log = structlog.get_logger()

KERNEL_BUFFER = 1 << 18
"""Bytes that the kernel holds for a client and has not sent yet; by default it takes 4 MB.

This bounds what has not been sent (TCP_NOTSENT_LOWAT), and not what is under way to a client
that is far away, so that a fast one gets as much as its connection can carry.
"""

GRACE = 1
"""Seconds that connections get to end after their members have left."""

HANDSHAKE_TIMEOUT = 10
"""Seconds that a TLS handshake may take."""

_BODY = TOO_MANY.to_json(str(TooManyConnectionsError()))
_TOO_MANY = (
    f"HTTP/1.1 {TOO_MANY.status} Too Many Requests\r\nRetry-After: {RETRY_AFTER}\r\n"
    "Connection: close\r\nContent-Type: application/problem+json\r\n"
    f"Content-Length: {len(_BODY)}\r\n\r\n"
).encode() + _BODY

_BODY = problem_json(400, "about:blank", "Bad Request", "This port speaks TLS: use https or wss.")
_USE_TLS = (
    "HTTP/1.1 400 Bad Request\r\n"
    "Connection: close\r\nContent-Type: application/problem+json\r\n"
    f"Content-Length: {len(_BODY)}\r\n\r\n"
).encode() + _BODY

_ACCEPTED_AT_ONCE = 32
"""How many connections that wait to be accepted are accepted in one go."""

_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


async def serve(
    app: Asgi,
    admission: Admission,
    listener: socket.socket,
    *,
    until: Callable[[], Awaitable[object]],
    drain: Callable[[], Awaitable[object]],
    started: Callable[[], None] = lambda: None,
    http_timeout: float = HTTP_TIMEOUT,
    certificate: Certificate | None = None,
    telemetry: Telemetry = SILENT,
) -> None:
    """Serve `app` on a listening socket until `until()` returns, then drain.

    `started()` is called once connections are accepted. To drain, no more are accepted,
    `drain()` makes the members leave, and the other connections get a moment to end.
    Cancelling ends every connection at once. `listener` is closed in any case.
    `http_timeout` is the `timeout` of each Handover. With a certificate it speaks TLS.
    """
    with listener:
        connections = _Connections(app, admission, http_timeout, certificate, telemetry)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connections.heartbeat.run)
            async with trio.open_nursery() as accepting:
                accepting.start_soon(_accept, listener, nursery, connections)
                started()
                await until()
                log.info("stopping")
                accepting.cancel_scope.cancel()
            listener.close()
            await drain()
            await connections.drain(GRACE)
            nursery.cancel_scope.cancel()


class _Connections:
    """All open connections, each served by a task of its own that lasts as long."""

    def __init__(
        self,
        app: Asgi,
        admission: Admission,
        http_timeout: float,
        certificate: Certificate | None,
        telemetry: Telemetry,
    ) -> None:
        self.heartbeat = Heartbeat()
        self._certificate = certificate
        self._telemetry = telemetry
        self._http_timeout = http_timeout
        self._app = wrap_app(app, 0, "asgi")
        self._admission = admission
        self._config = Config()
        self._config.errorlog = None
        self._config.include_server_header = False
        self._context = WorkerContext(max_requests=None)
        self._open: set[Transport] = set()
        self._http: set[Http1Server] = set()
        self._all_ended = trio.Event()

    async def drain(self, seconds: float) -> None:
        """Wait until every connection has ended; abort those that are left after `seconds`.

        Hypercorn shields what it sends from cancellation, so only a socket that is gone ends
        that.
        """
        await self._context.terminated.set()
        for server in self._http:
            server.end_if_idle()
        if self._open:
            with trio.move_on_after(seconds):
                await self._all_ended.wait()
        for transport in list(self._open):
            transport.abort()

    async def serve(self, sock: socket.socket, address: str) -> None:
        """Serve one accepted connection to its end, and close it, whatever happens."""
        try:
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, KERNEL_BUFFER)
            transport = self._make_transport(sock)
        except OSError:
            sock.close()  # The peer has gone already.
            return
        self._open.add(transport)
        try:
            with self._admission.admit_connection(address):
                await _shake_hands(transport)
                handover = Handover(
                    transport,
                    self.heartbeat,
                    timeout=self._http_timeout,
                    telemetry=self._telemetry,
                )
                await handover.run(self._serve_http)
        except* TooManyConnectionsError:
            self._telemetry.refused(TOO_MANY)
            log.debug("refused", status=TOO_MANY.status, problem=TOO_MANY.slug, address=address)
            await _turn_away(transport)
        except* NotTlsError:
            await _ask_for_tls(transport)
        except* (*GONE, trio.TooSlowError):
            pass  # The peer went before it could be answered.
        except* (UnicodeDecodeError, LocalProtocolError):
            # Hypercorn may not expect some bytes.
            log.debug("refused", detail="The request is malformed.", address=address)
        except* Exception:
            # The failure of one connection must not end the server.
            log.exception("connection failed")
            self._telemetry.failed(Part.CONNECTION)
        finally:
            transport.close()
            self._open.remove(transport)
            if self._context.terminated.is_set() and not self._open:
                self._all_ended.set()

    def _make_transport(self, sock: socket.socket) -> Transport:
        """Raises OSError."""
        if self._certificate is None:
            return Transport(sock)
        return TlsTransport(sock, self._certificate.context)

    async def _serve_http(self, handover: Handover) -> None:
        state = ConnectionState(in_state(handover))
        server = Http1Server(self._app, self._config, self._context, state, handover)
        self._http.add(server)
        try:
            await server.run()
        finally:
            self._http.remove(server)


async def _shake_hands(transport: Transport) -> None:
    """Do the TLS handshake, if there is to be one.

    Raises NotTlsError, TooSlowError, BrokenResourceError and ClosedResourceError.
    """
    if isinstance(transport, TlsTransport):
        with trio.fail_after(HANDSHAKE_TIMEOUT):
            await transport.handshake()


async def _turn_away(transport: Transport) -> None:
    with suppress(*GONE, NotTlsError), trio.move_on_after(3 * GRACE):
        await _shake_hands(transport)
        transport.write(_TOO_MANY)
        await transport.drain()
        await transport.aclose(GRACE)


async def _ask_for_tls(transport: Transport) -> None:
    assert isinstance(transport, TlsTransport)
    plain = transport.without_tls()
    try:
        with suppress(*GONE), trio.move_on_after(3 * GRACE):
            plain.write(_USE_TLS)
            await plain.aclose(GRACE)
    finally:
        plain.close()


async def _accept(
    listener: socket.socket, nursery: trio.Nursery, connections: _Connections
) -> None:
    """Start a task for every connection until cancelled."""
    while True:
        await trio.lowlevel.wait_readable(listener)
        try:
            for _ in range(_ACCEPTED_AT_ONCE):
                sock, address = listener.accept()
                # Over a Unix socket the address is empty.
                nursery.start_soon(connections.serve, sock, address[0] if address else "")
        except OSError as error:
            if error.errno in _OUT_OF_RESOURCES:
                log.warning("cannot accept", reason=error.strerror)
                await trio.sleep(0.1)
            # Otherwise none waits any more, or one has ended before it was accepted.
