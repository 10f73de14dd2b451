"""Stopping: members are told, every `left` is stored, and it takes a bounded time."""

from collections import Counter

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors.policy import Policy
from sharechat.domain.errors import StoppingError, UnavailableError
from sharechat.domain.outcomes import RESTARTING
from tests.harness.connection import FakeConnection
from tests.harness.house import UNLIMITED, Visit, assert_pairs, open_house
from tests.unit.conftest import Logs

STOP_TIMEOUT = UNLIMITED.stop_timeout


async def test_stopping_closes_members_stores_every_left_and_gives_back_the_lease(
    autojump_clock: MockClock,
) -> None:
    async with open_house(nodes=2) as house:
        rooms = [await house.repository.make_room() for _ in range(3)]
        visits = [await house.visit(room) for room in rooms for _ in range(20)]
        witness = await house.join(rooms[0], 1)
        await wait_all_tasks_blocked()
        leases = set(await house.repository.renew_lease(house.nodes[1].controller.lease.process_id))
        began = trio.current_time()
        await house.nodes[0].controller.stop()
        assert trio.current_time() - began < 1
        assert {visit.connection.close for visit in visits} == {RESTARTING}
        assert [len(await house.repository.get_members(room)) for room in rooms] == [1, 0, 0]
        for room in rooms:
            assert_pairs(await house.repository.log(room), all_gone=room != rooms[0])
        await house.nodes[0].over.wait()
        left = await house.repository.renew_lease(house.nodes[1].controller.lease.process_id)
        assert len(leases - set(left)) == 1
        await witness.hears(*[(await house.repository.texts(rooms[0]))[-1]])
        assert len(witness.received) == 21


@pytest.mark.parametrize(("members", "seconds"), [(100, 0.3), (1500, 3)])
async def test_stopping_spreads_the_closes_over_time(
    autojump_clock: MockClock, members: int, seconds: float
) -> None:
    """If all members were closed at once they would all come back elsewhere at once."""
    async with open_house() as house:
        visits = [await house.visit(await house.repository.make_room()) for _ in range(members)]
        await wait_all_tasks_blocked()
        times: Counter[float] = Counter()

        async def watch(visit: Visit) -> None:
            await visit.connection.closed.wait()
            times[trio.current_time()] += 1

        async with trio.open_nursery() as watching:
            for visit in visits:
                watching.start_soon(watch, visit)
            await house.stop()
        assert max(times.values()) <= 20
        assert max(times) - min(times) == pytest.approx(seconds, rel=0.2)


async def test_a_message_that_is_being_stored_when_the_process_stops_is_stored(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        member = await house.join(room)
        step = house.repository.at_next("append", hold=True)
        member.says("the last word")
        await step.reached.wait()
        house.nursery.start_soon(house.stop)
        await trio.sleep(1)
        step.release()
        await member.closed.wait()
        await house.nodes[0].over.wait()
        assert (await house.repository.texts(room))[1] == "the last word"
        assert_pairs(await house.repository.log(room))


async def test_nobody_can_join_while_the_process_is_stopping(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        controller = house.nodes[0].controller
        room = await house.repository.make_room()
        info = await controller.rooms.open_room(room)
        stuck = await house.visit(room, connection=FakeConnection())
        await wait_all_tasks_blocked()
        stuck.connection.close_held = trio.Event()
        house.nursery.start_soon(controller.stop)
        await wait_all_tasks_blocked()
        with pytest.raises(StoppingError):
            await controller.rooms.open_room(room)
        late = FakeConnection()
        with trio.fail_after(1):
            await controller.serve_room(info, late)
        assert late.close == RESTARTING
        stuck.connection.close_held.set()
        await house.nodes[0].over.wait()
        assert len(await house.repository.log(room)) == 2


async def test_members_that_are_joining_when_the_process_stops_leave_too(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        step = house.repository.at_next("append", hold=True)
        visits = [await house.visit(room) for _ in range(5)]
        await step.reached.wait()
        house.nursery.start_soon(house.stop)
        await wait_all_tasks_blocked()
        step.release()
        assert [await visit.ends() for visit in visits] == [RESTARTING] * 5
        await house.nodes[0].over.wait()
        assert_pairs(await house.repository.log(room))


@pytest.mark.parametrize("members", [0, 3])
async def test_stopping_ends_in_time_while_the_repository_is_away_and_the_lease_runs_out(
    autojump_clock: MockClock, members: int
) -> None:
    async with open_house(nodes=2) as house:
        stopping, other = house.nodes
        room = await house.repository.make_room()
        visits = [await house.visit(room) for _ in range(members)]
        await trio.sleep(1)
        house.repository.away = True
        with trio.fail_after(STOP_TIMEOUT + 0.1):
            await stopping.controller.stop()
            await stopping.over.wait()
        assert all(visit.connection.close == RESTARTING for visit in visits)
        house.repository.away = False
        assert len(await house.repository.get_members(room)) == members
        await trio.sleep(2 * UNLIMITED.lease_ttl)
        # The other process has found the lease run out, and has stored each `left`.
        assert_pairs(await house.repository.log(room))
        leases = await house.repository.renew_lease(other.controller.lease.process_id)
        assert set(leases) == {other.controller.lease.process_id}


async def test_stopping_ends_in_time_while_the_repository_hangs(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        house.repository.at_next("end_lease", hold=True)
        with trio.fail_after(STOP_TIMEOUT + 0.1):
            await house.nodes[0].controller.stop()
            await house.nodes[0].over.wait()


async def test_a_lease_that_cannot_be_given_back_is_logged_and_runs_out(
    autojump_clock: MockClock, logs: Logs
) -> None:
    async with open_house(nodes=2) as house:
        stopping, other = house.nodes
        room = await house.repository.make_room()
        await house.join(room)
        house.repository.at_next("end_lease", error=UnavailableError("away"))
        await stopping.controller.stop()
        await stopping.over.wait()
        assert_pairs(await house.repository.log(room))
        assert "lease could not be given back" in [log["event"] for log in logs]
        mine, its = other.controller.lease.process_id, stopping.controller.lease.process_id
        assert set(await house.repository.renew_lease(mine)) == {mine, its}
        await trio.sleep(2 * UNLIMITED.lease_ttl)
        assert set(await house.repository.renew_lease(mine)) == {mine}


async def test_stopping_ends_in_time_even_if_a_connection_does_not_close(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        held = FakeConnection()
        visit = await house.visit(room, connection=held)
        other = await house.join(room)
        held.close_held = trio.Event()
        with trio.fail_after(STOP_TIMEOUT + 0.1):
            await house.nodes[0].controller.stop()
            await house.nodes[0].over.wait()
        assert other.close == RESTARTING
        assert not visit.over.is_set()
        assert_pairs(await house.repository.log(room))
        held.close_held.set()
        assert await visit.ends() == RESTARTING


async def test_cancelling_stop_ends_the_process_immediately(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        visit = await house.visit(room)
        await wait_all_tasks_blocked()
        house.repository.away = True
        began = trio.current_time()
        with trio.move_on_after(1):
            await house.nodes[0].controller.stop()
        await house.nodes[0].over.wait()
        assert trio.current_time() - began == 1
        assert await visit.ends() == RESTARTING


async def test_stop_can_be_called_more_than_once(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        await house.join(room)
        async with trio.open_nursery() as both:
            both.start_soon(house.nodes[0].controller.stop)
            both.start_soon(house.nodes[0].controller.stop)
        await house.nodes[0].controller.stop()
        await house.nodes[0].over.wait()
        assert_pairs(await house.repository.log(room))


async def test_stop_returns_if_run_is_cancelled_meanwhile(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=Policy(stop_timeout=3)) as house:
        room = await house.repository.make_room()
        visit = await house.visit(room)
        await wait_all_tasks_blocked()
        house.repository.away = True
        house.nursery.start_soon(house.nodes[0].controller.stop)
        await trio.sleep(1)
        house.nodes[0].scope.cancel()
        await house.nodes[0].over.wait()
        await visit.ends()
        await trio.sleep(3)
        await house.nodes[0].controller.stop()
