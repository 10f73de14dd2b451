"""The contract suite of the Repository port runs on every adapter of it."""

from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from sharechat.adapters.memory import MemoryRepository
from sharechat.adapters.postgres import PostgresRepository, migrate
from sharechat.domain.ids import ProcessId, RoomId, new_process_id
from sharechat.domain.ports import Repository
from tests.harness.postgres import fresh_database, truncate
from tests.harness.repositories import make_room


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    with fresh_database() as url:
        trio.run(migrate, url)
        yield url


@pytest.fixture(params=["memory", "postgres"])
def url(request: pytest.FixtureRequest) -> str | None:
    """The URL of a database with empty tables, or None for the memory adapter."""
    if request.param == "memory":
        return None
    url: str = request.getfixturevalue("database")
    truncate(url)
    return url


@pytest.fixture
async def repository(url: str | None) -> AsyncIterator[Repository]:
    with trio.fail_after(20):
        if url is None:
            yield MemoryRepository()
            return
        postgres = PostgresRepository(url)
        yield postgres
        await postgres.aclose()


@pytest.fixture
async def process(repository: Repository) -> ProcessId:
    """A process with a lease."""
    process_id = new_process_id()
    await repository.open_lease(process_id)
    return process_id


@pytest.fixture
async def room(repository: Repository) -> RoomId:
    return await make_room(repository)
