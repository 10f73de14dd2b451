"""The health endpoints while Postgres or Redis is away."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness.cluster import Cluster
from tests.harness.deadline import wait_until
from tests.harness.http import fetch, make_room
from tests.harness.process import ServerProcess


@contextmanager
def away(servers: Cluster, part: str) -> Iterator[None]:
    server = servers.postgres if part == "postgres" else servers.redis
    server.stop()
    try:
        yield
    finally:
        server.start()


def status(server: ServerProcess) -> tuple[int, str]:
    answer = fetch(f"{server.url}/readyz")
    return answer.status, answer.json["status"]


def test_a_server_stays_ready_without_redis_and_is_not_ready_without_postgres(
    servers: Cluster,
) -> None:
    server = servers.serve_impatiently()
    wait_until(lambda: status(server) == (200, "ready"))
    with away(servers, "redis"):
        wait_until(lambda: status(server) == (200, "degraded"))
        make_room(server.url)
    wait_until(lambda: status(server) == (200, "ready"))
    with away(servers, "postgres"):
        wait_until(lambda: status(server) == (503, "unavailable"))
        assert fetch(f"{server.url}/livez").status == 200
    wait_until(lambda: status(server) == (200, "ready"))
    assert server.stop() == 0


@pytest.mark.parametrize("part", ["postgres", "redis"])
def test_no_health_endpoint_tells_where_a_part_is(servers: Cluster, part: str) -> None:
    server = servers.serve_impatiently()
    wait_until(lambda: status(server) == (200, "ready"))
    with away(servers, part):
        wait_until(lambda: fetch(f"{server.url}/api/healthz").status == 503)
        answers = b"".join(
            fetch(server.url + path).body for path in ("/livez", "/readyz", "/api/healthz")
        )
        for where in ("127.0.0.1", str(servers.redis.port), str(servers.postgres.port)):
            assert where.encode() not in answers
    assert server.stop() == 0
