"""A PostgresRepository with more calls than connections, or with queries that take long."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.adapters.postgres.pool import CALL_TIMEOUT, Pool
from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import new_process_id, new_room_id
from sharechat.domain.messages import RoomInfo
from tests.harness.deadline import DEADLINE
from tests.harness.drafts import chat
from tests.harness.postgres_clients import (
    Connection,
    assert_unavailable,
    connect,
    open_repository,
    until_waiting,
)
from tests.harness.postgres_pools import BACKEND, backends, in_use
from tests.harness.repositories import ANY_SIZE, KEY_HASH, get_head, make_room, set_up_member, store


async def assert_unaffected(pool: Pool, before: set[int]) -> None:
    """Check that no connection was dropped, and no backoff keeps the pool from opening one."""
    assert await backends(pool) == before
    await assert_unavailable(lambda: pool.fetch("SELECT FROM no_such_table"))  # Drops one.
    assert len(before & await backends(pool)) == 1


async def test_waiting_for_a_connection_takes_nothing_off_the_time_that_a_call_has(
    pool: Pool, mock_clock: MockClock
) -> None:
    mock_clock.rate = 1
    begun = trio.Event()

    async def work(_: Connection) -> None:
        begun.set()
        await trio.sleep(8)

    async with trio.open_nursery() as nursery:
        async with in_use(pool, 2):
            nursery.start_soon(partial(pool.run, work, timeout=10))
            await wait_all_tasks_blocked()
            mock_clock.jump(8)
        with trio.fail_after(DEADLINE):
            await begun.wait()
        mock_clock.jump(8)


async def test_a_call_that_finds_no_connection_free_fails_without_any_effect_on_others(
    pool: Pool, mock_clock: MockClock
) -> None:
    mock_clock.rate = 1
    async with in_use(pool, 2) as before, trio.open_nursery() as nursery:

        async def fail() -> None:
            with pytest.raises(UnavailableError, match="busy"):
                await pool.fetch(BACKEND, timeout=10)

        nursery.start_soon(fail)
        await wait_all_tasks_blocked()
        mock_clock.jump(10)
    await assert_unaffected(pool, before)


async def test_a_query_that_takes_too_long_is_no_failure_of_the_database(pool: Pool) -> None:
    before = await backends(pool)
    with pytest.raises(UnavailableError, match="in time"):
        await pool.fetch("SELECT pg_sleep(60)", timeout=0.1)
    await assert_unaffected(pool, before)


async def test_a_call_that_is_cancelled_while_it_waits_for_a_connection_leaves_nothing_behind(
    pool: Pool,
) -> None:
    async with in_use(pool, 2) as before, trio.open_nursery() as nursery:
        nursery.start_soon(pool.fetch, BACKEND)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    await assert_unaffected(pool, before)


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
                await until_waiting(other, 3)  # Every connection but those that are reserved.
                with trio.fail_after(DEADLINE):  # A call that had to wait would fail.
                    assert process in await repository.renew_lease(process)
                    assert await repository.end_lease(new_process_id())
                    assert await repository.get_orphans() == []
                    assert [who.member for who in await repository.get_members_of(process)] == [
                        member
                    ]


async def test_storing_messages_does_not_wait_for_the_other_calls(url: str) -> None:
    async with open_repository(url) as repository, await connect(url) as other:
        process, room, member = await set_up_member(repository)
        contested = RoomInfo(new_room_id(), "Imperfect Seat")
        async with trio.open_nursery() as callers:
            async with other.transaction():
                await other.execute(
                    "INSERT INTO rooms (id, name, key_hash) VALUES (%s, '', '')", (contested.id,)
                )
                for _ in range(20):
                    callers.start_soon(repository.create_room, contested, KEY_HASH)
                await until_waiting(other, 3)
                with trio.fail_after(DEADLINE):  # A call that had to wait would fail.
                    await store(repository, process, chat(room, member, "hello"))


async def test_a_sweep_that_runs_out_of_time_does_not_make_the_database_unavailable(
    url: str, mock_clock: MockClock
) -> None:
    mock_clock.rate = 1
    async with open_repository(url) as repository, await connect(url) as other:
        process, room, _ = await set_up_member(repository)
        remaining = await make_room(repository)

        async def run_out_of_time(call: Callable[[], Awaitable[object]]) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)
                await until_waiting(other)
                mock_clock.jump(CALL_TIMEOUT)

        async with other.transaction():
            await other.execute("SELECT FROM messages FOR UPDATE")
            await run_out_of_time(partial(repository.delete_room, room, KEY_HASH))
            assert await get_head(repository, remaining) == 0
            await run_out_of_time(partial(repository.remove_stale_rooms, 3600))
            assert process in await repository.renew_lease(process)
