"""A life cut off at each of its steps, in every way: one `left` for each `joined`, no rest."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors.policy import Policy
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Message
from tests.harness.connection import FakeConnection
from tests.harness.house import House, Visit, assert_pairs, open_house
from tests.harness.repository import KEY

POLICY = Policy(message_rate=0, read_limit=2)


class AtStep(trio.abc.Instrument):
    """Calls something before the n-th step that any task takes from now on."""

    def __init__(self, n: int, call: Callable[[], object]) -> None:
        self.left = n
        self.called = False
        self._call = call

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.called:
            return
        self.left -= 1
        if self.left < 0:
            self.called = True
            self._call()


async def life(client: FakeConnection, other: FakeConnection) -> None:
    """Let a client that has just come talk, be refused, be slow, listen and go."""
    client.says("mine", "a NUL: \0")
    await wait_all_tasks_blocked()
    client.stalls()
    other.says("theirs 1", "theirs 2")
    await wait_all_tasks_blocked()
    client.reads_on()
    await wait_all_tasks_blocked()
    client.hangs_up()
    await wait_all_tasks_blocked()


Cut = Callable[[House, RoomId, Visit], Awaitable[None]]


async def cancel_it(house: House, room: RoomId, visit: Visit) -> None:
    visit.scope.cancel()


async def stop(house: House, room: RoomId, visit: Visit) -> None:
    await house.nodes[0].controller.stop()


async def delete(house: House, room: RoomId, visit: Visit) -> None:
    await house.nodes[1].controller.rooms.delete_room(room, KEY)


async def fail(house: House, room: RoomId, visit: Visit) -> None:
    if room in house.nodes[0].controller.rooms.ids:
        house.repository.at_next("read", error=RuntimeError("a bug"))
        house.nodes[0].controller.rooms.expect(room, 1000)


async def kill(house: House, room: RoomId, visit: Visit) -> None:
    house.nodes[0].scope.cancel()


async def lose_the_lease(house: House, room: RoomId, visit: Visit) -> None:
    await house.repository.end_lease(house.nodes[0].controller.lease.process_id)


async def go_away_for_a_while(house: House, room: RoomId, visit: Visit) -> None:
    house.repository.away = True
    await trio.sleep(7)
    house.repository.away = False


# Each with how long it takes until all that follows from it is done.
CUTS: list[tuple[Cut, float]] = [
    (cancel_it, 0.1),
    (stop, 0.1),
    (delete, 0.1),
    (fail, 0.1),
    (kill, 15),
    (lose_the_lease, 5),
    (go_away_for_a_while, 15),
]


def stored(connection: FakeConnection) -> list[Message]:
    return [message for message in connection.received if message.type != "failed"]


async def cut_at(n: int, cut: Cut, after: int | None, slow: bool, settles: float) -> bool:
    """Run a life with a cut at its n-th step; return whether it got that far."""
    async with open_house(nodes=2, policy=POLICY) as house:
        here, there = house.nodes
        room = await house.repository.make_room()
        other = await house.join(room, 1)
        info = await here.controller.rooms.open_room(room)
        visit = Visit(FakeConnection(slow=slow))
        begin = trio.Event()

        async def wait_and_cut() -> None:
            await begin.wait()
            await cut(house, room, visit)

        house.nursery.start_soon(wait_and_cut)
        await wait_all_tasks_blocked()
        instrument = AtStep(n, visit.scope.cancel if cut is cancel_it else begin.set)
        trio.lowlevel.add_instrument(instrument)
        house.nursery.start_soon(here.serve, visit, info, after)
        await life(visit.connection, other)
        trio.lowlevel.remove_instrument(instrument)
        await visit.ends()
        await trio.sleep(settles)

        deleted = cut is delete and instrument.called
        if not deleted:
            other.says("at the end")
            await other.hears("at the end")
            log = await house.repository.log(room)
            assert stored(other) == log
            if heard := stored(visit.connection):
                begins = 0 if after is not None else log.index(heard[0])
                assert heard == log[begins : begins + len(heard)]
        other.hangs_up()
        begin.set()
        await house.stop()
        if cut is not delete:
            assert_pairs(await house.repository.log(room))
        assert not here.queue.rooms | there.queue.rooms
        assert other.closed.is_set()
        await wait_all_tasks_blocked()
        assert not house.nursery.child_tasks
        return instrument.called


@pytest.mark.parametrize("after", [None, 0])
@pytest.mark.parametrize(("cut", "settles"), CUTS)
async def test_a_life_cut_off_at_each_step(
    autojump_clock: MockClock, cut: Cut, settles: float, after: int | None
) -> None:
    n = 0
    while await cut_at(n, cut, after, n % 2 == 0, settles):
        n += 1
    assert n > 40


@pytest.mark.parametrize("after", [None, 0])
async def test_the_same_over_the_other_kind_of_connection(
    autojump_clock: MockClock, after: int | None
) -> None:
    n = 0
    while await cut_at(n, cancel_it, after, n % 2 == 1, 0.1):
        n += 1
    assert n > 40
