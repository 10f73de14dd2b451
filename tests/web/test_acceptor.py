"""Accepting connections: those past a limit, without file descriptors, and without an end."""

import os
import resource
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import structlog
import trio
from structlog.typing import EventDict
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.adapters.memory import MemoryBus, MemoryRepository
from sharechat.bootstrap import Server, Stores, build
from sharechat.config import Settings
from sharechat.net.handover import HTTP_TIMEOUT
from tests.harness.deadline import DEADLINE
from tests.harness.http import fetch
from tests.harness.memory import MIB, MemoryWatch, ThisProcess
from tests.harness.peer import Peer, upgrade
from tests.harness.serving import serving
from tests.harness.waiting import until

GET = b"GET /api/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
TIMEOUT = 0.3
"""Seconds after which the server gives up waiting for a request."""


def make_server(**settings: int) -> Server:
    stores = Stores(MemoryRepository(), MemoryBus().queue())
    return build(Settings(in_memory=True, **settings), stores)  # type: ignore[arg-type]


@pytest.fixture(name="logs")
def _logs() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


async def connect(address: tuple[str, int]) -> Peer:
    return Peer(await trio.open_tcp_stream(*address))


async def test_a_client_over_the_limit_gets_its_answer_and_no_reset() -> None:
    """The server reads what the client sent: an answer may be lost if a connection is reset."""
    async with serving(make_server(max_per_address=1)) as address:
        first = await connect(address)
        await first.send(GET)
        await first.response()
        second = await connect(address)
        await second.send(GET)
        head, body = await second.response()
        assert head.startswith("HTTP/1.1 429 Too Many Requests\r\n")
        assert "Retry-After: " in head
        with trio.fail_after(DEADLINE):
            while data := await second.stream.receive_some():  # Raises if there is a reset.
                body += data
        assert f"Content-Length: {len(body)}" in head
        assert b"tag:sharechat.dev,2026:too-many" in body
        await second.stream.aclose()
        first.drop()


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(b"GET /api/healthz HTTP/1.0\r\n\r\n", id="HTTP/1.0"),
        pytest.param(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), id="close"),
    ],
)
async def test_a_client_that_closes_after_the_last_answer_counts_no_longer(request_: bytes) -> None:
    async def status(address: tuple[str, int]) -> str:
        peer = await connect(address)
        await peer.try_to_send(request_)
        head, _ = await peer.response()
        with suppress(trio.BrokenResourceError):
            while await peer.stream.receive_some():
                pass
        await peer.stream.aclose()
        return head.partition(" ")[2][:3]

    async with serving(make_server(max_per_address=1)) as address:
        assert await status(address) == "200"
        # After HTTP_TIMEOUT it would end in any case.
        with trio.fail_after(HTTP_TIMEOUT / 2):
            while await status(address) != "200":
                pass


@contextmanager
def no_file_descriptors() -> Iterator[None]:
    """Let this process open no more files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_a_server_without_file_descriptors_accepts_again_once_it_has_some(
    logs: list[EventDict],
) -> None:
    async with serving(make_server()) as address:
        logs.clear()
        with trio.socket.socket() as client:
            with no_file_descriptors():
                began = trio.current_time()
                await client.connect(address)
                await client.send(GET)
                await until(lambda: len(logs) > 1, within=DEADLINE)
                assert {log["event"] for log in logs} == {"cannot accept"}
                # It waits between two attempts.
                assert len(logs) <= 1 + (trio.current_time() - began) / 0.1
            with trio.fail_after(DEADLINE):
                assert (await client.recv(100)).startswith(b"HTTP/1.1 200 ")


Hold = Callable[[trio.SocketStream], Awaitable[None]]


def sends(begin: bytes, more: bytes = b"", pause: float = 0) -> Hold:
    """Send `begin`, and then `more` for as long as the server takes it."""

    async def hold(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(begin)
            while more:
                await trio.sleep(pause)
                await stream.send_all(more)

    return hold


_HANDSHAKE = upgrade("/api/serve/x")[:100]
_BODY = b"POST /api/room HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n"
_CHUNKS = b"POST /api/room HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "hold",
    [
        pytest.param(sends(b""), id="nothing"),
        pytest.param(sends(_HANDSHAKE), id="half a handshake"),
        pytest.param(sends(_HANDSHAKE, b"x", TIMEOUT / 10), id="a header that drips"),
        pytest.param(sends(_HANDSHAKE, b"x" * 1000 + b"\r\nX: "), id="endless headers"),
        pytest.param(sends(b"\r\n", b"\r\n", TIMEOUT / 10), id="blank lines"),
        pytest.param(sends(_BODY), id="no body"),
        pytest.param(sends(_BODY, b"x", TIMEOUT / 10), id="a body that drips"),
        pytest.param(sends(_BODY, b"x" * 10_000), id="an endless body"),
        pytest.param(sends(_CHUNKS, b"1\r\nx\r\n" * 1000), id="endless chunks"),
        pytest.param(sends(GET), id="idle after a response"),
    ],
)
async def test_a_connection_whose_request_never_ends_is_cut_off(hold: Hold) -> None:
    async with serving(make_server(), http_timeout=TIMEOUT) as address:
        async with MemoryWatch.during(ThisProcess()) as memory:
            stream = await trio.open_tcp_stream(*address)
            async with stream, trio.open_nursery() as nursery:
                nursery.start_soon(hold, stream)
                with trio.fail_after(HTTP_TIMEOUT), suppress(trio.BrokenResourceError):
                    while await stream.receive_some():
                        pass
                nursery.cancel_scope.cancel()
        assert memory.growth < 16 * MIB
        url = f"http://127.0.0.1:{address[1]}/api/healthz"
        assert (await trio.to_thread.run_sync(fetch, url)).status == 200


WAITING = pytest.mark.parametrize(
    "request_",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(GET[:20], id="half a request"),
        pytest.param(GET, id="idle after a response"),
    ],
)


async def connect_and_wait(address: tuple[str, int], request_: bytes) -> Peer:
    """Return a connection on which the server waits for a request, or the rest of one."""
    peer = await connect(address)
    await peer.send(request_)
    if request_ == GET:
        await peer.response()
    return peer


@WAITING
async def test_a_connection_that_waits_for_a_request_is_closed_after_five_seconds(
    mock_clock: MockClock, request_: bytes
) -> None:
    async with serving(make_server()) as address:
        peer = await connect_and_wait(address, request_)
        await wait_all_tasks_blocked(0.01)
        mock_clock.jump(4.9)
        with trio.move_on_after(0):
            while True:
                assert await peer.stream.receive_some()
        mock_clock.jump(0.2)
        while await peer.stream.receive_some():
            pass
        await peer.stream.aclose()


@WAITING
async def test_a_connection_that_waits_for_a_request_is_closed_when_the_server_stops(
    request_: bytes,
) -> None:
    async with serving(make_server()) as address:
        peer = await connect_and_wait(address, request_)
    # It raises if there is a reset, which everything gets that has not ended after a moment.
    while await peer.stream.receive_some():
        pass


async def test_a_header_without_end_is_answered() -> None:
    async with serving(make_server()) as address:
        peer = await connect(address)
        await peer.try_to_send(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000)
        head, _ = await peer.response()
        assert head.startswith("HTTP/1.1 431 ")
        peer.drop()
