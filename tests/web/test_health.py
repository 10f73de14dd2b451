"""What the health endpoint answers."""

import pytest

from sharechat.adapters.memory import MemoryBus
from sharechat.bootstrap import Stores, build
from sharechat.config import Settings
from tests.harness.queue import FaultyQueue
from tests.harness.repository import ScriptedRepository

WELL = {"status": "ok", "repository": "ok", "queue": "ok"}


@pytest.mark.parametrize("part", ["repository", "queue"])
async def test_a_server_is_unavailable_while_a_part_is_away_and_names_it(part: str) -> None:
    repository, queue = ScriptedRepository(), FaultyQueue(MemoryBus())
    client = build(Settings(), Stores(repository, queue)).app.test_client()
    health = await client.get("/api/healthz")
    assert (health.status_code, await health.get_json()) == (200, WELL)
    if part == "queue":
        queue.away = True
    else:
        repository.away = True
    health = await client.get("/api/healthz")
    answer = await health.get_json()
    assert health.status_code == 503
    assert "Retry-After" in health.headers
    assert "away" in answer[part]
    assert answer == WELL | {"status": "unavailable", part: answer[part]}
    queue.away = repository.away = False
    assert (await client.get("/api/healthz")).status_code == 200
