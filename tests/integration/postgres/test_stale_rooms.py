"""Removing stale rooms while some of them are used, joined or removed at the same moment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from psycopg.conninfo import make_conninfo

from sharechat.adapters.postgres import statements
from sharechat.adapters.postgres.rows import to_arrays
from sharechat.domain.errors import RoomNotFoundError
from sharechat.domain.ids import RoomId
from tests.harness.deadline import DEADLINE
from tests.harness.drafts import joined
from tests.harness.postgres_clients import Connection, connect, open_repository, until_waiting
from tests.harness.repositories import get_heads, make_room, set_up_member, somebody

_GATE = """
CREATE SCHEMA gate;
CREATE FUNCTION gate.pass() RETURNS boolean LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN true; END';
CREATE VIEW gate.rooms AS SELECT * FROM public.rooms WHERE gate.pass();
"""
"""Makes each statement that looks at the rooms wait, once it has its snapshot, before each row."""


@asynccontextmanager
async def closed_gate(connection: Connection, url: str) -> AsyncIterator[str]:
    """Yield a URL whose statements wait at each room until `connection` opens the gate."""
    await connection.execute(_GATE)
    await connection.execute("SELECT pg_advisory_lock(1)")
    try:
        yield make_conninfo(url, options="-c search_path=gate,public")
    finally:
        await open_gate(connection)
        await connection.execute("DROP SCHEMA gate CASCADE")


async def open_gate(connection: Connection) -> None:
    await connection.execute("SELECT pg_advisory_unlock_all()")


async def test_a_room_that_is_joined_after_it_was_found_stale_stays(
    url: str, connection: Connection
) -> None:
    removed: list[RoomId] = []
    async with open_repository(url) as repository, await connect(url) as joining:
        process, *_ = await set_up_member(repository)
        room, member = await make_room(repository), somebody()
        drafts = [process.encode(), *to_arrays([joined(room, member)])]
        async with (
            closed_gate(connection, url) as gated_url,
            open_repository(gated_url) as other,
            trio.open_nursery() as nursery,
        ):

            async def remove() -> None:
                removed.extend(await other.remove_stale_rooms(0))

            async with joining.transaction():
                await joining.fetch_prepared(statements.APPEND, drafts)
                nursery.start_soon(remove)
                # What has been committed from now on is not in the snapshot of its statement.
                await until_waiting(connection)
            await open_gate(connection)
        assert removed == []
        assert await repository.get_members(room) == [member]


async def test_a_joined_that_finds_its_room_being_removed_is_refused(
    url: str, connection: Connection
) -> None:
    outcomes: list[object] = []
    async with open_repository(url) as repository:
        process, *_ = await set_up_member(repository)
        room = await make_room(repository)

        async def join() -> None:
            outcomes.extend(await repository.append([joined(room, somebody())], process))

        async with trio.open_nursery() as nursery:
            async with connection.transaction():
                await connection.execute(statements.REMOVE_STALE_ROOMS, (0, 10))
                nursery.start_soon(join)
                await until_waiting(connection)
        assert [type(outcome) for outcome in outcomes] == [RoomNotFoundError]
        assert await get_heads(repository, [room]) == {}


@pytest.mark.parametrize("unjoined_age", [None, 0])
async def test_a_room_that_is_in_use_is_not_removed_and_does_not_hold_up_the_others(
    url: str, connection: Connection, unjoined_age: float | None
) -> None:
    async with open_repository(url) as repository:
        used, *unused = [await make_room(repository) for _ in range(3)]
        async with connection.transaction():
            await connection.execute("SELECT FROM rooms WHERE id = %s FOR NO KEY UPDATE", (used,))
            with trio.fail_after(DEADLINE):
                assert sorted(await repository.remove_stale_rooms(0, unjoined_age)) == sorted(
                    unused
                )
        assert await repository.remove_stale_rooms(0, unjoined_age) == [used]
