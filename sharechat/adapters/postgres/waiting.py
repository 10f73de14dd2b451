"""Runs psycopg's generators under trio: they yield what to wait for, and trio waits.

The counterpart of `psycopg.waiting`, which does the same for threads and asyncio.
"""

import select
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast

import psycopg
import trio
from psycopg.abc import RV, PQGen, PQGenConn
from psycopg.waiting import Ready, Wait

_EVENTS = {
    Wait.R: select.POLLIN,
    Wait.W: select.POLLOUT,
    Wait.RW: select.POLLIN | select.POLLOUT,
}


async def drive(gen: PQGen[RV], fileno: int, first: Ready | None = None) -> RV:
    """Run a generator that waits for the socket `fileno`; return the generator's result.

    Raises what the generator raises, and OperationalError if another task closes the socket.
    A cancelled call leaves the generator suspended; call `drive` again with `first` set to
    Ready.NONE to resume it.
    """
    try:
        want = gen.send(cast(Ready, first))  # None starts a generator.
        while True:
            want = gen.send(await _until_ready(fileno, want))
    except StopIteration as stop:
        result: RV = stop.value
        return result


async def drive_connecting(gen: PQGenConn[RV]) -> RV:
    """Run a generator that also yields the socket to wait for; return its result.

    Raises what `drive` raises. The generator is closed in any case, so a cancelled call
    leaves nothing open.
    """
    try:
        await trio.lowlevel.checkpoint_if_cancelled()
        fileno, want = next(gen)
        while True:
            fileno, want = gen.send(await _until_ready(fileno, want))
    except StopIteration as stop:
        result: RV = stop.value
        return result
    finally:
        gen.close()


def is_readable(fileno: int) -> bool:
    """Return whether the socket has received data, an error, or the end of the connection."""
    return bool(_poll(fileno, Wait.R))


async def _until_ready(fileno: int, want: Wait) -> Ready:
    # A socket is nearly always writable at once, and polling is cheaper than waiting. The
    # checkpoint lets other tasks run, and cancellation take effect, during a long COPY.
    if want != Wait.R and (ready := _poll(fileno, want)):
        await trio.lowlevel.checkpoint()
        return ready
    try:
        if want == Wait.R:
            await trio.lowlevel.wait_readable(fileno)
            return Ready.R
        if want == Wait.W:
            await trio.lowlevel.wait_writable(fileno)
            return Ready.W
        return await _until_either(fileno)
    except (OSError, trio.ClosedResourceError) as error:
        raise psycopg.OperationalError("the connection's socket was closed") from error


async def _until_either(fileno: int) -> Ready:
    ready = Ready.NONE

    async def wait_for(wait: Callable[[int], Awaitable[None]], result: Ready) -> None:
        nonlocal ready
        # If another task closes the socket, the generator fails by itself when it goes on.
        with suppress(OSError, trio.ClosedResourceError):
            await wait(fileno)
        ready = Ready(ready | result)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for, trio.lowlevel.wait_readable, Ready.R)
        nursery.start_soon(wait_for, trio.lowlevel.wait_writable, Ready.W)
    return ready


def _poll(fileno: int, want: Wait) -> Ready:
    poll = select.poll()
    poll.register(fileno, _EVENTS[want])
    ready = Ready.NONE
    for _, events in poll.poll(0):
        # After an error or a hang-up neither reading nor writing blocks: both fail at once.
        broken = events & (select.POLLERR | select.POLLHUP | select.POLLNVAL)
        if want & Wait.R and (events & select.POLLIN or broken):
            ready = Ready(ready | Ready.R)
        if want & Wait.W and (events & select.POLLOUT or broken):
            ready = Ready(ready | Ready.W)
    return ready
