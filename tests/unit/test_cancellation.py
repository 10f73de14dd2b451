"""A visit is interrupted at each of its steps, in every way.

Whatever happens, each `joined` gets one `left`, the members who stay miss nothing, and no task
or subscription is left over.
"""

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


class CallAtStep(trio.abc.Instrument):
    """Calls `call` before the n-th step (from 0) that any task takes from now on."""

    def __init__(self, n: int, call: Callable[[], object]) -> None:
        self.remaining = n
        self.called = False
        self._call = call

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.called:
            return
        self.remaining -= 1
        if self.remaining < 0:
            self.called = True
            self._call()


async def play_visit(client: FakeConnection, other: FakeConnection) -> None:
    """Make a client that has just connected talk, be refused, stall, listen and hang up."""
    client.says("mine", "a NUL: \0")
    await wait_all_tasks_blocked()
    client.stalls()
    other.says("theirs 1", "theirs 2")
    await wait_all_tasks_blocked()
    client.reads_on()
    await wait_all_tasks_blocked()
    client.hangs_up()
    await wait_all_tasks_blocked()


Interruption = Callable[[House, RoomId, Visit], Awaitable[None]]


async def cancel_visit(house: House, room: RoomId, visit: Visit) -> None:
    visit.scope.cancel()


async def stop_process(house: House, room: RoomId, visit: Visit) -> None:
    await house.nodes[0].controller.stop()


async def delete_room(house: House, room: RoomId, visit: Visit) -> None:
    await house.nodes[1].controller.rooms.delete_room(room, KEY)


async def make_room_fail(house: House, room: RoomId, visit: Visit) -> None:
    if room in house.nodes[0].controller.rooms.ids:
        house.repository.at_next("read", error=RuntimeError("a bug"))
        house.nodes[0].controller.rooms.expect(room, 1000)


async def kill_process(house: House, room: RoomId, visit: Visit) -> None:
    house.nodes[0].scope.cancel()


async def lose_lease(house: House, room: RoomId, visit: Visit) -> None:
    await house.repository.end_lease(house.nodes[0].controller.lease.process_id)


async def make_repository_unavailable(house: House, room: RoomId, visit: Visit) -> None:
    house.repository.away = True
    await trio.sleep(7)
    house.repository.away = False


INTERRUPTIONS: list[tuple[Interruption, float]] = [
    (cancel_visit, 0.1),
    (stop_process, 0.1),
    (delete_room, 0.1),
    (make_room_fail, 0.1),
    (kill_process, 15),
    (lose_lease, 5),
    (make_repository_unavailable, 15),
]
"""Each interruption, and the seconds until all of its consequences have happened."""


def heard_from_log(connection: FakeConnection) -> list[Message]:
    return [message for message in connection.received if message.type != "failed"]


async def interrupt_at(
    n: int, interrupt: Interruption, after: int | None, slow: bool, settle_time: float
) -> bool:
    """Interrupt a visit at its n-th step; return False if it has fewer steps."""
    async with open_house(nodes=2, policy=POLICY) as house:
        here, there = house.nodes
        room = await house.repository.make_room()
        other = await house.join(room, 1)
        info = await here.controller.rooms.open_room(room)
        visit = Visit(FakeConnection(slow=slow))
        begin = trio.Event()

        async def wait_and_interrupt() -> None:
            await begin.wait()
            await interrupt(house, room, visit)

        house.nursery.start_soon(wait_and_interrupt)
        await wait_all_tasks_blocked()
        # Cancelling needs no task, so it happens exactly between two steps.
        instrument = CallAtStep(n, visit.scope.cancel if interrupt is cancel_visit else begin.set)
        trio.lowlevel.add_instrument(instrument)
        house.nursery.start_soon(here.serve, visit, info, after)
        await play_visit(visit.connection, other)
        trio.lowlevel.remove_instrument(instrument)
        await visit.ends()
        await trio.sleep(settle_time)

        deleted = interrupt is delete_room and instrument.called
        if not deleted:
            other.says("at the end")
            await other.hears("at the end")
            log = await house.repository.log(room)
            assert heard_from_log(other) == log
            if heard := heard_from_log(visit.connection):
                start = 0 if after is not None else log.index(heard[0])
                assert heard == log[start : start + len(heard)]
        other.hangs_up()
        begin.set()
        await house.stop()
        if interrupt is not delete_room:
            assert_pairs(await house.repository.log(room))
        assert not here.queue.rooms | there.queue.rooms
        assert other.closed.is_set()
        await wait_all_tasks_blocked()
        assert not house.nursery.child_tasks
        return instrument.called


@pytest.mark.parametrize("after", [None, 0])
@pytest.mark.parametrize(("interrupt", "settle_time"), INTERRUPTIONS)
async def test_a_visit_can_be_interrupted_at_any_step(
    autojump_clock: MockClock, interrupt: Interruption, settle_time: float, after: int | None
) -> None:
    n = 0
    while await interrupt_at(n, interrupt, after, n % 2 == 0, settle_time):
        n += 1
    assert n > 40


@pytest.mark.parametrize("after", [None, 0])
async def test_a_visit_over_the_other_kind_of_connection_can_be_cancelled_at_any_step(
    autojump_clock: MockClock, after: int | None
) -> None:
    n = 0
    while await interrupt_at(n, cancel_visit, after, n % 2 == 1, 0.1):
        n += 1
    assert n > 40
