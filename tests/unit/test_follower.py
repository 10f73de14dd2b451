"""The follower: the rooms of this process catch up with the log, whatever the bus loses."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.domain.ids import RoomId
from sharechat.domain.outcomes import ROOM_DELETED
from tests.harness.connection import FakeConnection
from tests.harness.house import UNLIMITED, House, RemoteMember, open_house
from tests.harness.repository import KEY


async def room_with_a_remote_member(
    house: House,
) -> tuple[RoomId, FakeConnection, RemoteMember]:
    """Return a room, its member here, and a remote member whose `joined` the bus has lost."""
    room = await house.repository.make_room()
    here = await house.join(room)
    await trio.sleep(0.1)
    there = RemoteMember(house.repository, room)
    await there.joins()
    return room, here, there


async def test_an_entry_that_the_bus_lost_is_heard_within_the_follow_interval(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        _, here, there = await room_with_a_remote_member(house)
        await there.says("lost")
        await here.hears("lost", within=UNLIMITED.follow_interval)


async def test_rooms_are_looked_at_every_second_while_the_bus_is_known_to_be_away(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        _, here, there = await room_with_a_remote_member(house)
        house.nodes[0].queue.away = True
        await trio.sleep(UNLIMITED.follow_interval)
        for n in range(5):
            await there.says(f"lost {n}")
            await here.hears(f"lost {n}", within=UNLIMITED.follow_interval_unwell + 0.01)


async def test_a_room_that_may_have_missed_something_is_looked_at_immediately(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room, here, there = await room_with_a_remote_member(house)
        await there.says("lost")
        house.nodes[0].misses(room)
        await here.hears("lost", within=0.1)


async def test_one_query_asks_about_all_rooms(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        rooms = [await house.repository.make_room() for _ in range(20)]
        heres = [await house.join(room) for room in rooms]
        await trio.sleep(6)
        house.repository.calls.clear()
        theres = [RemoteMember(house.repository, room) for room in rooms]
        for there in theres:
            await there.joins()
        for here in heres:
            await here.hears("Fox joined the room.", within=6)
        assert house.repository.calls["get_rooms"] <= 2


async def test_a_room_that_keeps_missing_entries_does_not_delay_the_look_at_all_rooms(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        _, here, there = await room_with_a_remote_member(house)
        busy = await house.repository.make_room()
        await house.join(busy)
        await there.says("lost")

        async def miss() -> None:
            while True:
                house.nodes[0].misses(busy)
                await trio.sleep(1)

        house.nursery.start_soon(miss)
        await here.hears("lost", within=UNLIMITED.follow_interval + 1)


async def test_a_room_without_members_here_is_ignored(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        _, here, there = await room_with_a_remote_member(house)
        elsewhere = await house.repository.make_room()
        house.repository.calls.clear()
        house.nodes[0].misses(elsewhere)
        house.nodes[0].hears(elsewhere, *(await there.says("not for that room")))
        await trio.sleep(0.1)
        assert not house.repository.calls["get_rooms"]
        assert not here.closed.is_set()


async def test_a_look_is_retried_while_the_repository_is_away(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room, here, there = await room_with_a_remote_member(house)
        await there.says("lost")
        house.repository.away = True
        house.nodes[0].misses(room)
        await trio.sleep(60)
        assert house.repository.calls["get_rooms"] < 70
        house.repository.away = False
        await here.hears("lost", within=1.1)


async def test_members_on_every_process_are_closed_when_their_room_is_deleted(
    autojump_clock: MockClock,
) -> None:
    async with open_house(nodes=3) as house:
        room = await house.repository.make_room()
        members = [await house.join(room, node) for node in range(3)]
        other = await house.join(await house.repository.make_room(), 1)
        await house.nodes[0].controller.rooms.delete_room(room, KEY)
        for member in members:
            with trio.fail_after(0.1):
                await member.closed.wait()
            assert member.close == ROOM_DELETED
        assert not other.closed.is_set()


async def test_members_of_a_deleted_room_are_closed_even_if_the_bus_lost_the_look(
    autojump_clock: MockClock,
) -> None:
    async with open_house(nodes=2) as house:
        room = await house.repository.make_room()
        member = await house.join(room, 1)
        house.nodes[0].queue.losing = True
        await house.nodes[0].controller.rooms.delete_room(room, KEY)
        with trio.fail_after(UNLIMITED.follow_interval + 0.1):
            await member.closed.wait()
        assert member.close == ROOM_DELETED


async def test_a_room_that_ends_while_its_head_is_being_read_is_ignored(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        member = await house.join(room)
        other = await house.join(await house.repository.make_room())
        step = house.repository.at_next("get_rooms", hold=True)
        house.nodes[0].misses(room)
        await step.reached.wait()
        await house.nodes[0].controller.rooms.delete_room(room, KEY)
        await member.closed.wait()
        await wait_all_tasks_blocked()
        step.release()
        await trio.sleep(1)
        assert not other.closed.is_set()


@pytest.mark.parametrize("error", [RuntimeError("a bug")])
async def test_a_follower_that_raises_is_restarted_and_looks_again(
    autojump_clock: MockClock, error: Exception
) -> None:
    async with open_house() as house:
        room, here, there = await room_with_a_remote_member(house)
        await there.says("lost")
        house.repository.at_next("get_rooms", error=error)
        house.nodes[0].misses(room)
        await here.hears("lost", within=1.1)
        assert not here.closed.is_set()
