"""Every way out of HTTP and of CLOSING ends a Handover, with its socket closed; on real sockets."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.net.handover import Handover, State
from tests.harness.handover import Connected, Http, connected

# What hypercorn does.


def reads(both: Connected) -> Http:
    """Read requests to the end, as TCPServer does, and close."""

    async def http(handover: Handover) -> None:
        try:
            while await handover.receive_some(100):
                pass
        finally:
            await handover.send_eof()
            await handover.aclose()

    return http


def hangs(both: Connected) -> Http:
    async def http(handover: Handover) -> None:
        await trio.sleep_forever()

    return http


def raises(both: Connected) -> Http:
    async def http(handover: Handover) -> None:
        await handover.receive_some(100)
        raise RuntimeError("a bug in the HTTP server")

    return http


def closes(both: Connected) -> Http:
    async def http(handover: Handover) -> None:
        await handover.aclose()

    return http


# Out of HTTP.


async def test_http_ends_when_the_peer_closes() -> None:
    async with connected(reads) as both:
        assert both.handover.state is State.HTTP
        await both.peer.send_all(b"GET / HTTP/1.1\r\n")
        await both.peer.send_eof()
        await both.is_closed()


async def test_http_ends_when_the_peer_resets() -> None:
    async with connected(reads) as both:
        both.reset()
        await both.ends()


async def test_http_ends_when_hypercorn_closes() -> None:
    def closes(both: Connected) -> Http:
        async def http(handover: Handover) -> None:
            await handover.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
            await handover.aclose()
            await trio.sleep_forever()  # It may not know that it is done.

        return http

    async with connected(closes) as both:
        assert both.handover.state is State.CLOSING
        await both.hears(b"HTTP/1.1 200 OK\r\n\r\n")
        await both.peer.aclose()
        await both.ends()


async def test_http_ends_when_hypercorn_fails() -> None:
    async with connected(raises) as both:
        await both.peer.send_all(b"GET")
        await both.is_closed()
        assert both.error is not None


@pytest.mark.parametrize("http", [reads, hangs])
async def test_http_ends_when_nothing_is_written_for_too_long(
    mock_clock: MockClock, http: Callable[[Connected], Http]
) -> None:
    async with connected(http, timeout=10) as both:
        for _ in range(10):  # What the peer sends does not count.
            assert both.handover.state is State.HTTP
            await both.peer.send_all(b"x")
            await wait_all_tasks_blocked()
            mock_clock.jump(1)
        await both.is_closed()


async def test_a_write_puts_off_the_end(mock_clock: MockClock) -> None:
    def answers(both: Connected) -> Http:
        async def http(handover: Handover) -> None:
            while await handover.receive_some(100):
                await handover.send_all(b"answer")

        return http

    async with connected(answers, timeout=10) as both:
        for _ in range(3):
            mock_clock.jump(9)
            await both.peer.send_all(b"request")
            await both.hears(b"answer")
        await wait_all_tasks_blocked()
        mock_clock.jump(10)
        await both.is_closed()


async def test_http_ends_when_it_is_cancelled() -> None:
    async with connected(reads) as both:
        both.scope.cancel()
        await both.is_closed()


# Out of CLOSING.


async def test_closing_ends_when_the_peer_does_not_close() -> None:
    async with connected(closes) as both:
        assert both.handover.state is State.CLOSING
        await both.peer.send_all(b"still here")
        await both.ends()


async def test_closing_ends_when_the_peer_resets() -> None:
    async with connected(closes) as both:
        both.reset()
        await both.ends()


async def test_closing_ends_when_it_is_cancelled() -> None:
    async with connected(closes) as both:
        both.scope.cancel()
        await both.is_closed()
