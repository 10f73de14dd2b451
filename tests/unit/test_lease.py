"""The lease: how a process keeps it, and what happens when it is lost or the Repository is away."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.domain.errors import LeaseLostError, UnavailableError
from sharechat.domain.outcomes import RESTARTING
from tests.harness.house import UNLIMITED, RemoteMember, assert_pairs, open_house

TTL = UNLIMITED.lease_ttl


async def test_a_process_that_lost_its_lease_closes_its_members_and_starts_afresh(
    autojump_clock: MockClock,
) -> None:
    async with open_house(nodes=2) as house:
        room = await house.repository.make_room()
        lost = await house.visit(room, 0)
        witness = await house.join(room, 1)
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


async def test_opening_a_new_lease_is_retried(autojump_clock: MockClock) -> None:
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


async def test_a_renewal_that_hung_is_followed_by_the_next_one_at_once(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        step = house.repository.at_next("renew_lease", hold=True, error=UnavailableError("away"))
        await step.reached.wait()
        await trio.sleep(2 * UNLIMITED.lease_interval)
        following = house.repository.at_next("renew_lease")
        step.release()
        with trio.fail_after(0.1):
            await following.reached.wait()


async def test_a_renewal_that_fails_at_once_is_followed_by_the_next_one_after_the_interval(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        house.repository.away = True
        await trio.sleep(UNLIMITED.lease_interval)
        house.repository.calls.clear()
        await trio.sleep(10 * UNLIMITED.lease_interval)
        assert 9 <= house.repository.calls["renew_lease"] <= 11


async def test_an_intermittent_outage_makes_nobody_leave(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        here = await house.join(room)
        there = RemoteMember(house.repository, room)
        await there.joins()
        await trio.sleep(1)
        # Every second renewal fails. By the clock alone the gaps are too short to be noticed,
        # and the other process may have the same trouble.
        for _ in range(10):
            house.repository.at_next("renew_lease")
            house.repository.at_next("renew_lease", error=UnavailableError("away"))
        await trio.sleep(19 * UNLIMITED.lease_interval)
        assert there.member in await house.repository.get_members(room)
        await here.hears("Fox left the room.", within=2 * TTL)


@pytest.mark.parametrize("length", [0.7 * TTL, 60])
async def test_a_process_that_was_frozen_declares_nobody_dead(
    autojump_clock: MockClock, length: float
) -> None:
    async with open_house(nodes=2) as house:
        room = await house.repository.make_room()
        members = [await house.join(room, node) for node in range(2)]
        await trio.sleep(3)
        # Both are frozen, as on a laptop that sleeps. One wakes up first.
        steps = [house.repository.at_next("renew_lease", hold=True) for _ in range(2)]
        for step in steps:
            await step.reached.wait()
        await trio.sleep(length)
        steps[0].release()
        await trio.sleep(3)
        steps[1].release()
        await trio.sleep(60)
        assert not any(member.closed.is_set() for member in members)
        assert len(await house.repository.log(room)) == 2


async def test_a_process_that_seemed_dead_before_an_outage_has_the_whole_ttl_after_it(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        here = await house.join(room)
        there = RemoteMember(house.repository, room)
        await there.joins()
        # It is declared dead just when the outage begins.
        declared = house.repository.at_next("end_lease", hold=True, error=UnavailableError("away"))
        await declared.reached.wait()
        house.repository.at_next("renew_lease", error=UnavailableError("away"))
        renewal = house.repository.at_next("renew_lease", hold=True)
        await renewal.reached.wait()
        declared.release()
        await trio.sleep(2 * UNLIMITED.lease_interval)  # The janitor works again.
        renewal.release()
        await trio.sleep(TTL - 0.1)
        assert there.member in await house.repository.get_members(room)
        await here.hears("Fox left the room.", within=TTL)


async def test_a_process_never_takes_itself_for_dead(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        member = await house.join(room)
        process_id = house.nodes[0].controller.lease.process_id

        house.repository.stale_renewals = {process_id: 1}
        await trio.sleep(60)
        assert not member.closed.is_set()
        assert not house.repository.calls["end_lease"]


async def test_a_renewal_that_finds_the_lease_lost_does_not_end_the_process(
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


async def test_the_lease_is_given_back_once_every_left_is_stored(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        visits = [await house.visit(room) for _ in range(3)]
        await wait_all_tasks_blocked()
        commit = house.repository.at_next("append", hold=True)
        house.nursery.start_soon(house.nodes[0].controller.stop)
        await commit.reached.wait()
        for visit in visits:
            await visit.ends()
        await trio.sleep(1)
        assert "end_lease" not in house.repository.calls
        commit.release()
        await house.nodes[0].over.wait()
        assert house.repository.calls["end_lease"] == 1
        assert_pairs(await house.repository.log(room))
