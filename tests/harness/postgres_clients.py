"""Helpers for the tests that treat a PostgresRepository's server badly."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
import trio
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sharechat.adapters.postgres import PostgresRepository
from sharechat.adapters.postgres.trio_connection import TrioConnection
from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import ProcessId, new_room_id
from sharechat.domain.messages import Draft, Entry
from tests.harness.deadline import DEADLINE
from tests.harness.repositories import store

Connection = TrioConnection[Any]


async def connect(url: str) -> Connection:
    with trio.fail_after(DEADLINE):
        return await TrioConnection.connect(url, autocommit=True)


async def fetch_value(connection: Connection, query: Any, *params: object) -> Any:
    """Run a query that returns one row; return the row's first value."""
    (row,) = await (await connection.execute(query, params)).fetchall()
    return row[0]


async def count_waiting(connection: Connection) -> int:
    """Return how many statements on the connection's server wait for a lock."""
    count: int = await fetch_value(connection, "SELECT count(*) FROM pg_locks WHERE NOT granted")
    return count


async def until_waiting(connection: Connection, count: int = 1) -> None:
    """Wait until at least `count` statements on the connection's server wait for a lock."""
    with trio.fail_after(DEADLINE):
        while await count_waiting(connection) < count:  # noqa: ASYNC110 - there is no event
            await trio.sleep(0.005)


@asynccontextmanager
async def open_repository(url: str) -> AsyncIterator[PostgresRepository]:
    repository = PostgresRepository(url)
    try:
        yield repository
    finally:
        await repository.aclose()


@asynccontextmanager
async def new_database(url: str, options: str = "") -> AsyncIterator[str]:
    """Create an empty database on the server of `url`, yield its URL, and drop it."""
    name = f"other_{new_room_id()}"
    async with await connect(url) as connection:
        create = sql.SQL("CREATE DATABASE {} " + options).format(sql.Identifier(name))
        await connection.execute(create)
        try:
            yield make_conninfo(url, dbname=name)
        finally:
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
            await connection.execute(drop.format(sql.Identifier(name)))


def as_url(conninfo: str) -> str:
    """Return a connection string in the form of a URL, which the command wants."""
    return f"postgresql:///?{urlencode(conninfo_to_dict(conninfo))}"


async def append_until_stored(
    repository: PostgresRepository, drafts: list[Draft], process: ProcessId
) -> list[Entry]:
    """Append the same drafts until the Repository does not raise UnavailableError."""
    while True:
        try:
            return await store(repository, process, *drafts)
        except UnavailableError:
            await trio.sleep(0.01)


async def assert_unavailable(call: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(UnavailableError):
        await call()
