"""The janitor: leases, the members of the dead, old rooms; and whom an outage must not hurt."""

import pytest
import trio
from trio.testing import MockClock

from sharechat.actors.policy import Policy
from sharechat.domain.errors import LeaseLostError, RoomNotFoundError, UnavailableError
from sharechat.domain.ids import ProcessId
from sharechat.domain.messages import MessageType
from sharechat.domain.outcomes import RESTARTING
from tests.harness.house import UNLIMITED, Elsewhere, assert_pairs, open_house
from tests.harness.waiting import until

TTL = UNLIMITED.lease_ttl


async def test_members_of_a_process_that_died_leave_once_after_its_lease_and_not_before(
    autojump_clock: MockClock,
) -> None:
    async with open_house(nodes=3) as house:
        room = await house.repository.make_room()
        doomed = [await house.join(room, 0) for _ in range(3)]
        witness = await house.join(room, 1)
        other = await house.join(room, 2)
        await trio.sleep(1)
        house.nodes[0].scope.cancel()  # as if killed: nothing is stored any more
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


async def test_one_who_was_stored_through_an_unknown_process_leaves(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        here = await house.join(room)
        there = Elsewhere(house.repository, room)
        await there.joins()
        await house.repository.end_lease(there.process_id)
        await here.hears("Fox left the room.", within=UNLIMITED.lease_interval + 0.1)


async def test_a_process_that_renews_just_in_time_stays(autojump_clock: MockClock) -> None:
    async with open_house(nodes=2) as house:
        room = await house.repository.make_room()
        slow = Elsewhere(house.repository, room)
        await slow.joins()
        steps = [house.repository.at_next("end_lease", hold=True) for _ in range(2)]
        for step in steps:
            await step.reached.wait()  # both take it for dead
        await house.repository.renew_lease(slow.process_id)
        for step in steps:
            step.release()
        await trio.sleep(TTL - 1)
        assert await house.repository.get_members(room) == [slow.member]


async def test_who_lost_its_lease_closes_its_members_and_starts_afresh(
    autojump_clock: MockClock,
) -> None:
    async with open_house(nodes=2) as house:
        room = await house.repository.make_room()
        lost = await house.visit(room, 0)
        witness = await house.join(room, 1)
        await witness.hears()
        lease = house.nodes[0].controller.lease
        before = lease.process_id
        await house.repository.end_lease(before)
        assert await lost.ends(within=UNLIMITED.lease_interval + 0.1) == RESTARTING
        assert lease.process_id != before
        again = await house.join(room, 0)
        again.says("back again")
        await witness.hears("back again")
        await trio.sleep(30)
        assert not again.closed.is_set()
        await house.stop()
        assert_pairs(await house.repository.log(room))


async def test_it_goes_on_trying_to_open_a_new_lease(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        house.repository.at_next("open_lease", error=UnavailableError("away"))
        await house.repository.end_lease(house.nodes[0].controller.lease.process_id)
        await trio.sleep(2 * UNLIMITED.lease_interval + 0.1)
        again = await house.join(room)
        assert not again.closed.is_set()


@pytest.mark.parametrize("length", [4, 11, 300])
async def test_an_outage_makes_nobody_leave(autojump_clock: MockClock, length: float) -> None:
    async with open_house(nodes=3) as house:
        room = await house.repository.make_room()
        members = [await house.join(room, node) for node in range(3)]
        await trio.sleep(3)
        house.repository.away = True
        await trio.sleep(length)
        house.repository.away = False
        await trio.sleep(60)
        assert not any(member.closed.is_set() for member in members)
        assert len(await house.repository.log(room)) == 3
        members[0].says("all here")
        for member in members:
            await member.hears("all here")


async def test_an_outage_that_comes_and_goes_makes_nobody_leave(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        here = await house.join(room)
        there = Elsewhere(house.repository, room)
        await there.joins()
        await trio.sleep(1)
        # Every second renewal fails: too short a gap to be noticed by the clock alone, and
        # the other process may have as much trouble.
        for _ in range(10):
            house.repository.at_next("renew_lease")
            house.repository.at_next("renew_lease", error=UnavailableError("away"))
        await trio.sleep(19 * UNLIMITED.lease_interval)
        assert there.member in await house.repository.get_members(room)
        await here.hears("Fox left the room.", within=2 * TTL)


async def test_an_observer_that_was_frozen_kills_nobody(autojump_clock: MockClock) -> None:
    async with open_house(nodes=2) as house:
        room = await house.repository.make_room()
        member = await house.join(room, 0)
        await trio.sleep(3)
        # Both are frozen for a minute, as on a laptop that sleeps; one wakes up first.
        steps = [house.repository.at_next("renew_lease", hold=True) for _ in range(2)]
        for step in steps:
            await step.reached.wait()
        await trio.sleep(60)
        steps[0].release()
        await trio.sleep(3)
        steps[1].release()
        await trio.sleep(60)
        assert not member.closed.is_set()
        assert len(await house.repository.log(room)) == 1


async def test_a_member_that_is_stored_but_not_here_leaves(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        here = await house.join(room)
        ghost = Elsewhere(house.repository, room)
        ghost.process_id = house.nodes[0].controller.lease.process_id
        await ghost.joins()
        await here.hears("Fox left the room.", within=UNLIMITED.reconcile_interval + 3)
        await trio.sleep(2 * UNLIMITED.reconcile_interval)
        assert not here.closed.is_set()
        log = await house.repository.log(room)
        assert [m.type.value for m in log] == ["joined", "joined", "left"]


async def test_rooms_that_nobody_has_been_in_for_long_are_removed(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=Policy(room_ttl=0)) as house:
        room = await house.repository.make_room()
        await trio.sleep(5)
        with pytest.raises(RoomNotFoundError):
            await house.repository.get_room(room)
        assert room in house.nodes[0].queue.looks


async def test_a_room_that_somebody_is_in_is_never_too_old(autojump_clock: MockClock) -> None:
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
async def test_a_janitor_that_fails_anywhere_does_its_work_all_the_same(
    autojump_clock: MockClock, method: str, error: Exception
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        here = await house.join(room)
        there = Elsewhere(house.repository, room)
        await there.joins()
        house.repository.at_next(method, error=error)
        house.repository.at_next(method, error=error)
        await here.hears("Fox left the room.", within=120)
        assert not here.closed.is_set()


async def test_nobody_takes_itself_for_dead(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        member = await house.join(room)
        process_id = house.nodes[0].controller.lease.process_id

        async def show_the_same(_: ProcessId) -> dict[ProcessId, int]:
            await trio.lowlevel.checkpoint()
            return {process_id: 1}  # as from a replica that has fallen behind

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(house.repository, "renew_lease", show_the_same)
            await trio.sleep(60)
        assert not member.closed.is_set()
        assert not house.repository.calls["end_lease"]


async def test_giving_the_lease_back_while_it_renews_is_no_end_of_the_world(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        house.repository.at_next("renew_lease", error=LeaseLostError())
        await trio.sleep(10)
        assert not house.nodes[0].over.is_set()


async def test_a_lease_that_was_given_back_is_not_opened_again(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        lease = house.nodes[0].controller.lease
        given_back = lease.process_id
        await lease.close()
        await trio.sleep(3 * UNLIMITED.lease_interval)
        assert lease.process_id == given_back
        with pytest.raises(LeaseLostError):
            await house.repository.renew_lease(given_back)
