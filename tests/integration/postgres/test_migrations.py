"""`migrate` on databases in every state."""

import pytest
import trio
from psycopg.conninfo import make_conninfo

from sharechat.adapters.postgres import SchemaError, migrate
from sharechat.domain.errors import UnavailableError
from tests.harness.deadline import DEADLINE
from tests.harness.drafts import chat
from tests.harness.postgres_clients import connect, new_database, open_repository
from tests.harness.repositories import set_up_member


async def test_several_processes_that_migrate_at_once_apply_each_migration_once(url: str) -> None:
    async with new_database(url) as empty:
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(migrate, empty)
        await migrate(empty)
        async with await connect(empty) as connection:
            cursor = await connection.execute("SELECT version, name FROM schema_versions")
            applied = sorted(await cursor.fetchall())
        assert [version for version, _ in applied] == list(range(1, len(applied) + 1))
        assert applied[0][1] == "0001_tables.sql"
        async with open_repository(empty) as repository:
            await repository.check()


async def test_a_database_with_a_later_schema_is_refused(url: str) -> None:
    async with new_database(url) as empty:
        await migrate(empty)
        async with await connect(empty) as connection:
            await connection.execute("INSERT INTO schema_versions VALUES (999, 'later')")
        with pytest.raises(SchemaError, match="999"):
            await migrate(empty)


async def test_a_database_without_tables_is_unavailable_until_it_is_migrated(url: str) -> None:
    async with new_database(url) as empty, open_repository(empty) as repository:
        with pytest.raises(UnavailableError, match="set up"):
            await repository.check()
        await migrate(empty)
        await repository.check()


async def test_a_role_that_may_not_create_tables_starts_once_the_schema_is_up_to_date(
    url: str,
) -> None:
    async with new_database(url) as owned, await connect(owned) as owner:
        await owner.execute("CREATE ROLE reader LOGIN")
        try:
            limited = make_conninfo(owned, user="reader")
            with pytest.raises(UnavailableError, match="denies"):
                await migrate(limited)
            await migrate(owned)
            await owner.execute(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO reader"
            )
            await migrate(limited)
            async with open_repository(limited) as repository:
                process, room, member = await set_up_member(repository)
                await repository.append([chat(room, member, "hello")], process)
                await repository.check()
        finally:
            await owner.execute("DROP OWNED BY reader; DROP ROLE reader")


async def test_migrating_fails_soon_if_the_server_cannot_be_reached() -> None:
    with trio.fail_after(DEADLINE), pytest.raises(UnavailableError):
        await migrate("postgresql://127.0.0.1:1/none")
