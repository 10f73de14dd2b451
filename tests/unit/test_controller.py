"""The controller: rooms come with their first member, go after their last, and fail alone."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.adapters.memory import MemoryBus
from sharechat.domain import ids
from sharechat.domain.errors import (
    RoomNotFoundError,
    StoppingError,
    UnavailableError,
    WrongKeyError,
)
from sharechat.domain.messages import RoomInfo
from sharechat.domain.outcomes import INTERNAL_ERROR, RESTARTING
from tests.harness.connection import FakeConnection
from tests.harness.house import UNLIMITED, Node, assert_pairs, open_house
from tests.harness.repository import KEY, ScriptedRepository
from tests.unit.conftest import Logs

LINGER = UNLIMITED.room_linger


async def test_a_room_that_does_not_exist_cannot_be_opened(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        with pytest.raises(RoomNotFoundError):
            await house.nodes[0].controller.rooms.open_room(ids.new_room_id())


async def test_a_room_cannot_be_opened_while_the_repository_is_away(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        house.repository.away = True
        with pytest.raises(UnavailableError):
            await house.nodes[0].controller.rooms.open_room(room)


async def test_two_processes_are_one_room(autojump_clock: MockClock) -> None:
    async with open_house(nodes=2) as house:
        room = await house.repository.make_room()
        here, there = await house.join(room, 0), await house.join(room, 1)
        here.says(*(f"here {n}" for n in range(20)))
        there.says(*(f"there {n}" for n in range(20)))
        for member in (here, there):
            await member.hears("here 19")
            await member.hears("there 19")
        log = await house.repository.log(room)
        assert here.received == log
        assert there.received == log[1:]


async def test_rooms_do_not_hear_each_other(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        one, other = await house.repository.make_room(), await house.repository.make_room()
        here, there = await house.join(one), await house.join(other)
        here.says("one")
        there.says("other")
        await here.hears("one")
        await there.hears("other")
        assert len(here.texts) == len(there.texts) == 2


async def test_a_room_is_heard_from_its_first_member_until_a_while_after_its_last(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        queue = house.nodes[0].queue
        room = await house.repository.make_room()
        first, second = await house.visit(room), await house.visit(room)
        await trio.sleep(100)
        assert queue.rooms == {room}
        first.connection.hangs_up()
        await first.ends()
        await trio.sleep(100)
        second.connection.hangs_up()
        await second.ends()
        await trio.sleep(LINGER - 0.1)
        assert queue.rooms == {room}
        await trio.sleep(0.2)
        assert queue.rooms == set()


async def test_who_comes_while_the_room_lingers_keeps_it(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        first = await house.visit(room)
        first.connection.hangs_up()
        await first.ends()
        await trio.sleep(LINGER - 0.1)
        second = await house.join(room)
        await trio.sleep(2 * LINGER)
        second.says("hello")
        await second.hears("hello")
        assert house.nodes[0].queue.rooms == {room}


async def test_a_room_that_raises_closes_its_own_members_alone(
    autojump_clock: MockClock, logs: Logs
) -> None:
    async with open_house() as house:
        room, other_room = await house.repository.make_room(), await house.repository.make_room()
        visits = [await house.visit(room) for _ in range(3)]
        other = await house.join(other_room)
        house.repository.at_next("read", error=RuntimeError("a bug"))
        house.nodes[0].controller.rooms.expect(room, 100)
        assert [await visit.ends() for visit in visits] == [INTERNAL_ERROR] * 3
        failure = next(log for log in logs if log["event"] == "room failed")
        assert failure["room"] == room
        other.says("unharmed")
        await other.hears("unharmed")
        again = await house.join(room)
        again.says("a new start")
        await again.hears("a new start")
        await house.stop()
        log = await house.repository.log(room)
        assert len(log) == 9
        assert_pairs(log)


async def test_a_journal_that_raises_is_started_again_and_owes_nothing(
    autojump_clock: MockClock, logs: Logs
) -> None:
    async with open_house(nodes=2) as house:
        room = await house.repository.make_room()
        goer, other = await house.visit(room, 0), await house.join(room, 0)
        far = await house.join(room, 1)
        house.nodes[0].queue.raises = RuntimeError("a bug in the queue")
        other.says("hello")
        goer.connection.hangs_up()
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


async def test_deleting_takes_the_key(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        controller = house.nodes[0].controller
        room = await house.repository.make_room()
        member = await house.join(room)
        with pytest.raises(WrongKeyError):
            await controller.rooms.delete_room(room, b"another key")
        with pytest.raises(RoomNotFoundError):
            await controller.rooms.delete_room(ids.new_room_id(), KEY)
        await trio.sleep(10)
        assert not member.closed.is_set()


async def test_a_room_without_members_here_is_deleted_all_the_same(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        controller = house.nodes[0].controller
        room = await house.repository.make_room()
        await controller.rooms.delete_room(room, KEY)
        with pytest.raises(RoomNotFoundError):
            await controller.rooms.open_room(room)


async def test_it_does_not_start_without_the_repository(autojump_clock: MockClock) -> None:
    repository = ScriptedRepository()
    repository.away = True
    node = Node(repository, MemoryBus(), UNLIMITED)
    with pytest.raises(UnavailableError):
        await node.controller.run()


@pytest.mark.parametrize("began", [False, True])
async def test_one_that_does_not_run_serves_nobody(
    autojump_clock: MockClock, began: bool, nursery: trio.Nursery
) -> None:
    repository = ScriptedRepository()
    room = RoomInfo(await repository.make_room(), "Imperfect Seat")
    node = Node(repository, MemoryBus(), UNLIMITED)
    if began:
        await nursery.start(node.run)
        node.scope.cancel()  # and not by `stop`
        await node.over.wait()
    connection = FakeConnection()
    await node.controller.serve_room(room, connection)
    assert connection.close == RESTARTING
    with pytest.raises(StoppingError):
        await node.controller.rooms.open_room(room.id)
    await node.controller.stop()
    assert await repository.log(room.id) == []


async def test_one_that_is_cut_off_ends_its_members_connections(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        visits = [await house.visit(room), await house.visit(room, after=0)]
        await wait_all_tasks_blocked()
        house.nodes[0].scope.cancel()
        for visit in visits:
            assert await visit.ends(within=10) is not None
