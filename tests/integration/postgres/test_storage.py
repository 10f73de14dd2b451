"""What is stored in the tables, and what it costs to find it."""

from typing import Any, LiteralString

import pytest
from psycopg import sql

from sharechat.adapters.postgres import migrate, statements
from sharechat.adapters.postgres.rows import to_arrays
from sharechat.domain.errors import RejectedError
from sharechat.domain.ids import ProcessId, RoomId, new_process_id
from sharechat.domain.messages import Entry, Identity
from tests.harness.drafts import chat, joined, left
from tests.harness.postgres_clients import (
    Connection,
    connect,
    fetch_value,
    new_database,
    open_repository,
)
from tests.harness.repositories import ANY_SIZE, KEY_HASH, set_up_member, somebody, summarize


async def test_a_large_room_costs_no_more_reads_than_a_small_one(url: str) -> None:
    """Not even with plans that were made while the tables were empty."""
    async with open_repository(url) as repository, await connect(url) as connection:
        # From here until the next ANALYZE, the planner's statistics show empty tables.
        await connection.execute("ANALYZE")
        process, room, member = await set_up_member(repository)
        await connection.execute(statements.CONFIGURE_SESSION, prepare=False)
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await use_every_statement(connection, process, room, member)
        await connection.execute(
            "INSERT INTO messages SELECT %s, n, gen_random_uuid(), gen_random_uuid(), '',"
            " 'chat', '', now() FROM generate_series(1000, 20000) n",
            [room],
        )
        await connection.execute(
            "INSERT INTO members SELECT %s, gen_random_uuid(), '', %s, n"
            " FROM generate_series(1000, 10000) n",
            [room, process],
        )
        await connection.execute("UPDATE rooms SET head = 20000")
        for step in ("SELECT", "ANALYZE"):
            await connection.execute(step)
            async with connection.transaction():
                await use_every_statement(connection, process, room, member)
                rows_read = await fetch_value(
                    connection,
                    "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables"
                    " WHERE relname IN ('messages', 'members')",
                )
            assert 100 <= rows_read < 400


async def use_every_statement(
    connection: Connection, process: ProcessId, room: RoomId, member: Identity
) -> None:
    """Run the statements whose cost must not depend on the size of the room."""
    drafts = [chat(room, member, str(n)) for n in range(10)]
    drafts.append(joined(room, somebody()))
    drafts.append(left(room, drafts[-1].member))
    page = {"id": room, "after": 5_000, "limit": 100, "max_bytes": ANY_SIZE}
    calls: list[tuple[LiteralString, Any]] = [
        (statements.READ, page),
        (statements.FIND, (drafts[0].id, room)),
        (statements.GET_ROOMS, ([room],)),
    ]
    for _ in range(2):
        arrays = [process.encode(), *to_arrays(drafts)]
        await connection.fetch_prepared(statements.APPEND, arrays)
    for statement, params in calls:
        await connection.execute(statement, params, prepare=True)


async def test_an_id_that_a_large_batch_has_twice_costs_few_commits(url: str) -> None:
    async with open_repository(url) as repository, await connect(url) as connection:
        process, room, member = await set_up_member(repository)
        drafts = [chat(room, member, "x") for _ in range(512)]
        drafts[300] = drafts[100]
        outcomes = await repository.append(drafts, process)
        assert outcomes[300] == outcomes[100]
        commits = await fetch_value(connection, "SELECT count(DISTINCT xmin::text) FROM messages")
        assert commits < 25


async def test_removing_a_room_deletes_its_messages(url: str) -> None:
    async with open_repository(url) as repository, await connect(url) as connection:
        process, room, member = await set_up_member(repository)
        drafts = [chat(room, member, "x") for _ in range(6000)]
        await repository.append(drafts, process)
        await repository.delete_room(room, KEY_HASH)
        for table in ("messages", "members", "rooms", "removed_rooms"):
            count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
            assert await fetch_value(connection, count) == 0


async def test_a_dead_process_without_members_is_forgotten_after_a_day(url: str) -> None:
    async with open_repository(url) as repository, await connect(url) as connection:
        old, recent, old_with_member = [new_process_id() for _ in range(3)]
        _, room, _ = await set_up_member(repository)
        for dead in (old, recent, old_with_member):
            await repository.open_lease(dead)
        await repository.append([joined(room, somebody())], old_with_member)
        for dead in (old, recent, old_with_member):
            await repository.end_lease(dead)
        await connection.execute(
            "UPDATE processes SET died_at = died_at - interval '25 hours' WHERE id = ANY (%s)",
            [[old, old_with_member]],
        )
        await repository.end_lease(new_process_id())
        rows = await connection.execute("SELECT id::text FROM processes WHERE dead")
        remaining = {id_ for (id_,) in await rows.fetchall()}
        assert {recent, old_with_member} < remaining
        assert old not in remaining


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "nul \0"])
async def test_text_that_utf8_or_postgres_cannot_represent_is_refused(url: str, text: str) -> None:
    async with open_repository(url) as repository:
        process, room, member = await set_up_member(repository)
        drafts = [chat(room, member, text), chat(room, member, "fine")]
        assert summarize(await repository.append(drafts, process)) == [RejectedError, 2]


async def test_text_that_the_databases_encoding_cannot_represent_is_refused(url: str) -> None:
    latin = "TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
    async with new_database(url, latin) as database, open_repository(database) as repository:
        await migrate(database)
        process, room, member = await set_up_member(repository)
        drafts = [chat(room, member, text) for text in ("ä", "😀", "ö")]
        outcomes = await repository.append(drafts, process)
        assert [type(outcome) for outcome in outcomes] == [Entry, RejectedError, Entry]
        entries = await repository.read(room, after=1, limit=10, max_bytes=ANY_SIZE)
        assert [entry.message.text for entry in entries] == ["ä", "ö"]
