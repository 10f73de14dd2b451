"""Every way out of a handshake and of TAKEN ends a Handover, with its socket closed."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sharechat.net.direct_connection import DirectConnection
from sharechat.net.handover import State
from tests.harness.handover import ACCEPTED, TIMEOUT, Connected, connected, handshaking

REFUSED = b"HTTP/1.1 400 Bad Request\r\n\r\n"


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
    both.handover.accept(ACCEPTED)
    raise RuntimeError("a bug in the application")


async def accept_and_forget(both: Connected) -> None:
    both.handover.accept(ACCEPTED)


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
        both.handover.accept(ACCEPTED)
        both.take(serve)

    return app


# Out of a handshake, which is a part of HTTP.


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
        assert both.handover.state is State.HTTP
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
        both.handover.accept(ACCEPTED)

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
    async def accept_and_hang(both: Connected) -> None:
        await accept_and(end_at_once)(both)
        await trio.sleep_forever()

    async with connected(handshaking(accept_and_hang), timeout=TIMEOUT) as both:
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
