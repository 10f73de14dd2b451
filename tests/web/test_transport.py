"""The Transport: one socket, one outgoing buffer; on real sockets."""

import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from functools import partial
from typing import Protocol

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.net.transport import LONGEST_LINGER, Transport
from tests.harness.deadline import DEADLINE
from tests.harness.pair import over, transports
from tests.harness.tls import ClientStream

BIG = b"x" * 20_000_000
"""More than the kernel takes."""

SOME = 40_000
"""A part of what the kernel takes for a Unix socket."""


Ends = AbstractAsyncContextManager[tuple[Transport, ClientStream]]


class Connect(Protocol):
    def __call__(self, buffers: int | None = None, *, stall_timeout: float = 10) -> Ends: ...


@pytest.fixture(name="secure", params=[False, True], ids=["in the clear", "over TLS"])
def _secure(request: pytest.FixtureRequest) -> bool:
    secure: bool = request.param
    return secure


@pytest.fixture(name="transports")
def _transports(secure: bool) -> Connect:
    return partial(transports, secure=secure)


@pytest.fixture(name="local_transports")
def _local_transports(secure: bool) -> Connect:
    """Connect both ends by a Unix socket, where the kernel holds exactly what was not read."""

    def connect(buffers: int | None = None, *, stall_timeout: float = 10) -> Ends:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        return over(ours, stream, stall_timeout=stall_timeout, secure=secure)

    return connect


async def read_bytes(stream: ClientStream, count: int) -> None:
    while count:
        count -= len(await stream.receive_some(count))


async def read_all(stream: ClientStream) -> bytes:
    data = b""
    with trio.fail_after(DEADLINE):
        async for chunk in stream:
            data += chunk
    return data


async def test_what_is_written_arrives_at_once(transports: Connect) -> None:
    async with transports() as (transport, theirs):
        transport.write(b"one ")
        transport.write(b"two")
        assert transport.backlog == 0
        await transport.drain()
        transport.shut_write()
        assert await read_all(theirs) == b"one two"


async def test_what_does_not_fit_waits_and_arrives_whole_and_in_order(transports: Connect) -> None:
    async with transports(buffers=4096) as (transport, theirs):
        pieces = [bytes([number]) * (number * 37 % 5000) for number in range(256)]
        for piece in pieces:
            transport.write(piece)
        assert transport.backlog > 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.drain)
            received = b""
            with trio.fail_after(DEADLINE):
                while len(received) < sum(map(len, pieces)):
                    received += await theirs.receive_some(10_000)
        assert received == b"".join(pieces)
        assert transport.backlog == 0


async def test_what_is_written_while_it_drains_comes_last(transports: Connect) -> None:
    async with transports(buffers=4096) as (transport, theirs):
        transport.write(b"a" * 300_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.drain)
            await wait_all_tasks_blocked(0.01)
            transport.write(b"b")
            received = b""
            with trio.fail_after(DEADLINE):
                while len(received) < 300_001:
                    received += await theirs.receive_some(100_000)
        assert received == b"a" * 300_000 + b"b"


async def test_a_cancelled_drain_loses_nothing(transports: Connect) -> None:
    async with transports(buffers=4096) as (transport, theirs):
        transport.write(b"a" * 300_000)
        with trio.move_on_after(0.01):
            await transport.drain()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.drain)
            received = 0
            with trio.fail_after(DEADLINE):
                while received < 300_000:
                    received += len(await theirs.receive_some(100_000))
        assert transport.backlog == 0


async def test_a_cancelled_read_loses_nothing(transports: Connect) -> None:
    async with transports() as (transport, theirs):
        await theirs.send_all(b"data")
        with trio.fail_after(DEADLINE):
            await transport.wait_readable()
        with trio.CancelScope() as scope:
            scope.cancel()
            await transport.read(100)
        assert await transport.read(100) == b"data"


async def test_what_is_written_never_overtakes_what_waits(local_transports: Connect) -> None:
    async with local_transports() as (transport, theirs):
        transport.write(b"a" * 300_000)
        assert transport.backlog > 0
        await read_bytes(theirs, SOME)
        transport.write(b"b")  # The kernel would take this at once.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.drain)
            await read_bytes(theirs, 300_000 - SOME)
        assert await theirs.receive_some() == b"b"


async def test_only_a_peer_that_reads_nothing_is_aborted_however_slow_others_are(
    mock_clock: MockClock, local_transports: Connect
) -> None:
    """The kernel says that it can take something only once it can take much."""
    async with local_transports(stall_timeout=10) as (transport, theirs):
        async with trio.open_nursery() as nursery:

            async def drain() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await transport.drain()

            transport.write(BIG)
            nursery.start_soon(drain)
            for _ in range(5):
                await wait_all_tasks_blocked(0.01)
                left = transport.backlog
                await read_bytes(theirs, SOME)
                await wait_all_tasks_blocked(0.01)
                assert transport.backlog == left, "the kernel said that it can take something"
                mock_clock.jump(10)
                await wait_all_tasks_blocked(0.01)
                assert not transport.closed
                assert transport.backlog < left
            mock_clock.jump(10)
        assert transport.closed


async def test_what_another_task_sends_is_progress_too(
    mock_clock: MockClock, local_transports: Connect
) -> None:
    """A heartbeat flushes every second, so it takes up the room that a slow reader makes."""
    async with local_transports(stall_timeout=10) as (transport, theirs):
        async with trio.open_nursery() as nursery:
            transport.write(BIG)
            nursery.start_soon(transport.drain)
            for _ in range(5):
                await wait_all_tasks_blocked(0.01)
                left = transport.backlog
                await read_bytes(theirs, SOME)
                transport.flush()
                assert transport.backlog < left
                mock_clock.jump(10)
                await wait_all_tasks_blocked(0.01)
                assert not transport.closed
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("waiting", ["read", "drain", "wait_readable"])
@pytest.mark.parametrize("ending", ["abort", "close"])
async def test_closing_wakes_every_task(waiting: str, ending: str, transports: Connect) -> None:
    async with transports() as (transport, _):
        transport.write(BIG)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "read": partial(transport.read, 100),
            "drain": transport.drain,
            "wait_readable": transport.wait_readable,
        }

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await calls[waiting]()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked(0.01)
            getattr(transport, ending)()
            nursery.cancel_scope.deadline = trio.current_time() + DEADLINE
        assert not nursery.cancel_scope.cancelled_caught


async def test_aborting_resets_the_connection(transports: Connect) -> None:
    async with transports() as (transport, theirs):
        transport.write(b"x")
        transport.abort()
        with trio.fail_after(DEADLINE), pytest.raises(trio.BrokenResourceError):
            await read_all(theirs)


async def test_a_graceful_close_lets_the_peer_read_everything_though_it_still_sends(
    transports: Connect,
) -> None:
    async with transports() as (transport, theirs):
        await theirs.send_all(b"never read")
        transport.write(b"the answer")
        # It ends with the peer, and long before it would give up.
        with trio.fail_after(LONGEST_LINGER / 2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(transport.aclose, LONGEST_LINGER)
                await wait_all_tasks_blocked(0.01)
                await theirs.send_all(b"nor this")
                assert await read_all(theirs) == b"the answer"
                assert not transport.closed
                await theirs.aclose()
        assert transport.closed


async def test_a_graceful_close_does_not_wait_for_ever(transports: Connect) -> None:
    async with transports() as (transport, _):
        with trio.fail_after(DEADLINE):
            await transport.aclose(0.05)
        assert transport.closed


async def test_a_graceful_close_waits_while_the_peer_goes_on_reading(
    mock_clock: MockClock, local_transports: Connect
) -> None:
    async with local_transports() as (transport, theirs), trio.open_nursery() as nursery:
        transport.write(BIG)  # The kernel takes some of it, and only that is waited for.
        nursery.start_soon(transport.aclose, 1)
        for _ in range(3):
            await wait_all_tasks_blocked(0.01)
            await read_bytes(theirs, SOME)
            mock_clock.jump(1)
            await wait_all_tasks_blocked(0.01)
            assert not transport.closed
        mock_clock.jump(1)
        await wait_all_tasks_blocked(0.01)
        assert transport.closed


async def test_a_graceful_close_takes_a_bounded_time_in_all(
    mock_clock: MockClock, local_transports: Connect
) -> None:
    async with local_transports() as (transport, theirs), trio.open_nursery() as nursery:
        transport.write(BIG)
        nursery.start_soon(transport.aclose, 0.6 * LONGEST_LINGER)
        for share, closed in ((0.6, False), (0.4, True)):
            await wait_all_tasks_blocked(0.01)
            await read_bytes(theirs, SOME)
            mock_clock.jump(share * LONGEST_LINGER)
            await wait_all_tasks_blocked(0.01)
            assert transport.closed == closed


async def test_a_cancelled_graceful_close_closes(transports: Connect) -> None:
    async with transports() as (transport, _):
        with trio.CancelScope() as scope:
            scope.cancel()
            await transport.aclose(DEADLINE)
        assert transport.closed


async def test_a_closed_transport_raises(transports: Connect) -> None:
    async with transports() as (transport, _):
        transport.abort()
        transport.abort()
        transport.shut_write()
        for call in (partial(transport.read, 10), transport.wait_readable):
            with pytest.raises(trio.ClosedResourceError):
                await call()
        for call_now in (partial(transport.write, b"x"), transport.flush):
            with pytest.raises(trio.ClosedResourceError):
                call_now()
        await transport.aclose(DEADLINE)


async def test_a_peer_that_resets(transports: Connect, secure: bool) -> None:
    async with transports() as (transport, theirs):
        await theirs.send_all(b"x")
        transport.write(b"unread")
        with trio.fail_after(DEADLINE):
            await trio.lowlevel.wait_readable(theirs.socket)
        # With something unread, closing is a reset.
        await theirs.aclose()
        # OpenSSL does not always tell a reset from an end.
        broken: AbstractContextManager[object] = pytest.raises(trio.BrokenResourceError)
        if secure:
            broken = suppress(trio.BrokenResourceError)
        with trio.fail_after(DEADLINE), broken:
            await to_the_end(transport)
        with pytest.raises(trio.BrokenResourceError):
            transport.write(b"x")
        transport.shut_write()


async def to_the_end(transport: Transport) -> None:
    while await transport.read(100):
        pass


async def test_what_has_not_been_begun_can_be_dropped(transports: Connect) -> None:
    """Over TLS a record that has gone in part must be sent to its end, whatever is in it."""
    async with transports(buffers=4096) as (transport, theirs):
        pieces = [bytes([number]) * 1000 for number in range(256)]
        transport.write(b"".join(pieces[:100]))
        for piece in pieces[100:]:
            transport.write(piece)
        before = transport.backlog
        transport.drop_unsent(lambda _, sent: -(-sent // 1000) * 1000)
        assert 0 < transport.backlog < before
        transport.write(b"the end")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.drain)
            received = b""
            with trio.fail_after(DEADLINE):
                while not received.endswith(b"the end"):
                    received += await theirs.receive_some(10_000)
        count, rest = divmod(len(received) - len(b"the end"), 1000)
        assert rest == 0
        assert received == b"".join(pieces[:count]) + b"the end"
        assert count < 256
