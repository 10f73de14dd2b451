"""Using every connection of a Pool at the same time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from sharechat.adapters.postgres.pool import Pool
from tests.harness.postgres_clients import Connection, fetch_value

BACKEND = "SELECT pg_backend_pid()"


@asynccontextmanager
async def in_use(pool: Pool, count: int) -> AsyncIterator[set[int]]:
    """Use `count` connections during the block; yield the ids of their server processes."""
    pids: set[int] = set()
    all_used, over = trio.Event(), trio.Event()

    async def use(connection: Connection) -> None:
        pids.add(await fetch_value(connection, BACKEND))
        if len(pids) == count:
            all_used.set()
        await over.wait()

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(partial(pool.run, use, timeout=20))
        await all_used.wait()
        yield pids
        over.set()


async def backends(pool: Pool, count: int = 2) -> set[int]:
    """Return the ids of the server processes of `count` connections."""
    async with in_use(pool, count) as pids:
        return pids
