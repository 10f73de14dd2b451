"""Answering on sockets: to Prometheus over HTTP, and to the parent of a worker."""

import socket
from collections.abc import Awaitable, Callable

import h11
import structlog
import trio
from prometheus_client import generate_latest

from sharechat.adapters.prometheus.lag import watch_lag
from sharechat.adapters.prometheus.telemetry import PrometheusTelemetry
from sharechat.adapters.prometheus.text import CONTENT_TYPE, to_text

log = structlog.get_logger()

PATH = "/metrics"

TIMEOUT = 5
"""Seconds that a connection may last in all."""

MAX_CONNECTIONS = 16
"""How many connections may be open at a time; more are closed at once."""

_MAX_REQUEST = 16 * 1024
"""Bytes that the head of a request may have."""

END = b"# EOF\n"
"""The last line of what a worker gives; without it the worker has ended in between."""

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)

Scrape = Callable[[], Awaitable[bytes]]
Handle = Callable[[trio.SocketStream], Awaitable[None]]


async def serve_http(telemetry: PrometheusTelemetry, listener: socket.socket) -> None:
    """Answer `GET /metrics` on a listening socket with the figures of this process alone.

    Runs until cancelled, and closes the socket. A failure ends it, logged, and nothing else.
    """

    async def scrape() -> bytes:
        return to_text({0: telemetry.registry.collect()}, expected=1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_lag, telemetry.lag)
        await serve_scrapes(scrape, listener)


async def serve_worker(telemetry: PrometheusTelemetry, listener: socket.socket) -> None:
    """Give the figures of this process to whoever connects; otherwise like `serve_http`."""

    async def give(stream: trio.SocketStream) -> None:
        await stream.send_all(generate_latest(telemetry.registry) + END)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_lag, telemetry.lag)
        await _serve(give, listener)


async def serve_scrapes(scrape: Scrape, listener: socket.socket) -> None:
    """Answer `GET /metrics` on a listening socket with what `scrape` returns, until cancelled.

    One request a connection, within TIMEOUT seconds. One scrape at a time, since each takes the
    event loop some milliseconds.
    """
    turn = trio.Lock()

    async def scrape_in_turn() -> bytes:
        async with turn:
            return await scrape()

    async def answer(stream: trio.SocketStream) -> None:
        await _answer(stream, scrape_in_turn)

    await _serve(answer, listener)


async def _serve(handle: Handle, listener: socket.socket) -> None:
    connections = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        try:
            async with stream:
                if connections <= MAX_CONNECTIONS:
                    with trio.move_on_after(TIMEOUT):
                        await handle(stream)
        except _GONE:
            pass
        except Exception:
            # The chat goes on without its figures.
            log.exception("metrics could not be shown")
        finally:
            connections -= 1

    try:
        accepting = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
        await trio.serve_listeners(serve, [accepting])
    except OSError:
        log.exception("metrics are no longer served")


async def _answer(stream: trio.SocketStream, scrape: Scrape) -> None:
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_REQUEST)
    status, body, kind, asked_by = 400, b"", "text/plain", b""
    try:
        request = await _read(http, stream)
        if request is None:
            return
        asked_by = request.method
        if request.target.partition(b"?")[0] != PATH.encode():
            status, body = 404, f"The metrics are at {PATH}.\n".encode()
        elif asked_by not in (b"GET", b"HEAD"):
            status = 405
        else:
            status, body, kind = 200, await scrape(), CONTENT_TYPE
    except h11.RemoteProtocolError:
        pass
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close")]
    if status == 405:
        headers.append(("Allow", "GET, HEAD"))
    answer = http.send(h11.Response(status_code=status, headers=headers)) or b""
    await stream.send_all(answer if asked_by == b"HEAD" else answer + body)


async def _read(http: h11.Connection, stream: trio.SocketStream) -> h11.Request | None:
    """Return the request, or None if the peer has closed. Raises RemoteProtocolError."""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await stream.receive_some(_MAX_REQUEST))
        elif isinstance(event, h11.Request):
            return event
        else:
            return None
