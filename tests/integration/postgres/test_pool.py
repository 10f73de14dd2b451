"""Which connections a Pool uses again, how they are set up, and when it opens new ones."""

import pytest
import trio
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.adapters.postgres.health import Health
from sharechat.adapters.postgres.pool import Pool
from sharechat.domain.errors import RejectedError, UnavailableError
from tests.harness.postgres import PostgresServer
from tests.harness.postgres_clients import (
    Connection,
    assert_unavailable,
    connect,
    fetch_value,
    new_database,
)
from tests.harness.postgres_pools import BACKEND, backends
from tests.harness.postgres_proxy import open_proxy


async def test_a_connection_on_which_a_transaction_is_open_is_not_used_again(pool: Pool) -> None:
    async def leave_a_transaction_open(connection: Connection) -> int:
        await connection.execute("BEGIN")
        pid: int = await fetch_value(connection, BACKEND)
        return pid

    assert await pool.run(leave_a_transaction_open) not in await backends(pool)


async def test_a_connection_on_which_a_statement_failed_is_not_used_again(pool: Pool) -> None:
    before = await backends(pool)
    with pytest.raises(UnavailableError):
        await pool.fetch("SELECT FROM no_such_table")
    assert len(before & await backends(pool)) == 1


async def test_a_connection_on_which_data_was_refused_is_used_again(pool: Pool) -> None:
    before = await backends(pool)
    with pytest.raises(RejectedError):
        await pool.fetch("SELECT 1 / 0")
    assert await backends(pool) == before


async def test_after_a_call_without_any_answer_no_connection_is_used_again(
    server: PostgresServer, pool: Pool, mock_clock: MockClock
) -> None:
    mock_clock.rate = 1
    before = await backends(pool)
    server.freeze()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(assert_unavailable, lambda: pool.fetch(BACKEND))
            await wait_all_tasks_blocked()
            mock_clock.jump(2.9)
    finally:
        server.thaw()
    mock_clock.jump(0.05)  # The first backoff.
    assert not before & await backends(pool)


async def test_a_backoff_doubles_with_each_failure_to_connect_up_to_a_second(
    url: str, mock_clock: MockClock
) -> None:
    async with open_proxy(url) as proxy:
        proxy.refuses = True
        pool = Pool(proxy.url, 2, Health())
        longest = 0.05
        for attempt in range(1, 12):
            await assert_unavailable(lambda: pool.fetch(BACKEND))
            assert proxy.connections == attempt
            mock_clock.jump(0.49 * longest)
            await assert_unavailable(lambda: pool.fetch(BACKEND))
            assert proxy.connections == attempt
            mock_clock.jump(0.52 * longest)
            longest = min(2 * longest, 1)
        pool.close()


async def test_a_connection_that_works_ends_the_backoff(url: str, mock_clock: MockClock) -> None:
    async with open_proxy(url) as proxy:
        pool = Pool(proxy.url, 2, Health())
        proxy.refuses = True
        for _ in range(8):
            await assert_unavailable(lambda: pool.fetch(BACKEND))
            mock_clock.jump(1)
        proxy.refuses = False
        await pool.fetch(BACKEND)
        proxy.refuses = True
        proxy.drop()
        await wait_all_tasks_blocked()
        attempts = proxy.connections
        await assert_unavailable(lambda: pool.fetch(BACKEND))
        mock_clock.jump(0.05)
        await assert_unavailable(lambda: pool.fetch(BACKEND))
        assert proxy.connections == attempts + 2
        pool.close()


@pytest.mark.parametrize(
    ("configured", "used"),
    [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")],
)
@pytest.mark.parametrize("scope", ["DATABASE {database}", "ROLE {role} IN DATABASE {database}"])
async def test_a_commit_waits_for_the_disk_even_if_the_database_does_not_make_it(
    url: str, scope: str, configured: str, used: str
) -> None:
    async with new_database(url) as database, await connect(database) as owner:
        parts = conninfo_to_dict(database)
        subject = sql.SQL(scope).format(
            database=sql.Identifier(str(parts["dbname"])), role=sql.Identifier(str(parts["user"]))
        )
        setting = sql.SQL("SET synchronous_commit = {}").format(sql.Literal(configured))
        await owner.execute(sql.SQL(" ").join([sql.SQL("ALTER"), subject, setting]))
        pool = Pool(database, 1, Health())
        assert await pool.fetch("SHOW synchronous_commit") == [(used,)]
        pool.close()
