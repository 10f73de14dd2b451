"""Members come in a few at a time, so that thousands who come at once do not wait in vain."""

from dataclasses import replace

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors.arrivals import Arrival, Arrivals
from sharechat.domain.ids import RoomId
from tests.harness.connection import FakeConnection
from tests.harness.house import UNLIMITED, Node, open_house

TWO = replace(UNLIMITED, arrivals_at_once=2)


async def test_only_so_many_come_in_at_a_time_and_in_order(autojump_clock: MockClock) -> None:
    arrivals = Arrivals(TWO)
    let_in: list[tuple[int, Arrival]] = []

    async def come(number: int) -> None:
        let_in.append((number, await arrivals.wait()))

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(come, number)
            await wait_all_tasks_blocked()
        assert [number for number, _ in let_in] == [0, 1]
        let_in[1][1].end()
        let_in[1][1].end()
        await wait_all_tasks_blocked()
        assert [number for number, _ in let_in] == [0, 1, 2]
        for number in (0, 2):
            let_in[number][1].end()
            await wait_all_tasks_blocked()
    assert [number for number, _ in let_in] == [0, 1, 2, 3, 4]


async def test_a_turn_that_lasts_too_long_is_ended_while_others_wait(
    autojump_clock: MockClock,
) -> None:
    arrivals = Arrivals(TWO)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(arrivals.run)
        first, _ = await arrivals.wait(), await arrivals.wait()
        await trio.sleep(10 * TWO.longest_arrival)
        for _ in range(2):
            with trio.fail_after(TWO.longest_arrival / 2):
                await arrivals.wait()
        for _ in range(2):
            with trio.fail_after(1.3 * TWO.longest_arrival):
                await arrivals.wait()
        # What ended by itself is not given back twice.
        first.end()
        with trio.move_on_after(TWO.longest_arrival / 2) as too_soon:
            await arrivals.wait()
        assert too_soon.cancelled_caught
        nursery.cancel_scope.cancel()


async def test_whoever_gives_up_waiting_takes_no_turn(autojump_clock: MockClock) -> None:
    arrivals = Arrivals(TWO)
    first, _ = await arrivals.wait(), await arrivals.wait()
    with trio.move_on_after(1):
        await arrivals.wait()
    first.end()
    with trio.fail_after(0):
        await arrivals.wait()


class Arriving:
    """A client that arrives; `arrived` is set once it is in or will not be."""

    def __init__(self) -> None:
        self.connection = FakeConnection()
        self.arrived = trio.Event()

    async def run(self, node: Node, room: RoomId, after: int | None = None) -> None:
        info = await node.controller.rooms.open_room(room)
        await node.controller.serve_room(
            info, self.connection, after=after, arrived=self.arrived.set
        )


async def test_a_member_is_in_once_its_joined_is_stored(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        step = house.repository.at_next("append", hold=True)
        arriving = Arriving()
        house.nursery.start_soon(arriving.run, house.nodes[0], room)
        await step.reached.wait()
        await wait_all_tasks_blocked()
        assert not arriving.arrived.is_set()
        step.release()
        await arriving.arrived.wait()
        await wait_all_tasks_blocked()
        assert arriving.connection.received


async def test_a_member_who_comes_back_is_in_once_what_it_missed_has_been_read(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        other = await house.join(room)
        other.says("missed")
        await other.hears("missed")
        step = house.repository.at_next("read", hold=True)
        arriving = Arriving()
        arriving.connection.stalls()
        house.nursery.start_soon(arriving.run, house.nodes[0], room, 0)
        await step.reached.wait()
        await wait_all_tasks_blocked()
        assert not arriving.arrived.is_set()
        step.release()
        await arriving.arrived.wait()


async def test_a_member_who_cannot_join_gives_back_its_turn(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        house.repository.at_next("append", hold=True)
        arriving = Arriving()
        house.nursery.start_soon(arriving.run, house.nodes[0], room)
        with trio.fail_after(UNLIMITED.store_timeout + 1):
            await arriving.arrived.wait()
        await arriving.connection.closed.wait()
