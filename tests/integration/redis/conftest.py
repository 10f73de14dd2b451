"""A real Redis, which the tests freeze, kill and restrict."""

from collections.abc import Iterator

import pytest

from tests.harness.redis import RedisServer


@pytest.fixture(scope="session")
def _server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(_server: RedisServer) -> Iterator[RedisServer]:
    """A server that tests share. It is thawed after each test, but not restarted."""
    yield _server
    _server.thaw()
