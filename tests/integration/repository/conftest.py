"""The contract suite of the Repository port runs on every adapter of it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import trio

from sharechat.adapters.memory import MemoryRepository
from sharechat.adapters.postgres import PostgresRepository, migrate
from sharechat.adapters.sqlite import SqliteRepository
from sharechat.domain.ids import ProcessId, RoomId, new_process_id
from sharechat.domain.ports import Repository
from sharechat.domain.sources import Sources
from tests.harness.deadline import DEADLINE
from tests.harness.postgres import fresh_database, truncate
from tests.harness.postgres_clients import connect
from tests.harness.repositories import make_room

ShiftClock = Callable[[float], Awaitable[None]]
"""Moves the Repository's clock by some seconds, forwards or back."""


class ShiftedSources(Sources):
    """Sources whose time of day is `shift` away from the real one."""

    def __init__(self) -> None:
        self.shift = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.shift


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    with fresh_database() as url:
        trio.run(migrate, url)
        yield url


@pytest.fixture(scope="session")
def set_wise_database(database: str) -> Iterator[str]:
    """A database that stores small batches, too, as it does large ones."""
    types = "uuid, uuid[], uuid[], uuid[], text[], text[], text[]"

    async def change(url: str) -> None:
        await migrate(url)
        async with await connect(url) as connection:
            await connection.execute(f"DROP FUNCTION append({types})")
            await connection.execute(f"ALTER FUNCTION append_many({types}) RENAME TO append")

    with fresh_database() as url:
        trio.run(change, url)
        yield url


ADAPTERS = ["memory", "sqlite", "postgres"]
APPENDING_ADAPTERS = [*ADAPTERS, "set-wise postgres"]


@pytest.fixture(params=ADAPTERS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path | None:
    """The URL of a database with empty tables, a new file, or None for the memory adapter."""
    if request.param == "memory":
        return None
    if request.param == "sqlite":
        return tmp_path / "sharechat.db"
    name = "database" if request.param == "postgres" else "set_wise_database"
    url: str = request.getfixturevalue(name)
    truncate(url)
    return url


@pytest.fixture
def sources() -> ShiftedSources:
    return ShiftedSources()


@pytest.fixture
def shift_clock(url: str | Path | None, sources: ShiftedSources) -> ShiftClock:
    async def shift(seconds: float) -> None:
        by = timedelta(seconds=seconds)
        if not isinstance(url, str):
            sources.shift += by
            return
        # A database's clock cannot be moved, but what it has stamped so far can.
        async with await connect(url) as connection:
            await connection.execute(
                "UPDATE rooms SET created_at = created_at - %(by)s, last_sent = last_sent - %(by)s",
                {"by": by},
            )
            await connection.execute("UPDATE messages SET sent = sent - %s", (by,))

    return shift


@asynccontextmanager
async def open_repository(
    url: str | Path | None, sources: Sources | None = None
) -> AsyncIterator[Repository]:
    if url is None:
        yield MemoryRepository(sources)
    elif isinstance(url, Path):
        sqlite = SqliteRepository(url, sources)
        try:
            await sqlite.prepare()
            yield sqlite
        finally:
            await sqlite.aclose()
    else:
        postgres = PostgresRepository(url)
        try:
            yield postgres
        finally:
            await postgres.aclose()


@pytest.fixture
async def repository(url: str | Path | None, sources: ShiftedSources) -> AsyncIterator[Repository]:
    with trio.fail_after(2 * DEADLINE):
        async with open_repository(url, sources) as repository:
            yield repository


@pytest.fixture
async def process(repository: Repository) -> ProcessId:
    """A process with a lease."""
    process_id = new_process_id()
    await repository.open_lease(process_id)
    return process_id


@pytest.fixture
async def room(repository: Repository) -> RoomId:
    return await make_room(repository)
