"""Races: two things happen at the same moment, which each test brings about on purpose."""

import gc
import weakref

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors.policy import Policy
from sharechat.domain.ids import RoomId
from sharechat.domain.outcomes import RESTARTING, ROOM_DELETED
from tests.harness.connection import FakeConnection
from tests.harness.house import UNLIMITED, House, Visit, assert_pairs, open_house
from tests.harness.repository import KEY
from tests.harness.waiting import until

LINGER = UNLIMITED.room_linger


async def visit_at_once(house: House, room: RoomId, count: int, node: int = 0) -> list[Visit]:
    """Start visits that have all opened the room before any of them joins."""
    info = await house.nodes[node].controller.rooms.open_room(room)
    visits = [Visit(FakeConnection()) for _ in range(count)]
    for visit in visits:
        house.nursery.start_soon(house.nodes[node].serve, visit, info)
    return visits


@pytest.mark.parametrize("repeat", range(5))
async def test_two_first_joins_start_one_room(autojump_clock: MockClock, repeat: int) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        one, two = await visit_at_once(house, room, 2)
        one.connection.says("from one")
        two.connection.says("from two")
        for visit in (one, two):
            await visit.connection.hears("from one" if visit is two else "from two")
        log = await house.repository.log(room)
        firsts = [visit.connection.received[0].id for visit in (one, two)]
        starts = [[m.id for m in log].index(id_) for id_ in firsts]
        for visit, start in zip((one, two), starts, strict=True):
            assert visit.connection.received == log[start:]
        assert min(starts) == 0
        assert house.nodes[0].queue.rooms == {room}
        await house.stop()
        assert house.nodes[0].queue.rooms == set()


async def test_members_that_join_on_two_processes_at_once_hear_each_other(
    autojump_clock: MockClock,
) -> None:
    async with open_house(nodes=2) as house:
        room = await house.repository.make_room()
        here = await visit_at_once(house, room, 3, node=0)
        there = await visit_at_once(house, room, 3, node=1)
        await until(lambda: all(v.connection.received for v in here + there))
        here[0].connection.says("hello")
        for visit in here + there:
            await visit.connection.hears("hello")
        log = await house.repository.log(room)
        for visit in here + there:
            received = visit.connection.received
            assert received == log[len(log) - len(received) :]


async def let_room_linger(house: House, room: RoomId) -> None:
    """Make a member join and leave, and wait until 1 ms before its room ends."""
    visit = await house.visit(room)
    visit.connection.says("before")
    await visit.connection.hears("before")
    visit.connection.hangs_up()
    await visit.ends()
    await wait_all_tasks_blocked()
    await trio.sleep(LINGER - 0.001)


async def test_a_member_that_joins_just_after_the_room_was_cancelled_gets_a_new_room(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        await let_room_linger(house, room)
        node = house.nodes[0]
        info = await node.controller.rooms.open_room(room)
        one, two = Visit(FakeConnection()), Visit(FakeConnection())

        async def cancel_and_serve() -> None:
            # This cancels the actor as its deadline would, and the join follows in the same step.
            node.controller.rooms.evict(room)
            await node.serve(one, info)

        house.nursery.start_soon(cancel_and_serve)
        await until(lambda: bool(one.connection.received))
        assert node.queue.rooms == {room}  # The old actor did not unsubscribe the new one.
        house.nursery.start_soon(node.serve, two, info)
        await until(lambda: bool(two.connection.received))
        await trio.sleep(2 * LINGER)
        two.connection.says("after")
        for visit in (one, two):
            await visit.connection.hears("after")
            assert not visit.connection.closed.is_set()
        await house.stop()
        assert_pairs(await house.repository.log(room))


@pytest.mark.parametrize("steps", range(12))
async def test_a_member_can_join_at_any_moment_around_the_end_of_its_room(
    autojump_clock: MockClock, steps: int
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        await let_room_linger(house, room)
        info = await house.nodes[0].controller.rooms.open_room(room)
        await trio.sleep(0.001)  # Until exactly the deadline.
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        visit = Visit(FakeConnection())
        house.nursery.start_soon(house.nodes[0].serve, visit, info)
        await until(lambda: bool(visit.connection.received))
        await trio.sleep(2 * LINGER)
        visit.connection.says("after")
        await visit.connection.hears("after")
        assert not visit.connection.closed.is_set()
        await house.stop()
        assert_pairs(await house.repository.log(room))


@pytest.mark.parametrize("steps", range(12))
async def test_a_member_can_leave_at_any_moment_of_a_delivery(
    autojump_clock: MockClock, steps: int
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        leaver = await house.visit(room, connection=FakeConnection(slow=steps % 2 == 0))
        stayers = [await house.join(room) for _ in range(3)]
        step = house.repository.at_next("append", hold=True)
        stayers[0].says(*(str(n) for n in range(10)))
        await step.reached.wait()
        step.release()
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        leaver.connection.hangs_up()
        await leaver.ends()
        for stayer in stayers:
            await stayer.hears("9")
            await until(lambda s=stayer: any("left" in text for text in s.texts))  # type: ignore[misc]
        log = await house.repository.log(room)
        for n, stayer in enumerate(stayers):
            assert stayer.received == log[n + 1 :]
        assert leaver.connection.received == log[: len(leaver.connection.received)]


async def test_members_can_be_cancelled_between_two_slices_of_a_delivery(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        many = [await house.visit(room) for _ in range(300)]
        await until(lambda: all(visit.connection.received for visit in many))
        step = house.repository.at_next("append", hold=True)
        many[0].connection.says("hello")
        await step.reached.wait()
        step.release()
        with trio.fail_after(10):
            while not any("hello" in v.connection.texts for v in many):
                await trio.lowlevel.checkpoint()
        for visit in many[::2]:
            visit.scope.cancel()
        for visit in many[1::2]:
            await visit.connection.hears("hello")
        await house.stop()
        assert_pairs(await house.repository.log(room))


async def test_a_room_that_is_deleted_while_members_join_closes_them_all(
    autojump_clock: MockClock,
) -> None:
    async with open_house(nodes=2) as house:
        room = await house.repository.make_room()
        first = await house.visit(room)
        await wait_all_tasks_blocked()
        visits = await visit_at_once(house, room, 3)
        await house.nodes[1].controller.rooms.delete_room(room, KEY)
        for visit in [first, *visits]:
            assert await visit.ends() == ROOM_DELETED
        await trio.sleep(LINGER + 1)
        assert house.nodes[0].queue.rooms == set()


async def test_a_member_that_joins_after_its_room_was_evicted_is_told_that_it_was_deleted(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        await house.join(room)
        info = await house.nodes[0].controller.rooms.open_room(room)
        await house.nodes[0].controller.rooms.delete_room(room, KEY)
        visit = Visit(FakeConnection())
        house.nursery.start_soon(house.nodes[0].serve, visit, info)
        assert await visit.ends() == ROOM_DELETED


async def test_a_member_that_joins_while_the_lease_is_lost_is_told_to_reconnect(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        member = await house.visit(room)
        await wait_all_tasks_blocked()
        lease = house.nodes[0].controller.lease
        opened = house.repository.at_next("open_lease", hold=True)
        await house.repository.end_lease(lease.process_id)
        await opened.reached.wait()  # Members have been closed; the new lease is not open yet.
        assert await member.ends() == RESTARTING
        late = await house.visit(room)
        assert await late.ends() == RESTARTING
        opened.release()
        again = await house.join(room)
        await trio.sleep(60)
        assert not again.closed.is_set()
        await house.stop()
        assert_pairs(await house.repository.log(room))


async def test_a_room_forgets_a_member_whose_joined_was_never_stored(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=Policy(message_rate=0, follow_interval=10_000)) as house:
        room = await house.repository.make_room()
        member = await house.join(room)
        house.repository.away = True
        connection = FakeConnection()
        kept = weakref.ref(connection)
        visit = await visit_while_away(house, room, connection)
        await visit.ends()
        house.repository.away = False
        member.says("hello")
        await member.hears("hello")
        house.nodes[0].visits.clear()
        del visit, connection
        await wait_all_tasks_blocked()
        gc.collect()
        assert kept() is None


async def visit_while_away(house: House, room: RoomId, connection: FakeConnection) -> Visit:
    house.repository.away = False
    visit = await house.visit(room, connection=connection)
    house.repository.away = True
    return visit
