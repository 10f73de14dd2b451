"""A room: one order for all, whatever the order, the repeats and the holes of what it hears."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors.policy import Policy
from sharechat.domain.messages import MessageType
from tests.harness.connection import FakeConnection
from tests.harness.house import Elsewhere, House, open_house
from tests.harness.waiting import until

ALONE = Policy(message_rate=0, follow_interval=10_000)
"""Nothing but what a room hears and reads itself."""


async def test_the_first_a_member_hears_is_its_own_joined(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        first = await house.join(room)
        first.says("before")
        await first.hears("before")
        second = await house.join(room)
        first.says("after")
        await second.hears("after")
        own, after = second.received
        assert own.type is MessageType.JOINED
        assert own.text == f"{own.member_name} joined the room."
        assert after.text == "after"
        assert first.received == await house.repository.log(room)


async def test_all_hear_one_order_and_it_is_that_of_the_history(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        members = [await house.join(room) for _ in range(5)]
        for n, member in enumerate(members):
            member.says(*(f"{n}.{k}" for k in range(20)))
        await until(lambda: len(members[-1].received) == 101)
        log = await house.repository.log(room)
        for n, member in enumerate(members):
            assert member.received == log[n:]


async def test_a_batch_is_one_write_a_member(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        members = [await house.join(room) for _ in range(3)]
        step = house.repository.at_next("append", hold=True)
        members[0].says("first")
        await step.reached.wait()
        for member in members[1:]:
            member.says("next")
        await wait_all_tasks_blocked()
        writes = members[0].writes
        step.release()
        await members[0].hears("first", "next", "next")
        assert members[0].writes == writes + 2


async def talking_elsewhere(
    house: House, policy: Policy = ALONE
) -> tuple[FakeConnection, Elsewhere]:
    """Return one member here and one of another process, in one room, both heard of."""
    room = await house.repository.make_room()
    here = await house.join(room)
    there = Elsewhere(house.repository, room)
    house.nodes[0].hears(room, await there.joins())
    await here.hears("Fox joined the room.")
    house.repository.calls.clear()
    return here, there


async def test_what_comes_in_disorder_within_its_patience_is_not_read_again(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await talking_elsewhere(house)
        one, two, three = await there.says("1", "2", "3")
        house.nodes[0].hears(there.room_id, three)
        await wait_all_tasks_blocked()
        house.nodes[0].hears(there.room_id, two, two)
        await trio.sleep(ALONE.gap_patience / 2)
        house.nodes[0].hears(there.room_id, one, two, three)
        await here.hears("1", "2", "3")
        house.nodes[0].hears(there.room_id, three, one)
        await trio.sleep(1)
        assert here.texts[2:] == ["1", "2", "3"]
        assert house.repository.calls["read"] == 0


async def test_what_stays_missing_is_read_when_its_patience_ends(autojump_clock: MockClock) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await talking_elsewhere(house)
        *_, three = await there.says("1", "2", "3")
        house.nodes[0].hears(there.room_id, three)
        began = trio.current_time()
        await here.hears("1", "2", "3")
        assert trio.current_time() - began == pytest.approx(ALONE.gap_patience)
        assert here.texts[2:] == ["1", "2", "3"]
        assert house.repository.calls["read"] == 1


async def test_traffic_past_a_hole_does_not_put_off_its_repair(autojump_clock: MockClock) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await talking_elsewhere(house)
        _, *rest = await there.says("lost", *map(str, range(20)))
        began = trio.current_time()
        for entry in rest:
            house.nodes[0].hears(there.room_id, entry)
            await trio.sleep(ALONE.gap_patience / 3)
            if "lost" in here.texts:
                break
        assert trio.current_time() - began < 3 * ALONE.gap_patience
        await here.hears("lost", "0")


async def test_a_long_hole_is_read_page_by_page(autojump_clock: MockClock) -> None:
    policy = Policy(message_rate=0, follow_interval=10_000, read_limit=3)
    async with open_house(policy=policy) as house:
        here, there = await talking_elsewhere(house)
        texts = [str(n) for n in range(10)]
        entries = await there.says(*texts)
        house.nodes[0].hears(there.room_id, entries[-1])
        await here.hears(*texts)
        assert here.texts[2:] == texts


async def test_a_mailbox_that_overflows_costs_a_read_and_nothing_else(
    autojump_clock: MockClock,
) -> None:
    policy = Policy(message_rate=0, follow_interval=10_000, room_mailbox=4)
    async with open_house(policy=policy) as house:
        here, there = await talking_elsewhere(house)
        texts = [str(n) for n in range(50)]
        for entry in await there.says(*texts):
            house.nodes[0].hears(there.room_id, entry)  # the room cannot run in between
        await here.hears(*texts)
        assert here.texts[2:] == texts
        assert house.repository.calls["read"] >= 1


async def test_the_same_when_only_the_last_one_found_no_room(autojump_clock: MockClock) -> None:
    policy = Policy(message_rate=0, follow_interval=10_000, room_mailbox=4)
    async with open_house(policy=policy) as house:
        here, there = await talking_elsewhere(house)
        texts = [str(n) for n in range(5)]
        for entry in await there.says(*texts):
            house.nodes[0].hears(there.room_id, entry)
        await here.hears(*texts)


async def test_a_big_room_lets_others_run_while_it_hands_out(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        big, small = await house.repository.make_room(), await house.repository.make_room()
        many = [await house.visit(big) for _ in range(700)]
        other = await house.join(small)
        await until(lambda: all(visit.connection.received for visit in many))
        ran_at: list[int] = []

        async def other_task() -> None:
            while True:
                await trio.lowlevel.checkpoint()
                ran_at.append(sum("hello" in visit.connection.texts for visit in many))

        house.nursery.start_soon(other_task)
        many[0].connection.says("hello")
        with trio.fail_after(60):
            while not ran_at or ran_at[-1] < 700:
                await trio.lowlevel.checkpoint()
        assert any(0 < count < 700 for count in ran_at)
        assert not other.closed.is_set()
