"""The address of the metrics: what it answers, and that nobody can hold it up."""

import socket

import pytest
import trio
from trio.testing import MockClock

from sharechat.adapters.prometheus import PrometheusTelemetry, serve_http
from sharechat.adapters.prometheus.server import MAX_CONNECTIONS, TIMEOUT
from tests.harness.deadline import DEADLINE


@pytest.fixture(name="port")
async def _port(nursery: trio.Nursery) -> int:
    listener = socket.create_server(("127.0.0.1", 0))
    nursery.start_soon(serve_http, PrometheusTelemetry("1.2.3"), listener)
    port: int = listener.getsockname()[1]
    return port


async def ask(port: int, request: bytes) -> bytes:
    """Send bytes on a new connection; return all that comes back."""
    with trio.fail_after(DEADLINE):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(request)
            return b"".join([chunk async for chunk in stream])


async def test_a_scrape_has_the_version_and_ends_the_connection(port: int) -> None:
    answer = await ask(port, b"GET /metrics?x=y HTTP/1.1\r\nHost: here\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"Connection: close" in head
    assert b'sharechat_build_info{python="' in body
    assert b'version="1.2.3",worker="0"} 1.0\n' in body
    assert b"\nprocess_resident_memory_bytes" in body


async def test_a_head_request_gets_the_head_alone(port: int) -> None:
    answer = await ask(port, b"HEAD /metrics HTTP/1.1\r\nHost: here\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", 404),
        (b"DELETE /metrics HTTP/1.1\r\nHost: here\r\n\r\n", 405),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: " + b"x" * 20_000, 400),
    ],
)
async def test_another_request_is_refused_and_the_next_one_answered(
    port: int, request_: bytes, status: int
) -> None:
    assert (await ask(port, request_)).startswith(b"HTTP/1.1 %d " % status)
    await test_a_scrape_has_the_version_and_ends_the_connection(port)


async def test_who_says_nothing_is_cut_off_in_time_and_too_many_at_once(
    port: int, autojump_clock: MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.1  # The kernel needs a moment.
    silent = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
    began = trio.current_time()
    assert await ask(port, b"") == b""
    assert trio.current_time() - began < TIMEOUT
    with trio.fail_after(2 * TIMEOUT):
        for stream in silent:
            assert await stream.receive_some() == b""
            await stream.aclose()
    await test_a_scrape_has_the_version_and_ends_the_connection(port)
