"""The janitor: clears up after dead processes, lost members and abandoned rooms."""

import pytest
import trio
from trio.testing import MockClock

from sharechat.actors.policy import Policy
from sharechat.domain.errors import UnavailableError
from sharechat.domain.messages import MessageType
from tests.harness.house import UNLIMITED, RemoteMember, assert_pairs, open_house
from tests.harness.repositories import get_head
from tests.harness.waiting import until

TTL = UNLIMITED.lease_ttl


async def test_members_of_a_dead_process_leave_once_and_not_before_its_lease_runs_out(
    autojump_clock: MockClock,
) -> None:
    async with open_house(nodes=3) as house:
        room = await house.repository.make_room()
        doomed = [await house.join(room, 0) for _ in range(3)]
        witness = await house.join(room, 1)
        other = await house.join(room, 2)
        await trio.sleep(1)
        house.nodes[0].scope.cancel()  # Killed: it stores nothing more.
        await house.nodes[0].over.wait()
        await trio.sleep(TTL - UNLIMITED.lease_interval - 0.1)
        assert len(await house.repository.get_members(room)) == 5
        await until(lambda: witness.texts[-1].endswith("left the room."), within=10)
        await trio.sleep(30)
        log = await house.repository.log(room)
        lefts = {m.member_id for m in log if m.type is MessageType.LEFT}
        assert lefts == {member.received[0].member_id for member in doomed}
        assert_pairs(log, all_gone=False)
        assert witness.received[-1] == other.received[-1] == log[-1]


async def test_a_member_of_a_process_without_a_lease_leaves(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        here = await house.join(room)
        there = RemoteMember(house.repository, room)
        await there.joins()
        await house.repository.end_lease(there.process_id)
        await here.hears("Fox left the room.", within=UNLIMITED.lease_interval + 0.1)


async def test_members_of_a_process_that_renews_just_in_time_stay(
    autojump_clock: MockClock,
) -> None:
    async with open_house(nodes=2) as house:
        room = await house.repository.make_room()
        slow = RemoteMember(house.repository, room)
        await slow.joins()
        steps = [house.repository.at_next("end_lease", hold=True) for _ in range(2)]
        for step in steps:
            await step.reached.wait()  # Both processes take it for dead.
        await house.repository.renew_lease(slow.process_id)
        for step in steps:
            step.release()
        await trio.sleep(TTL - 1)
        assert await house.repository.get_members(room) == [slow.member]


async def test_a_member_that_is_stored_but_not_connected_leaves(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        here = await house.join(room)
        ghost = RemoteMember(house.repository, room)
        ghost.process_id = house.nodes[0].controller.lease.process_id
        await ghost.joins()
        await here.hears("Fox left the room.", within=UNLIMITED.reconcile_interval + 3)
        await trio.sleep(2 * UNLIMITED.reconcile_interval)
        assert not here.closed.is_set()
        log = await house.repository.log(room)
        assert [m.type.value for m in log] == ["joined", "joined", "left"]


async def test_a_member_that_joins_while_the_stored_members_are_read_stays(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        step = house.repository.at_next("get_members_of", hold=True)
        await step.reached.wait()
        member = await house.join(room)
        step.release()
        await trio.sleep(UNLIMITED.lease_interval)
        assert not member.closed.is_set()
        assert len(await house.repository.get_members(room)) == 1


async def test_a_room_that_stays_empty_is_removed(autojump_clock: MockClock) -> None:
    async with open_house(policy=Policy(room_ttl=0)) as house:
        room = await house.repository.make_room()
        await trio.sleep(5)
        assert not await house.repository.get_rooms([room])
        assert room in house.nodes[0].queue.looks


async def test_a_room_that_nobody_ever_joined_goes_before_one_that_is_empty_again(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=Policy(unjoined_ttl=0)) as house:
        await trio.sleep(1)  # It has just cleared up, and will in a minute.
        unjoined, deserted = [await house.repository.make_room() for _ in range(2)]
        visit = await house.visit(deserted)
        visit.connection.hangs_up()
        await visit.ends()
        await trio.sleep(65)
        assert not await house.repository.get_rooms([unjoined])
        assert await get_head(house.repository, deserted) == 2
        assert house.nodes[0].queue.looks == [unjoined]


async def test_a_room_with_a_member_is_never_removed_as_stale(autojump_clock: MockClock) -> None:
    async with open_house(policy=Policy(room_ttl=0, lease_interval=10_000)) as house:
        await trio.sleep(1)
        room = await house.repository.make_room()
        member = await house.join(room)
        assert await house.repository.remove_stale_rooms(0) == []
        assert not member.closed.is_set()


@pytest.mark.parametrize(
    "method",
    ["renew_lease", "get_orphans", "get_members_of", "remove_stale_rooms", "end_lease"],
)
@pytest.mark.parametrize("error", [RuntimeError("a bug"), UnavailableError("away")])
async def test_members_of_a_dead_process_leave_even_if_any_one_call_fails(
    autojump_clock: MockClock, method: str, error: Exception
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        here = await house.join(room)
        there = RemoteMember(house.repository, room)
        await there.joins()
        house.repository.at_next(method, error=error)
        house.repository.at_next(method, error=error)
        await here.hears("Fox left the room.", within=120)
        assert not here.closed.is_set()
