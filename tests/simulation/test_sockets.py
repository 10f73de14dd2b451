"""The simulated socket behaves as a real one: the same checks on both."""

import errno
import fcntl
import random
import socket
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.harness.deadline import DEADLINE
from tests.harness.pair import tcp_pair
from tests.simulation.kernel import simulated_sockets
from tests.simulation.sockets import Path, SimSocket, Sizes, connect

MUCH = 100_000_000
"""Bytes, more than any kernel takes."""


SMALL = Sizes(90, 70, 80, 60)


@asynccontextmanager
async def real() -> AsyncIterator[tuple[Any, Any]]:
    ours, stream = tcp_pair(buffers=4096)
    theirs = socket.socket(fileno=stream.socket.detach())
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


@asynccontextmanager
async def simulated(
    *, latency: float = 0, cuts: float = 0, sizes: Sizes = SMALL
) -> AsyncIterator[tuple[SimSocket, SimSocket]]:
    async with trio.open_nursery() as nursery:

        def later(seconds: float, do: Any) -> None:
            nursery.start_soon(call_later, seconds, do)

        with simulated_sockets():
            yield connect(Path(sizes, random.Random(1), later, latency, cuts))
        nursery.cancel_scope.cancel()


async def call_later(seconds: float, do: Any) -> None:
    await trio.sleep(seconds)
    do()


ENDS: dict[str, Callable[[], AbstractAsyncContextManager[tuple[Any, Any]]]] = {
    "real": real,
    "simulated": simulated,
    "simulated with latency": partial(simulated, latency=0.001),
    "simulated in pieces": partial(simulated, latency=0.001, cuts=0.5),
}


@pytest.fixture(name="pair", params=ENDS)
async def _pair(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Any, Any]]:
    async with ENDS[request.param]() as pair:
        yield pair


async def receive(sock: Any, count: int = sys.maxsize) -> bytes:
    """Read `count` bytes, or to the end. Raises what the socket raises."""
    received = b""
    with trio.fail_after(DEADLINE):
        while len(received) < count:
            await trio.lowlevel.wait_readable(sock)
            data = sock.recv(min(count - len(received), 10_000))
            if not data:
                break
            received += data
    return received


def send(sock: Any, data: bytes) -> None:
    """Send something short, for which there is room."""
    while data:
        data = data[sock.send(data) :]


def fill(sock: Any, sent: int = 0) -> int:
    """Send until the kernel takes nothing; return how many bytes have been sent in all."""
    with suppress(BlockingIOError):
        while sent < MUCH:
            sent += sock.sendmsg([pattern(sent, 3), pattern(sent + 3, 4000)])
    return sent


async def fill_both(sock: Any) -> int:
    """Send until both kernels are full; return how many bytes they took."""
    sent = 0
    while not sent or await writable_within(sock, 0.05):
        sent = fill(sock, sent)
    return sent


def pattern(start: int, count: int) -> bytes:
    return bytes((start + n) % 251 for n in range(count))


async def writable_within(sock: Any, seconds: float) -> bool:
    with trio.move_on_after(seconds) as scope:
        await trio.lowlevel.wait_writable(sock)
    return not scope.cancelled_caught


def unacknowledged(sock: Any) -> int:
    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


async def settle() -> None:
    await wait_all_tasks_blocked(0.02)


async def test_what_is_sent_arrives_whole_and_in_order(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    sent = await fill_both(ours)
    assert await receive(theirs, sent) == pattern(0, sent)


async def test_a_full_socket_becomes_writable_once_the_other_end_has_read(
    pair: tuple[Any, Any],
) -> None:
    ours, theirs = pair
    sent = await fill_both(ours)
    assert not await writable_within(ours, 0.02)
    await receive(theirs, sent)
    assert await writable_within(ours, DEADLINE)
    assert ours.send(b"more") > 0


async def test_with_nothing_to_read_recv_would_block(pair: tuple[Any, Any]) -> None:
    with pytest.raises(BlockingIOError):
        pair[0].recv(10)


async def test_after_a_shutdown_the_other_direction_still_works(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    send(ours, b"last")
    ours.shutdown(socket.SHUT_WR)
    assert await receive(theirs) == b"last"
    assert theirs.recv(10) == b""
    with pytest.raises(BrokenPipeError):
        ours.send(b"more")
    send(theirs, b"reply")
    assert await receive(ours, 5) == b"reply"


async def test_what_was_sent_before_a_close_still_arrives(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    sent = await fill_both(ours)
    ours.close()
    assert await receive(theirs) == pattern(0, sent)


async def test_sending_to_a_closed_end_fails_once_it_has_answered(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    theirs.close()
    assert await receive(ours) == b""
    send(ours, b"there?")
    await settle()
    with pytest.raises(BrokenPipeError):
        ours.send(b"there?")
    assert ours.recv(10) == b""


async def test_a_close_with_something_unread_resets(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    send(theirs, b"unread")
    await settle()
    ours.close()
    with pytest.raises(ConnectionResetError):
        await receive(theirs)
    assert theirs.recv(10) == b""


async def test_a_reset_comes_after_what_has_arrived(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    send(ours, b"arrived")
    await settle()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ours.close()
    await settle()
    assert await receive(theirs, 7) == b"arrived"
    with pytest.raises(ConnectionResetError):
        theirs.recv(10)
    with pytest.raises(BrokenPipeError):
        theirs.send(b"reply")


async def test_a_reset_ends_every_wait(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    await fill_both(theirs)
    with trio.fail_after(DEADLINE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.wait_readable, theirs)
            nursery.start_soon(trio.lowlevel.wait_writable, theirs)
            await wait_all_tasks_blocked()
            ours.close()


async def test_the_kernel_counts_what_has_not_been_acknowledged(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    send(ours, b"some")
    await settle()
    assert unacknowledged(ours) == 0
    sent = await fill_both(ours)
    assert 0 < unacknowledged(ours) < sent + 1
    await receive(theirs, sent + 4)
    await settle()
    assert unacknowledged(ours) == 0


async def test_a_wait_ends_when_the_socket_is_to_be_closed(pair: tuple[Any, Any]) -> None:
    ours, _ = pair
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await trio.lowlevel.wait_readable(ours)

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        trio.lowlevel.notify_closing(ours)
        ours.close()


async def test_only_one_task_may_wait_to_read(pair: tuple[Any, Any]) -> None:
    ours, _ = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.lowlevel.wait_readable, ours)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await trio.lowlevel.wait_readable(ours)
        nursery.cancel_scope.cancel()


async def test_a_closed_socket_raises(pair: tuple[Any, Any]) -> None:
    ours, _ = pair
    ours.close()
    for use in (partial(ours.send, b"x"), partial(ours.recv, 1), partial(ours.shutdown, 1)):
        with pytest.raises(OSError, match=r".") as raised:
            use()
        assert raised.value.errno == errno.EBADF


async def test_a_simulated_socket_is_writable_once_a_third_is_free() -> None:
    async with simulated(sizes=Sizes(90, 10, 10, 30)) as (ours, theirs):
        assert fill(ours) == 120
        theirs.recv(29)
        assert not ours.writable
        assert ours.send(bytes(29)) == 29, "it takes less although it does not report it"
        theirs.recv(30)
        assert ours.writable


async def test_an_end_that_has_vanished_acknowledges_nothing_until_the_kernel_gives_up() -> None:
    async with simulated() as (ours, theirs):
        theirs.vanish()
        send(ours, b"there?")
        await settle()
        assert unacknowledged(ours) == 6
        ours.time_out()
        with pytest.raises(TimeoutError):
            ours.recv(10)
        with pytest.raises(BrokenPipeError):
            ours.send(b"there?")
