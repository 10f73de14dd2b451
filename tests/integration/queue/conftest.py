"""The contract suite of the Queue port runs on every adapter of it."""

import os
from collections.abc import Iterator

import pytest

from sharechat.adapters.memory import MemoryBus
from sharechat.adapters.redis import open_queue
from tests.harness.queues import MakeQueue
from tests.harness.redis import RedisServer, SentinelServer
from tests.harness.redis_cluster import RedisCluster


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    if url := os.environ.get("REDIS_URL"):
        yield url
    else:
        with RedisServer() as server:
            yield server.url


@pytest.fixture(scope="session")
def sentinel_url() -> Iterator[str]:
    with RedisServer() as primary, SentinelServer(primary) as sentinel:
        yield sentinel.url


@pytest.fixture(scope="session")
def cluster_url() -> Iterator[str]:
    with RedisCluster() as cluster:
        yield cluster.url


@pytest.fixture(params=["memory", "redis", "sentinel", "cluster"])
def make_queue(request: pytest.FixtureRequest) -> MakeQueue:
    if request.param == "memory":
        return MemoryBus().queue
    url: str = request.getfixturevalue(f"{request.param}_url")
    return lambda: open_queue(url)
