"""The follower: whatever the bus loses, the rooms of this process stay level with the log."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors.policy import Policy
from sharechat.domain.ids import RoomId
from sharechat.domain.outcomes import ROOM_DELETED
from tests.harness.connection import FakeConnection
from tests.harness.house import UNLIMITED, Elsewhere, House, open_house
from tests.harness.repository import KEY

LINGERING = Policy(message_rate=0, room_linger=10_000)


async def heard_nothing(house: House) -> tuple[RoomId, FakeConnection, Elsewhere]:
    """Return a member here and one elsewhere, of whom the bus has told nothing."""
    room = await house.repository.make_room()
    here = await house.join(room)
    await trio.sleep(0.1)
    there = Elsewhere(house.repository, room)
    await there.joins()
    return room, here, there


async def test_what_the_bus_lost_is_found_within_seconds(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        _, here, there = await heard_nothing(house)
        await there.says("lost")
        await here.hears("lost", within=UNLIMITED.follow_interval)


async def test_the_same_within_a_second_while_the_bus_is_known_to_be_away(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        _, here, there = await heard_nothing(house)
        house.nodes[0].queue.away = True
        await trio.sleep(UNLIMITED.follow_interval)
        for n in range(5):
            await there.says(f"lost {n}")
            await here.hears(f"lost {n}", within=UNLIMITED.follow_interval_unwell + 0.01)


async def test_a_room_that_may_have_missed_something_is_looked_at_at_once(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room, here, there = await heard_nothing(house)
        await there.says("lost")
        house.nodes[0].misses(room)
        await here.hears("lost", within=0.1)


async def test_one_query_asks_about_all_rooms(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        rooms = [await house.repository.make_room() for _ in range(20)]
        heres = [await house.join(room) for room in rooms]
        await trio.sleep(6)
        house.repository.calls.clear()
        theres = [Elsewhere(house.repository, room) for room in rooms]
        for there in theres:
            await there.joins()
        for here in heres:
            await here.hears("Fox joined the room.", within=6)
        assert house.repository.calls["get_heads"] <= 2


async def test_rooms_that_keep_missing_things_do_not_put_off_the_look_at_all(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        _, here, there = await heard_nothing(house)
        busy = await house.repository.make_room()
        await house.join(busy)
        await there.says("lost")

        async def miss() -> None:
            while True:
                house.nodes[0].misses(busy)
                await trio.sleep(1)

        house.nursery.start_soon(miss)
        await here.hears("lost", within=UNLIMITED.follow_interval + 1)


async def test_words_about_rooms_that_are_not_here_are_nothing(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        _, here, there = await heard_nothing(house)
        elsewhere = await house.repository.make_room()
        house.repository.calls.clear()
        house.nodes[0].misses(elsewhere)
        house.nodes[0].hears(elsewhere, *(await there.says("not for that room")))
        await trio.sleep(0.1)
        assert not house.repository.calls["get_heads"]
        assert not here.closed.is_set()


async def test_it_asks_again_while_the_repository_is_away(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room, here, there = await heard_nothing(house)
        await there.says("lost")
        house.repository.away = True
        house.nodes[0].misses(room)
        await trio.sleep(60)
        assert house.repository.calls["get_heads"] < 70
        house.repository.away = False
        await here.hears("lost", within=1.1)


async def test_a_room_that_is_gone_ends_its_members_wherever_they_are(
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


async def test_and_so_it_does_if_the_word_of_it_was_lost(autojump_clock: MockClock) -> None:
    async with open_house(nodes=2) as house:
        room = await house.repository.make_room()
        member = await house.join(room, 1)
        house.nodes[0].queue.losing = True
        await house.nodes[0].controller.rooms.delete_room(room, KEY)
        with trio.fail_after(UNLIMITED.follow_interval + 0.1):
            await member.closed.wait()
        assert member.close == ROOM_DELETED


async def test_a_room_that_ends_while_the_heads_are_asked_for_is_left_alone(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        member = await house.join(room)
        other = await house.join(await house.repository.make_room())
        step = house.repository.at_next("get_heads", hold=True)
        house.nodes[0].misses(room)
        await step.reached.wait()
        await house.nodes[0].controller.rooms.delete_room(room, KEY)
        await member.closed.wait()
        await wait_all_tasks_blocked()
        step.release()
        await trio.sleep(1)
        assert not other.closed.is_set()


@pytest.mark.parametrize("error", [RuntimeError("a bug")])
async def test_a_follower_that_raises_is_started_again_and_looks_again(
    autojump_clock: MockClock, error: Exception
) -> None:
    async with open_house() as house:
        room, here, there = await heard_nothing(house)
        await there.says("lost")
        house.repository.at_next("get_heads", error=error)
        house.nodes[0].misses(room)
        await here.hears("lost", within=1.1)
        assert not here.closed.is_set()
