"""A PostgresRepository whose server stops, freezes, refuses, or loses connections."""

import random
from collections.abc import Awaitable, Callable

import pytest
import trio
from psycopg.conninfo import make_conninfo
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.adapters.postgres import PostgresRepository
from sharechat.adapters.postgres.trio_connection import CANCEL_TIMEOUT
from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Identity
from sharechat.domain.ports import Repository
from tests.harness.deadline import DEADLINE
from tests.harness.drafts import chat, left
from tests.harness.postgres import PostgresServer
from tests.harness.postgres_clients import (
    append_until_stored,
    assert_unavailable,
    connect,
    open_repository,
)
from tests.harness.postgres_proxy import open_proxy
from tests.harness.repositories import ANY_SIZE, get_head, make_room, set_up_member
from tests.harness.waiting import until

KILL = """
SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE application_name = 'sharechat'
"""
"""Ends every connection of a PostgresRepository, and waits up to so many milliseconds for each."""


async def test_a_draft_whose_answer_was_lost_is_stored_once_when_repeated(url: str) -> None:
    async with open_repository(url) as direct, open_proxy(url) as proxy:
        process, room, member = await set_up_member(direct)
        async with open_repository(proxy.url) as repository:
            await append_until_stored(repository, [chat(room, member, "one")], process)
            draft = chat(room, member, "two")
            proxy.cut_next_answer = True
            with pytest.raises(UnavailableError):
                await repository.append([draft], process)
            entries = await direct.read(room, after=2, limit=10, max_bytes=ANY_SIZE)
            assert len(entries) == 1
            assert await append_until_stored(repository, [draft], process) == entries


async def test_every_draft_is_stored_once_while_connections_are_killed_at_random(url: str) -> None:
    async with open_repository(url) as repository, await connect(url) as killer:
        process, room, member = await set_up_member(repository)
        batches = [[chat(room, member, f"{n}.{m}") for m in range(5)] for n in range(150)]

        begun = kills = 0

        async def kill() -> None:
            nonlocal kills
            while True:
                due = begun + random.randrange(1, 20)
                await until(lambda: begun >= due)  # noqa: B023
                await killer.execute(KILL, (0,))
                kills += 1

        with trio.fail_after(2 * DEADLINE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(kill)
                for batch in batches:
                    begun += 1
                    await append_until_stored(repository, batch, process)
                nursery.cancel_scope.cancel()
        assert kills > 3
        async with await connect(url) as last_killer:
            # Wait until every kill has taken effect, and none can hit the connection that reads.
            await last_killer.execute(KILL, (5000,))
        entries = await repository.read(room, after=1, limit=1000, max_bytes=ANY_SIZE)
        drafts = [draft for batch in batches for draft in batch]
        assert [entry.message.id for entry in entries] == [draft.id for draft in drafts]


async def test_idle_connections_that_were_closed_are_replaced(url: str) -> None:
    async with open_repository(url) as repository, await connect(url) as killer:
        process, room, member = await set_up_member(repository)
        await killer.execute(KILL, (5000,))
        await repository.append([left(room, member)], process)
        await repository.get_members(room)


async def test_calls_fail_at_once_while_the_server_is_down_and_work_once_it_is_back(
    server: PostgresServer,
) -> None:
    async with open_repository(server.url) as repository:
        process, room, member = await set_up_member(repository)
        await trio.to_thread.run_sync(server.stop)
        draft = chat(room, member, "hello")
        with trio.fail_after(DEADLINE):  # One that waited would take a second or more.
            for _ in range(20):
                await assert_unavailable(lambda: repository.append([draft], process))
                await assert_unavailable(repository.check)
        await trio.to_thread.run_sync(server.start)
        with trio.fail_after(DEADLINE):
            (entry,) = await append_until_stored(repository, [draft], process)
        assert entry.seq == 2
        # Each pool of connections has a backoff of its own.
        with trio.fail_after(DEADLINE):
            assert await get_members_once_available(repository, room) == [member]


async def get_members_once_available(repository: Repository, room: RoomId) -> list[Identity]:
    while True:
        try:
            return await repository.get_members(room)
        except UnavailableError:
            await trio.sleep(0.01)


async def test_calls_fail_within_4_seconds_while_the_server_is_frozen(
    server: PostgresServer, mock_clock: MockClock
) -> None:
    mock_clock.rate = 1
    async with open_repository(server.url) as repository:
        process, room, member = await set_up_member(repository)
        draft = chat(room, member, "hello")
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: repository.append([draft], process),
            lambda: repository.append([draft], process),
            lambda: repository.get_rooms([room]),
            lambda: repository.get_members(room),
            lambda: repository.read(room, after=0, limit=10, max_bytes=ANY_SIZE),
            lambda: repository.remove_stale_rooms(0),
            lambda: repository.renew_lease(process),
        ]
        server.freeze()
        mock_clock.rate = 0
        try:
            for within, some in ((2, [repository.check]), (4, calls)):
                with trio.fail_after(within):
                    async with trio.open_nursery() as nursery:
                        for call in some:
                            nursery.start_soon(assert_unavailable, call)
                        for seconds in (within - CANCEL_TIMEOUT - 0.1, CANCEL_TIMEOUT):
                            await wait_all_tasks_blocked(0.05)
                            mock_clock.jump(seconds)
        finally:
            server.thaw()
            mock_clock.rate = 1
        with trio.fail_after(DEADLINE):
            await append_until_stored(repository, [draft], process)
        assert await get_head(repository, room) == 2


async def test_while_a_server_does_not_answer_only_the_first_call_waits(
    mock_clock: MockClock,
) -> None:
    (silent,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = silent.socket.getsockname()[1]
    async with silent, open_repository(f"postgresql://127.0.0.1:{port}/none") as repository:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(assert_unavailable, repository.check)
            connection = await silent.accept()
            mock_clock.jump(2)
        await connection.aclose()
        # During the backoff, which is long because time is slow, calls fail at once.
        mock_clock.rate = 0.001
        with trio.fail_after(0.02):
            await assert_unavailable(repository.check)


async def test_a_read_only_database_is_unavailable(url: str) -> None:
    read_only = make_conninfo(url, options="-c default_transaction_read_only=on")
    async with open_repository(read_only) as repository:
        with pytest.raises(UnavailableError, match="read-only"):
            await repository.check()
        with pytest.raises(UnavailableError, match="read-only"):
            await make_room(repository)


async def test_a_closed_repository_is_unavailable(url: str) -> None:
    repository = PostgresRepository(url)
    await repository.check()
    await repository.aclose()
    await repository.aclose()
    with pytest.raises(UnavailableError):
        await repository.check()


def test_a_repository_with_fewer_than_four_connections_is_refused() -> None:
    with pytest.raises(ValueError, match="four"):
        PostgresRepository("postgresql://", connections=3)
