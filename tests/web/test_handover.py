"""Every way out of every state of a Handover ends with the socket closed; on real sockets."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sharechat.net.decoder import Decoder
from sharechat.net.direct_connection import DirectConnection
from sharechat.net.handover import Handover, State, answering_handshakes, in_state
from sharechat.net.heartbeat import Heartbeat
from sharechat.net.transport import GONE, Transport
from tests.harness.deadline import DEADLINE
from tests.harness.pair import LIMIT, tcp_pair
from tests.harness.sockets import reset_on_close

ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
REFUSED = b"HTTP/1.1 400 Bad Request\r\n\r\n"
TIMEOUT = 0.1

Http = Callable[[Handover], Awaitable[None]]


class Connected:
    """A Handover that runs, the peer at its other end, and what became of it."""

    def __init__(self, handover: Handover, peer: trio.SocketStream) -> None:
        self.handover = handover
        self.peer = peer
        self.scope = trio.CancelScope()
        self.held = ExitStack()
        self.released = False
        self.held.callback(self._release)
        self.serving = trio.Event()
        self.ended = trio.Event()
        self.error: BaseException | None = None

    def _release(self) -> None:
        self.released = True

    def take(self, serve: Callable[[DirectConnection], Awaitable[None]]) -> None:
        async def serve_and_tell(connection: DirectConnection) -> None:
            self.serving.set()
            await serve(connection)

        self.handover.take(Decoder(None, LIMIT), serve_and_tell, self.held.pop_all())

    def reset(self) -> None:
        reset_on_close(self.peer)
        self.peer.socket.close()

    async def hears(self, expected: bytes) -> None:
        received = b""
        with trio.fail_after(DEADLINE):
            while len(received) < len(expected):
                data = await self.peer.receive_some()
                assert data, received
                received += data
        assert received == expected

    async def run(self, http: Http) -> None:
        try:
            with self.scope:
                await self.handover.run(http)
        except* Exception as error:  # noqa: BLE001 - each test expects one, or none
            self.error = error
        self.ended.set()

    async def ends(self) -> None:
        """Assert that the Handover has ended, or does so soon, with its socket closed."""
        with trio.fail_after(DEADLINE):
            await self.ended.wait()
        assert self.handover.state is State.CLOSED
        assert self.handover.socket.fileno() == -1

    async def is_closed(self) -> None:
        """Assert that the Handover ends, and that the peer sees the end of the connection."""
        await self.ends()
        with trio.fail_after(DEADLINE), suppress(*GONE):
            while await self.peer.receive_some():
                pass


@asynccontextmanager
async def connected(
    make_http: Callable[[Connected], Http], *, timeout: float = DEADLINE
) -> AsyncIterator[Connected]:
    ours, theirs = tcp_pair()
    async with trio.open_nursery() as nursery, theirs:
        handover = Handover(Transport(ours), Heartbeat(), timeout=timeout, linger=TIMEOUT)
        both = Connected(handover, theirs)
        nursery.start_soon(both.run, make_http(both))
        await wait_all_tasks_blocked()
        yield both
        nursery.cancel_scope.deadline = trio.current_time() + DEADLINE
    assert not nursery.cancel_scope.cancelled_caught


# What hypercorn does, in each state.


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


def handshaking(
    app: Callable[[Connected], Awaitable[None]], *, reads_on: bool = True
) -> Callable[[Connected], Http]:
    """Have a request come, and `app` answer it while hypercorn reads on."""

    def make_http(both: Connected) -> Http:
        async def asgi(scope: object, receive: object, send: object) -> None:
            await app(both)

        async def http(handover: Handover) -> None:
            scope = {"type": "websocket", "http_version": "1.1", "state": in_state(handover)}
            async with trio.open_nursery() as nursery:
                nursery.start_soon(answering_handshakes(asgi), scope, None, None)
                await wait_all_tasks_blocked()
                if reads_on:
                    assert await handover.receive_some(100) == b""
                else:
                    await trio.sleep_forever()

        return http

    return make_http


async def hang(both: Connected) -> None:
    await trio.sleep_forever()


async def refuse(both: Connected) -> None:
    await both.handover.send_all(REFUSED)
    await both.handover.aclose()


async def refuse_and_forget(both: Connected) -> None:
    """Answer as hypercorn does to a client that does not wait: it closes nothing."""
    await both.handover.send_all(REFUSED)
    both.take(end_at_once)


async def fail(both: Connected) -> None:
    raise RuntimeError("a bug in the application")


async def answer_nothing(both: Connected) -> None:
    await trio.lowlevel.checkpoint()


async def accept_and_fail(both: Connected) -> None:
    await both.handover.send_all(ACCEPTED)
    raise RuntimeError("a bug in the application")


async def accept_and_forget(both: Connected) -> None:
    await both.handover.send_all(ACCEPTED)


async def end_at_once(connection: DirectConnection) -> None:
    await connection.aclose()


async def fail_at_once(connection: DirectConnection) -> None:
    raise RuntimeError("a bug in the member")


async def forget(connection: DirectConnection) -> None:
    await trio.lowlevel.checkpoint()


async def serve_on(connection: DirectConnection) -> None:
    try:
        await trio.sleep_forever()
    finally:
        await connection.aclose()


async def serve_until_gone(connection: DirectConnection) -> None:
    with suppress(Exception):
        while True:
            await connection.receive()
    await connection.aclose()


def accept_and(
    serve: Callable[[DirectConnection], Awaitable[None]],
) -> Callable[[Connected], Awaitable[None]]:
    async def app(both: Connected) -> None:
        await both.handover.send_all(ACCEPTED)
        both.take(serve)

    return app


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
    http: Callable[[Connected], Http],
) -> None:
    async with connected(http, timeout=TIMEOUT) as both:
        for _ in range(20):  # What the peer sends does not count.
            with suppress(*GONE):
                await both.peer.send_all(b"x")
            await trio.sleep(TIMEOUT / 10)
        await both.is_closed()


async def test_a_write_puts_off_the_end() -> None:
    def answers(both: Connected) -> Http:
        async def http(handover: Handover) -> None:
            while await handover.receive_some(100):
                await handover.send_all(b"answer")

        return http

    async with connected(answers, timeout=0.5) as both:
        for _ in range(10):
            await trio.sleep(0.1)
            await both.peer.send_all(b"request")
            await both.hears(b"answer")
        await both.is_closed()


async def test_http_ends_when_it_is_cancelled() -> None:
    async with connected(reads) as both:
        both.scope.cancel()
        await both.is_closed()


# Out of HANDSHAKE.


async def test_what_comes_during_the_handshake_is_left_for_the_websocket() -> None:
    received: list[str] = []
    proceed = trio.Event()

    async def app(both: Connected) -> None:
        await proceed.wait()
        await accept_and(receive_one)(both)

    async def receive_one(connection: DirectConnection) -> None:
        received.append(await connection.receive())
        await connection.aclose()

    async with connected(handshaking(app)) as both:
        assert both.handover.state is State.HANDSHAKE
        await both.peer.send_all(b"\x81\x85\0\0\0\0early")
        await wait_all_tasks_blocked(0.01)
        proceed.set()
        await both.hears(ACCEPTED)
        await both.is_closed()
        assert received == ["early"]


@pytest.mark.parametrize("app", [refuse, refuse_and_forget])
async def test_a_refused_handshake_ends(app: Callable[[Connected], Awaitable[None]]) -> None:
    async with connected(handshaking(app)) as both:
        await both.hears(REFUSED)
        await both.is_closed()
        assert not both.serving.is_set()


async def test_a_refused_handshake_gives_back_its_place() -> None:
    async with connected(handshaking(refuse_and_forget)) as both:
        await both.is_closed()
        assert both.released


async def test_a_handshake_that_is_never_answered_ends_with_the_application() -> None:
    async with connected(handshaking(answer_nothing)) as both:
        await both.is_closed()


@pytest.mark.parametrize("app", [fail, accept_and_fail])
async def test_a_handshake_ends_when_the_application_fails(
    app: Callable[[Connected], Awaitable[None]],
) -> None:
    async with connected(handshaking(app)) as both:
        await both.is_closed()
        assert both.error is not None


async def test_a_handshake_ends_when_it_takes_too_long() -> None:
    async with connected(handshaking(hang), timeout=TIMEOUT) as both:
        await both.is_closed()


async def test_a_handshake_ends_when_it_is_cancelled() -> None:
    async with connected(handshaking(hang)) as both:
        both.scope.cancel()
        await both.is_closed()


async def test_a_handshake_whose_peer_resets_ends_with_the_answer() -> None:
    proceed = trio.Event()

    async def app(both: Connected) -> None:
        await proceed.wait()
        await both.handover.send_all(ACCEPTED)

    async with connected(handshaking(app)) as both:
        both.reset()
        await wait_all_tasks_blocked(0.01)
        proceed.set()
        await both.ends()


# Out of TAKEN.


async def test_hypercorn_has_no_effect_once_the_socket_is_taken() -> None:
    async def app(both: Connected) -> None:
        await accept_and(serve_on)(both)
        await both.handover.send_all(b"a close frame of hypercorn's own")
        await both.handover.send_eof()
        await both.handover.aclose()

    async with connected(handshaking(app)) as both:
        await both.hears(ACCEPTED)
        await both.serving.wait()
        assert both.handover.state is State.TAKEN
        both.scope.cancel()
        await both.is_closed()


@pytest.mark.parametrize("serve", [end_at_once, forget, fail_at_once])
async def test_a_taken_connection_ends_with_what_serves_it(
    serve: Callable[[DirectConnection], Awaitable[None]],
) -> None:
    async with connected(handshaking(accept_and(serve))) as both:
        await both.hears(ACCEPTED)
        await both.is_closed()
        assert both.serving.is_set()
        assert both.released
        assert (both.error is not None) == (serve is fail_at_once)


async def test_an_accepted_connection_that_nobody_takes_ends() -> None:
    async with connected(handshaking(accept_and_forget)) as both:
        await both.hears(ACCEPTED)
        await both.is_closed()


async def test_a_taken_connection_is_served_although_hypercorn_hangs() -> None:
    http = handshaking(accept_and(end_at_once), reads_on=False)
    async with connected(http, timeout=TIMEOUT) as both:
        await both.is_closed()
        assert both.serving.is_set()


@pytest.mark.parametrize("way", ["reset", "close"])
async def test_a_taken_connection_ends_when_the_peer_goes(way: str) -> None:
    async with connected(handshaking(accept_and(serve_until_gone))) as both:
        await both.hears(ACCEPTED)
        await both.serving.wait()
        if way == "reset":
            both.reset()
        else:
            await both.peer.aclose()
        await both.ends()
        assert both.released


async def test_a_taken_connection_ends_when_it_is_cancelled() -> None:
    async with connected(handshaking(accept_and(serve_on))) as both:
        await both.serving.wait()
        both.scope.cancel()
        await both.is_closed()
        assert both.released


# Out of CLOSING.


def closes(both: Connected) -> Http:
    async def http(handover: Handover) -> None:
        await handover.aclose()

    return http


async def test_closing_ends_when_the_peer_does_not_close() -> None:
    async with connected(closes) as both:
        assert both.handover.state is State.CLOSING
        await both.peer.send_all(b"still here")
        await both.is_closed()


async def test_closing_ends_when_the_peer_resets() -> None:
    async with connected(closes) as both:
        both.reset()
        await both.ends()


async def test_closing_ends_when_it_is_cancelled() -> None:
    async with connected(closes) as both:
        both.scope.cancel()
        await both.is_closed()
