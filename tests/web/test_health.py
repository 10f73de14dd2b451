"""What the health endpoints answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sharechat.adapters.memory import MemoryBus
from sharechat.bootstrap import Server, Stores, build
from sharechat.config import Settings
from tests.harness.queue import FaultyQueue
from tests.harness.repository import ScriptedRepository

WELL = {"status": "ok", "repository": "ok", "queue": "ok"}


class House:
    """A server that runs, over a Repository and a Queue that can be away."""

    def __init__(self) -> None:
        self.repository, self.queue = ScriptedRepository(), FaultyQueue(MemoryBus())
        self.server: Server = build(Settings(), Stores(self.repository, self.queue))
        self.client = self.server.app.test_client()

    def send_away(self, part: str) -> None:
        if part == "queue":
            self.queue.away = True
        else:
            self.repository.away = True

    def call_back(self) -> None:
        self.queue.away = self.repository.away = False

    async def ask(self, path: str) -> tuple[int, Any]:
        answer = await self.client.get(path)
        assert ("Retry-After" in answer.headers) == (answer.status_code == 503)
        return answer.status_code, await answer.get_json()


@asynccontextmanager
async def running() -> AsyncIterator[House]:
    house = House()
    async with house.server.app.test_app():
        yield house


@pytest.mark.parametrize("part", ["repository", "queue"])
async def test_a_server_is_unavailable_while_a_part_is_away_and_names_it(part: str) -> None:
    async with running() as house:
        assert await house.ask("/api/healthz") == (200, WELL)
        house.send_away(part)
        status, answer = await house.ask("/api/healthz")
        assert status == 503
        assert "away" in answer[part]
        assert answer == WELL | {"status": "unavailable", part: answer[part]}
        house.call_back()
        assert await house.ask("/api/healthz") == (200, WELL)


async def test_a_server_is_ready_once_it_takes_members() -> None:
    house = House()
    assert (await house.ask("/readyz"))[0] == 503
    async with house.server.app.test_app():
        assert await house.ask("/readyz") == (200, WELL | {"status": "ready"})


async def test_a_server_without_its_queue_is_degraded_and_ready() -> None:
    async with running() as house:
        house.send_away("queue")
        degraded = {"status": "degraded", "repository": "ok", "queue": "unavailable"}
        assert await house.ask("/readyz") == (200, degraded)
        house.call_back()
        assert await house.ask("/readyz") == (200, WELL | {"status": "ready"})


async def test_a_server_without_its_repository_is_not_ready() -> None:
    async with running() as house:
        house.send_away("repository")
        unavailable = {"status": "unavailable", "repository": "unavailable", "queue": "ok"}
        assert await house.ask("/readyz") == (503, unavailable)
        house.call_back()
        assert (await house.ask("/readyz"))[0] == 200


async def test_a_server_that_drains_is_not_ready_and_serves_all_the_same() -> None:
    async with running() as house:
        house.server.health.drain()
        assert await house.ask("/readyz") == (503, WELL | {"status": "draining"})
        assert await house.ask("/api/healthz") == (200, WELL)
        assert (await house.client.post("/api/room")).status_code == 200


async def test_a_server_that_stops_is_not_ready() -> None:
    async with running() as house:
        await house.server.controller.stop()
        assert await house.ask("/readyz") == (503, WELL | {"status": "draining"})


async def test_a_server_is_alive_whatever_is_away() -> None:
    async with running() as house:
        house.send_away("repository")
        house.send_away("queue")
        house.server.health.drain()
        assert await house.ask("/livez") == (200, {"status": "ok"})
