"""TrioConnection: connecting, sharing, closing. Cancelling is in test_cancelling.py."""

from contextlib import suppress

import psycopg
import pytest
import trio
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.adapters.postgres.trio_connection import TrioConnection
from tests.harness.deadline import DEADLINE
from tests.harness.postgres_clients import (
    Connection,
    assert_unavailable,
    connect,
    fetch_value,
    open_repository,
)


async def test_tasks_that_share_a_connection_take_turns(connection: Connection) -> None:
    results: list[int] = []

    async def ask(n: int) -> None:
        results.append(await fetch_value(connection, "SELECT %s::int", n))

    async with trio.open_nursery() as nursery:
        for n in range(10):
            nursery.start_soon(ask, n)
    assert sorted(results) == list(range(10))


async def test_a_prepared_statement_fails_if_its_commit_does(connection: Connection) -> None:
    """The server has answered the statement then, and sends the error as another result."""
    await connection.execute(
        "CREATE TEMPORARY TABLE work (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)"
    )
    insert = b"INSERT INTO work SELECT 1 FROM generate_series(1, $1::int)"
    with pytest.raises(psycopg.errors.UniqueViolation):
        await connection.fetch_prepared(insert, [b"2"])
    assert await connection.fetch_prepared(insert, [b"1"]) == []
    assert await fetch_value(connection, "SELECT count(*) FROM work") == 1


async def test_a_transaction_that_fails_is_rolled_back(connection: Connection) -> None:
    await connection.execute("CREATE TEMPORARY TABLE work (n int)")
    with suppress(ZeroDivisionError):
        async with connection.transaction():
            await connection.execute("INSERT INTO work VALUES (1)")
            raise ZeroDivisionError
    assert await fetch_value(connection, "SELECT count(*) FROM work") == 0


async def test_waiting_for_notifications_ends_at_its_timeout(connection: Connection) -> None:
    await connection.execute("LISTEN room")
    await connection.execute("NOTIFY room, 'hello'")
    heard = [n.payload async for n in connection.notifies(timeout=0.05, stop_after=1)]
    assert heard == ["hello"]
    assert [n async for n in connection.notifies(timeout=0)] == []
    assert await fetch_value(connection, "SELECT 42") == 42


async def test_closing_a_connection_ends_its_query(connection: Connection) -> None:
    async def ask() -> None:
        with pytest.raises(psycopg.OperationalError):
            await connection.execute("SELECT pg_sleep(60)")

    with trio.fail_after(DEADLINE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            await connection.close()


async def test_a_host_can_be_given_by_name(url: str) -> None:
    connection = await connect(make_conninfo(url, host="localhost"))
    assert await fetch_value(connection, "SELECT 42") == 42
    await connection.close()


async def test_a_host_name_that_does_not_exist_makes_the_repository_unavailable(url: str) -> None:
    # Where there is no name server, the deadline decides.
    async with open_repository(make_conninfo(url, host="no-such-host.invalid")) as repository:
        with trio.fail_after(DEADLINE):
            await assert_unavailable(repository.check)


async def test_of_several_hosts_the_one_that_answers_is_used(
    url: str, mock_clock: MockClock
) -> None:
    """The first host refuses, the second is silent, the third answers."""
    mock_clock.rate = 0.1
    (silent,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    silent_port = silent.socket.getsockname()[1]
    parts = conninfo_to_dict(url)
    several = make_conninfo(
        url,
        host=f"127.0.0.1,127.0.0.1,{parts['host']}",
        port=f"1,{silent_port},{parts['port']}",
    )

    async def use() -> None:
        with trio.fail_after(4):
            await (await TrioConnection.connect(several)).close()

    async with silent:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(use)
            connection = await silent.accept()
            mock_clock.jump(2)  # The second host's share of the time.
        await connection.aclose()


async def test_if_no_host_answers_the_error_names_each() -> None:
    with pytest.raises(psycopg.OperationalError) as caught:
        await connect("host=127.0.0.1,127.0.0.1 port=1,2")
    assert "127.0.0.1 1" in str(caught.value)
    assert "127.0.0.1 2" in str(caught.value)
