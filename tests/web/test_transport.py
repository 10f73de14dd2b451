"""The Transport, as hypercorn uses it and as whoever takes over does; on real sockets."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sharechat.net import transport as module
from sharechat.net.transport import Transport
from tests.harness.pair import transports
from tests.harness.server import DEADLINE

BIG = b"x" * 20_000_000
"""More than the kernel takes off our hands."""


async def read_all(stream: trio.SocketStream) -> bytes:
    data = b""
    with trio.fail_after(DEADLINE):
        async for chunk in stream:
            data += chunk
    return data


async def test_hypercorn_reads_and_writes() -> None:
    async with transports() as (transport, theirs):
        await theirs.send_all(b"request")
        assert await transport.receive_some(100) == b"request"
        await transport.send_all(b"response")
        await transport.send_eof()
        assert await read_all(theirs) == b"response"
        await theirs.send_eof()
        assert await transport.receive_some(100) == b""
        await transport.aclose()
        await transport.aclose()


async def test_a_large_response_to_a_slow_reader_is_whole() -> None:
    async with transports(buffers=4096) as (transport, theirs):
        expected = bytes(range(256)) * 4096
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.send_all, expected)
            await wait_all_tasks_blocked()
            with trio.fail_after(DEADLINE):
                received = b""
                while len(received) < len(expected):
                    received += await theirs.receive_some(10_000)
        assert received == expected


async def test_taking_over_while_hypercorn_receives(nursery: trio.Nursery) -> None:
    async with transports() as (transport, theirs):
        received: list[bytes] = []

        async def hypercorn() -> None:
            received.append(await transport.receive_some(100))

        nursery.start_soon(hypercorn)
        await wait_all_tasks_blocked()

        transport.take_over()
        await theirs.send_all(b"frame")
        with trio.fail_after(DEADLINE):
            assert await transport.read(100) == b"frame"
        await wait_all_tasks_blocked()
        assert not received

        await transport.aclose()
        await wait_all_tasks_blocked()
        assert received == [b""]


async def test_what_hypercorn_had_just_read_goes_to_who_takes_over(nursery: trio.Nursery) -> None:
    async with transports() as (transport, theirs):
        await theirs.send_all(b"early")
        with trio.fail_after(DEADLINE):
            await trio.lowlevel.wait_readable(transport.socket)
        nursery.start_soon(transport.receive_some, 100)
        # It has read, and is at its checkpoint.
        await trio.lowlevel.checkpoint()
        transport.take_over()

        await theirs.send_all(b"late")
        with trio.fail_after(DEADLINE):
            received = b""
            while len(received) < len(b"earlylate"):
                received += await transport.read(100)
        assert received == b"earlylate"


async def test_taking_over_before_hypercorn_receives(nursery: trio.Nursery) -> None:
    async with transports() as (transport, theirs):
        transport.take_over()
        nursery.start_soon(transport.receive_some, 100)
        await wait_all_tasks_blocked()
        await theirs.send_all(b"frame")
        with trio.fail_after(DEADLINE):
            assert await transport.read(100) == b"frame"


async def test_after_taking_over_hypercorn_says_its_answer_and_no_more() -> None:
    async with transports() as (transport, theirs):
        transport.take_over()
        await transport.send_all(b"101")
        await transport.send_all(b"a close frame of its own")
        assert transport.write_nowait(b" ours") is None
        transport.shut_write()
        assert await read_all(theirs) == b"101 ours"


async def test_cancelling_a_read_loses_nothing() -> None:
    async with transports() as (transport, theirs):
        await theirs.send_all(b"data")
        with trio.fail_after(DEADLINE):
            await trio.lowlevel.wait_readable(transport.socket)
        with trio.CancelScope() as scope:
            scope.cancel()
            await transport.read(100)
        assert await transport.read(100) == b"data"


async def test_a_peer_that_does_not_read_is_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_TIMEOUT", 0.05)
    async with transports() as (transport, theirs):
        with trio.fail_after(DEADLINE), pytest.raises(trio.BrokenResourceError):
            await transport.send_all(BIG)
        with trio.fail_after(DEADLINE), pytest.raises(trio.BrokenResourceError):
            await read_all(theirs)


async def test_slow_is_not_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_TIMEOUT", 1)
    async with transports(buffers=4096) as (transport, theirs):
        async with trio.open_nursery() as nursery:
            started = trio.current_time()
            nursery.start_soon(transport.send_all, b"x" * 1_000_000)
            received = 0
            with trio.fail_after(DEADLINE):
                while received < 1_000_000:
                    # In real time, since it is the kernel that holds the rest.
                    await trio.sleep(0.05 if received < 100_000 else 0)
                    received += len(await theirs.receive_some(5_000))
        assert trio.current_time() - started > 0.5


@pytest.mark.parametrize("waiting", ["receive_some", "send_all", "read", "wait_writable"])
async def test_aborting_wakes_every_task(waiting: str) -> None:
    async with transports() as (transport, theirs):
        if waiting in ("send_all", "wait_writable"):
            while transport.write_nowait(BIG) is None:
                pass
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "receive_some": partial(transport.receive_some, 100),
            "send_all": partial(transport.send_all, BIG),
            "read": partial(transport.read, 100),
            "wait_writable": transport.wait_writable,
        }

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await calls[waiting]()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked(0.01)
            transport.abort()
            nursery.cancel_scope.deadline = trio.current_time() + DEADLINE
        assert not nursery.cancel_scope.cancelled_caught
        with trio.fail_after(DEADLINE), pytest.raises(trio.BrokenResourceError):
            await read_all(theirs)


async def use_after(transport: Transport, error: type[Exception]) -> None:
    with pytest.raises(error):
        await transport.read(10)
    with pytest.raises(error):
        transport.write_nowait(b"x")
    with pytest.raises(error):
        await transport.wait_writable()


async def test_use_after_the_end() -> None:
    async with transports() as (transport, _):
        transport.abort()
        transport.abort()
        transport.shut_write()
        await use_after(transport, trio.ClosedResourceError)
        await transport.aclose()


async def test_a_peer_that_resets() -> None:
    async with transports() as (transport, theirs):
        await theirs.send_all(b"x")
        assert transport.write_nowait(b"unread") is None
        with trio.fail_after(DEADLINE):
            await trio.lowlevel.wait_readable(theirs.socket)
        # With something unread, closing is a reset.
        await theirs.aclose()
        with trio.fail_after(DEADLINE), pytest.raises(trio.BrokenResourceError):
            await to_the_end(transport)
        with pytest.raises(trio.BrokenResourceError):
            transport.write_nowait(b"x")
        transport.shut_write()


async def to_the_end(transport: Transport) -> None:
    while await transport.read(100):
        pass
