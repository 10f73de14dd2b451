"""A PostgresRepository with more calls than connections, or with queries that take long."""

from collections.abc import AsyncIterator

import pytest
import trio

from sharechat.adapters.postgres.health import Health
from sharechat.adapters.postgres.pool import Pool
from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import new_process_id
from tests.harness.postgres_clients import connect, open_repository
from tests.harness.repositories import ANY_SIZE, KEY_HASH, make_room, set_up_member

BACKEND = "SELECT pg_backend_pid()"
SLEEP = "SELECT pg_sleep(0.6)"


@pytest.fixture
async def pool(url: str) -> AsyncIterator[Pool]:
    """A pool of two connections, both of which are open."""
    pool = Pool(url, 2, Health(""))
    await at_once(pool, 2)
    yield pool
    pool.close()


async def at_once(pool: Pool, calls: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(calls):
            nursery.start_soon(pool.fetch, "SELECT pg_sleep(0.05)")


async def backends(pool: Pool) -> set[int]:
    """Return the process ids of the servers behind both connections."""
    found: set[int] = set()

    async def ask() -> None:
        ((pid, _),) = await pool.fetch("SELECT pg_backend_pid(), pg_sleep(0.05)")
        found.add(pid)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)
    return found


async def test_waiting_for_a_connection_takes_nothing_off_the_time_that_a_call_has(
    pool: Pool,
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.fetch, SLEEP)
        nursery.start_soon(pool.fetch, SLEEP)
        await trio.sleep(0.05)
        # 0.55 seconds of waiting and 0.6 seconds of work.
        await pool.fetch(SLEEP, timeout=0.9)


async def test_a_call_that_finds_no_connection_free_fails_without_any_effect_on_others(
    pool: Pool,
) -> None:
    before = await backends(pool)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.fetch, SLEEP)
        nursery.start_soon(pool.fetch, SLEEP)
        await trio.sleep(0.05)
        with pytest.raises(UnavailableError, match="busy"):
            await pool.fetch(BACKEND, timeout=0.2)
    assert await backends(pool) == before


async def test_a_query_that_takes_too_long_is_no_failure_of_the_database(pool: Pool) -> None:
    before = await backends(pool)
    with pytest.raises(UnavailableError, match="in time"):
        await pool.fetch(SLEEP, timeout=0.1)
    # No connection was dropped, and no backoff keeps the pool from opening one.
    assert await backends(pool) == before


async def test_a_call_that_is_cancelled_while_it_waits_for_a_connection_leaves_nothing_behind(
    pool: Pool,
) -> None:
    before = await backends(pool)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.fetch, SLEEP)
        nursery.start_soon(pool.fetch, SLEEP)
        await trio.sleep(0.05)
        with trio.move_on_after(0.05) as scope:
            await pool.fetch(BACKEND)
        assert scope.cancelled_caught
    assert await backends(pool) == before


async def test_the_lease_and_the_janitor_do_not_wait_for_readers(url: str) -> None:
    async with open_repository(url) as repository, await connect(url) as other:
        process, room, member = await set_up_member(repository)

        async def read() -> None:
            await repository.read(room, after=0, limit=10, max_bytes=ANY_SIZE)

        async with trio.open_nursery() as readers:
            async with other.transaction():
                await other.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
                for _ in range(20):
                    readers.start_soon(read)
                await trio.sleep(0.1)
                with trio.fail_after(1):
                    assert process in await repository.renew_lease(process)
                    assert await repository.end_lease(new_process_id())
                    assert await repository.get_orphans() == []
                    assert [who.member for who in await repository.get_members_of(process)] == [
                        member
                    ]


async def test_a_sweep_that_runs_out_of_time_does_not_make_the_database_unavailable(
    url: str,
) -> None:
    """Takes 3 seconds, the time that a call has."""
    async with open_repository(url) as repository, await connect(url) as other:
        process, room, _ = await set_up_member(repository)
        remaining = await make_room(repository)
        async with other.transaction():
            await other.execute("SELECT FROM messages FOR UPDATE")
            await repository.delete_room(room, KEY_HASH)
            assert (await repository.get_room(remaining)).head == 0
            await repository.remove_stale_rooms(3600)
            assert process in await repository.renew_lease(process)
