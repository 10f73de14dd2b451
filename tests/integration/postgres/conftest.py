"""A PostgreSQL server of our own, which the tests stop, freeze and restrict."""

from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from sharechat.adapters.postgres import migrate
from sharechat.adapters.postgres.health import Health
from sharechat.adapters.postgres.pool import Pool
from tests.harness.postgres import PostgresServer, truncate
from tests.harness.postgres_clients import Connection, connect
from tests.harness.postgres_pools import backends


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """Not the server that DATABASE_URL names, because other programs may use that one."""
    with PostgresServer() as server:
        trio.run(migrate, server.url)
        yield server


@pytest.fixture
def url(server: PostgresServer) -> str:
    """The URL of a database with empty tables."""
    truncate(server.url)
    return server.url


@pytest.fixture
async def connection(url: str) -> AsyncIterator[Connection]:
    connection = await connect(url)
    yield connection
    await connection.close()


@pytest.fixture
async def pool(url: str) -> AsyncIterator[Pool]:
    """A pool of two connections, both of which are open."""
    pool = Pool(url, 2, Health())
    await backends(pool)
    yield pool
    pool.close()
