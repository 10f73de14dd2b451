"""Driving psycopg's generators: they yield what they wait for, trio does the waiting."""

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
    """Run a generator that waits for one socket, and return what it returns.

    Raises what the generator raises, and OperationalError if the socket was closed
    meanwhile. Cancelled, it leaves the generator suspended: `drive` goes on with it if
    `first` is Ready.NONE, the answer to its last question.
    """
    try:
        want = gen.send(cast(Ready, first))  # None, as ever, starts a generator
        while True:
            want = gen.send(await _until_ready(fileno, want))
    except StopIteration as stop:
        result: RV = stop.value
        return result


async def drive_connecting(gen: PQGenConn[RV]) -> RV:
    """Like `drive`, for a generator that yields the socket too, since it may change.

    Cancelled, it closes the generator, and so what the generator has opened.
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


def readable(fileno: int) -> bool:
    """Whether something has come in on the socket, be it the end of the connection."""
    return bool(_poll(fileno, Wait.R))


async def _until_ready(fileno: int, want: Wait) -> Ready:
    # Nearly every wait for writing is over before it began. A checkpoint all the same: a
    # long pipeline or COPY must neither starve the other tasks nor miss a cancellation.
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

    async def until(wait: Callable[[int], Awaitable[None]], means: Ready) -> None:
        nonlocal ready
        # If the socket is closed under us, the generator finds out by itself.
        with suppress(OSError, trio.ClosedResourceError):
            await wait(fileno)
        ready = Ready(ready | means)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(until, trio.lowlevel.wait_readable, Ready.R)
        nursery.start_soon(until, trio.lowlevel.wait_writable, Ready.W)
    return ready


def _poll(fileno: int, want: Wait) -> Ready:
    poll = select.poll()
    poll.register(fileno, _EVENTS[want])
    ready = Ready.NONE
    for _, events in poll.poll(0):
        # An error or a hang-up makes every attempt succeed in finding that out.
        broken = events & (select.POLLERR | select.POLLHUP | select.POLLNVAL)
        if want & Wait.R and (events & select.POLLIN or broken):
            ready = Ready(ready | Ready.R)
        if want & Wait.W and (events & select.POLLOUT or broken):
            ready = Ready(ready | Ready.W)
    return ready
