"""The directory of rooms: which rooms have an actor here, from when, and until when."""

import pytest
import trio
from trio.testing import MockClock

from sharechat.domain import ids
from sharechat.domain.errors import RoomNotFoundError, UnavailableError, WrongKeyError
from sharechat.domain.messages import RoomInfo
from sharechat.domain.outcomes import INTERNAL_ERROR, ROOM_DELETED
from tests.harness.house import UNLIMITED, assert_pairs, open_house
from tests.harness.repository import KEY
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


async def test_the_repository_is_not_asked_about_a_room_that_something_was_stored_in_just_now(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        member = await house.join(room)
        member.says("hello")
        await member.hears("hello")
        house.repository.away = True
        rooms = house.nodes[0].controller.rooms
        assert await rooms.open_room(room) == RoomInfo(room, "Imperfect Seat", head=2)
        await trio.sleep(UNLIMITED.room_freshness * 1.1)
        with pytest.raises(UnavailableError):
            await rooms.open_room(room)


async def test_a_deleted_room_cannot_be_opened_once_that_is_heard(
    autojump_clock: MockClock,
) -> None:
    async with open_house(nodes=2) as house:
        room = await house.repository.make_room()
        here, there = await house.join(room, 0), await house.join(room, 1)
        await house.nodes[0].controller.rooms.delete_room(room, KEY)
        for member in (here, there):
            await member.closed.wait()
        for node in house.nodes:
            with pytest.raises(RoomNotFoundError):
                await node.controller.rooms.open_room(room)


async def test_who_joins_before_a_deletion_is_heard_is_told_of_it(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        await house.join(room)
        await house.repository.delete_room(room, KEY)
        visit = await house.visit(room)
        assert await visit.ends() == ROOM_DELETED


async def test_members_on_two_processes_hear_each_other_in_one_order(
    autojump_clock: MockClock,
) -> None:
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


async def test_members_of_different_rooms_do_not_hear_each_other(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        one, other = await house.repository.make_room(), await house.repository.make_room()
        here, there = await house.join(one), await house.join(other)
        here.says("one")
        there.says("other")
        await here.hears("one")
        await there.hears("other")
        assert len(here.texts) == len(there.texts) == 2


async def test_a_room_stays_subscribed_until_it_has_lingered_after_its_last_member(
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


async def test_a_member_that_joins_while_the_room_lingers_keeps_it(
    autojump_clock: MockClock,
) -> None:
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


async def test_a_room_that_raises_closes_only_its_own_members(
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


async def test_a_room_can_be_deleted_only_with_its_key(autojump_clock: MockClock) -> None:
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


async def test_a_room_without_members_here_can_be_deleted(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        controller = house.nodes[0].controller
        room = await house.repository.make_room()
        await controller.rooms.delete_room(room, KEY)
        with pytest.raises(RoomNotFoundError):
            await controller.rooms.open_room(room)
