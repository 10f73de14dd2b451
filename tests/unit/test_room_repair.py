"""A room that reads what it lacks, while the Repository is slow, away, or without the room."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors.policy import Policy
from sharechat.actors.room import Room
from sharechat.domain.messages import MessageType
from sharechat.domain.outcomes import INTERNAL_ERROR, ROOM_DELETED
from tests.harness.connection import FakeConnection
from tests.harness.house import Elsewhere, open_house
from tests.harness.repository import KEY, ScriptedRepository
from tests.unit.test_room import ALONE, talking_elsewhere


async def test_a_room_that_cannot_read_tries_until_it_can(autojump_clock: MockClock) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await talking_elsewhere(house)
        _, two = await there.says("1", "2")
        house.repository.away = True
        house.nodes[0].hears(there.room_id, two)
        await trio.sleep(60)
        assert here.texts[2:] == []
        assert house.repository.calls["read"] <= 60 / ALONE.retry_interval + 1
        house.repository.away = False
        await here.hears("1", "2", within=2 * ALONE.retry_interval)
        assert here.texts[2:] == ["1", "2"]


async def test_what_comes_while_it_cannot_read_is_handed_out_as_soon_as_it_fits(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await talking_elsewhere(house)
        one, two = await there.says("1", "2")
        house.repository.away = True
        house.nodes[0].hears(there.room_id, two)
        await trio.sleep(1)
        house.nodes[0].hears(there.room_id, one)
        await wait_all_tasks_blocked()
        assert here.texts[2:] == ["1", "2"]


async def test_what_it_was_told_of_too_early_is_read_later(autojump_clock: MockClock) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await talking_elsewhere(house)
        step = house.repository.at_next("get_heads", hold=True)
        house.nodes[0].misses(there.room_id)
        await step.reached.wait()
        (one,) = await there.says("1")
        step.release()
        await here.hears("1")
        # A head beyond what can be read: as if a replica answered.
        house.repository.calls.clear()
        house.nodes[0].controller.rooms.expect(there.room_id, one.seq + 1)
        await trio.sleep(1)
        assert 1 <= house.repository.calls["read"] <= 1 / ALONE.retry_interval + 1
        await there.says("2")
        await here.hears("2", within=2 * ALONE.retry_interval)


async def test_a_room_that_is_deleted_during_a_repair_says_so_to_its_members(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await talking_elsewhere(house)
        _, two = await there.says("1", "2")
        step = house.repository.at_next("read", hold=True)
        house.nodes[0].hears(there.room_id, two)
        await step.reached.wait()
        await house.repository.delete_room(there.room_id, KEY)
        step.release()
        await here.closed.wait()
        assert here.close == ROOM_DELETED
        assert house.nodes[0].queue.rooms == set()


async def test_who_arrives_while_a_repair_is_read_hears_from_its_own_joined_on(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await talking_elsewhere(house)
        _, two = await there.says("1", "2")
        step = house.repository.at_next("read", hold=True)
        house.nodes[0].hears(there.room_id, two)
        await step.reached.wait()
        visit = await house.visit(there.room_id)  # its `joined` is stored, then read
        await wait_all_tasks_blocked()
        await there.says("3")
        step.release()
        await visit.connection.hears("3")
        own, three = visit.connection.received
        assert own.type is MessageType.JOINED
        assert own.member_id not in {m.member_id for m in here.received[:2]}
        assert three.text == "3"
        await here.hears("1", "2", own.text, "3")


async def test_it_may_arrive_and_leave_again_while_it_is_read(autojump_clock: MockClock) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await talking_elsewhere(house)
        _, two = await there.says("1", "2")
        step = house.repository.at_next("read", hold=True)
        house.nodes[0].hears(there.room_id, two)
        await step.reached.wait()
        visit = await house.visit(there.room_id)
        await wait_all_tasks_blocked()
        visit.connection.hangs_up()
        await visit.ends()
        step.release()
        await trio.sleep(1)
        assert visit.connection.received == []
        assert [m.type.value for m in here.received[-2:]] == ["joined", "left"]


async def test_nothing_is_heard_before_ones_own_joined_not_even_what_failed(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=ALONE) as house:
        _here, there = await talking_elsewhere(house)
        _, two = await there.says("1", "2")
        step = house.repository.at_next("read", hold=True)
        house.nodes[0].hears(there.room_id, two)
        await step.reached.wait()
        connection = FakeConnection()
        connection.says("NUL \0")
        await house.visit(there.room_id, connection=connection)
        await trio.sleep(1)
        step.release()
        await trio.sleep(1)
        assert [m.type.value for m in connection.received] == ["joined", "failed"]


async def test_a_joiner_waits_while_the_mailbox_is_full_and_is_let_in_then(
    autojump_clock: MockClock,
) -> None:
    policy = Policy(message_rate=0, follow_interval=10_000, room_mailbox=2)
    async with open_house(policy=policy) as house:
        here, there = await talking_elsewhere(house)
        entries = await there.says("1", "2", "3")
        step = house.repository.at_next("read", hold=True)
        house.nodes[0].hears(there.room_id, entries[-1])
        await step.reached.wait()
        for entry in entries[:2]:
            house.nodes[0].hears(there.room_id, entry)
        visits = [await house.visit(there.room_id) for _ in range(3)]
        await wait_all_tasks_blocked()
        assert len(await house.repository.log(there.room_id)) == 5  # no `joined` before it is seen
        step.release()
        await trio.sleep(1)
        for visit in visits:
            assert visit.connection.received[0].type is MessageType.JOINED
        assert here.texts[2:5] == ["1", "2", "3"]


async def test_joiners_that_wait_for_a_room_that_fails_are_closed_and_never_joined(
    autojump_clock: MockClock,
) -> None:
    policy = Policy(message_rate=0, follow_interval=10_000, room_mailbox=2)
    async with open_house(policy=policy) as house:
        here, there = await talking_elsewhere(house)
        entries = await there.says("1", "2", "3")
        step = house.repository.at_next("read", hold=True, error=RuntimeError("a bug"))
        house.nodes[0].hears(there.room_id, entries[-1])
        await step.reached.wait()
        for entry in entries[:2]:
            house.nodes[0].hears(there.room_id, entry)
        visits = [await house.visit(there.room_id) for _ in range(3)]
        await wait_all_tasks_blocked()
        step.release()
        assert [await visit.ends() for visit in visits] == [INTERNAL_ERROR] * 3
        await here.closed.wait()
        assert here.close == INTERNAL_ERROR
        await trio.sleep(1)
        joined = [m for m in await house.repository.log(there.room_id) if m.type == "joined"]
        assert len(joined) == 2


async def test_who_is_gone_when_its_own_joined_is_read_takes_no_place(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await talking_elsewhere(house)
        _, two = await there.says("1", "2")
        step = house.repository.at_next("read", hold=True)
        house.nodes[0].hears(there.room_id, two)
        await step.reached.wait()
        visit = await house.visit(there.room_id)
        await wait_all_tasks_blocked()
        visit.connection.breaks()  # to be found out by the next who sends
        step.release()
        await here.hears("1", "2")
        here.says("3")
        await here.hears("3")
        assert visit.connection.received == []
        visit.connection.hangs_up()
        assert await visit.ends() is None


async def test_an_ended_room_ignores_entries(autojump_clock: MockClock) -> None:
    repository = ScriptedRepository()
    there = Elsewhere(repository, await repository.make_room())
    room = Room(await repository.get_room(there.room_id), repository, ALONE)
    with trio.move_on_after(1):
        await room.start()
    room.offer([await there.joins()])
    room.expect(100)
    assert room.position == 0
