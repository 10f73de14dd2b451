"""The controller: when it serves members, and what it does when an actor fails."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.adapters.memory import MemoryBus
from sharechat.domain.errors import (
    StoppingError,
    UnavailableError,
)
from sharechat.domain.messages import RoomInfo
from sharechat.domain.outcomes import RESTARTING
from tests.harness.connection import FakeConnection
from tests.harness.house import UNLIMITED, Node, assert_pairs, open_house
from tests.harness.repository import ScriptedRepository
from tests.unit.conftest import Logs


async def test_a_journal_that_raises_is_restarted_and_loses_nothing(
    autojump_clock: MockClock, logs: Logs
) -> None:
    async with open_house(nodes=2) as house:
        room = await house.repository.make_room()
        leaver, other = await house.visit(room, 0), await house.join(room, 0)
        far = await house.join(room, 1)
        house.nodes[0].queue.raises = RuntimeError("a bug in the queue")
        other.says("hello")
        leaver.connection.hangs_up()
        await other.hears("hello")
        await wait_all_tasks_blocked()
        house.nodes[0].queue.raises = None
        other.says("again")
        await other.hears("again")
        await far.hears("hello", "again")
        await house.stop()
        assert "actor failed, starting it again" in [log["event"] for log in logs]
        log = await house.repository.log(room)
        assert_pairs(log)
        assert "failed" not in {m.type for m in other.received}


async def test_a_controller_does_not_start_while_the_repository_is_away(
    autojump_clock: MockClock,
) -> None:
    repository = ScriptedRepository()
    repository.away = True
    node = Node(repository, MemoryBus(), UNLIMITED)
    with pytest.raises(UnavailableError):
        await node.controller.run()


@pytest.mark.parametrize("was_running", [False, True])
async def test_a_controller_that_is_not_running_serves_nobody(
    autojump_clock: MockClock, was_running: bool, nursery: trio.Nursery
) -> None:
    repository = ScriptedRepository()
    room = RoomInfo(await repository.make_room(), "Imperfect Seat")
    node = Node(repository, MemoryBus(), UNLIMITED)
    if was_running:
        await nursery.start(node.run)
        node.scope.cancel()  # It ends without `stop`.
        await node.over.wait()
    connection = FakeConnection()
    await node.controller.serve_room(room, connection)
    assert connection.close == RESTARTING
    with pytest.raises(StoppingError):
        await node.controller.rooms.open_room(room.id)
    await node.controller.stop()
    assert await repository.log(room.id) == []


async def test_a_controller_that_is_cancelled_closes_its_members_connections(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        visits = [await house.visit(room), await house.visit(room, after=0)]
        await wait_all_tasks_blocked()
        house.nodes[0].scope.cancel()
        for visit in visits:
            assert await visit.ends(within=10) is not None
