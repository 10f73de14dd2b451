"""A room: all members hear one order, even if entries reach it late, twice or not at all."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors.policy import Policy
from sharechat.domain.messages import MessageType
from tests.harness.connection import FakeConnection
from tests.harness.house import House, RemoteMember, open_house
from tests.harness.waiting import until

ALONE = Policy(message_rate=0, follow_interval=10_000)
"""The follower never looks, so a room has only what it hears and reads itself."""


async def test_a_member_first_hears_its_own_joined(autojump_clock: MockClock) -> None:
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


async def test_all_members_hear_the_messages_in_the_order_of_the_log(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        members = [await house.join(room) for _ in range(5)]
        for n, member in enumerate(members):
            member.says(*(f"{n}.{k}" for k in range(20)))
        await until(lambda: len(members[-1].received) == 101)
        log = await house.repository.log(room)
        for n, member in enumerate(members):
            assert member.received == log[n:]


async def test_a_batch_is_sent_to_each_member_in_one_write(autojump_clock: MockClock) -> None:
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


async def local_and_remote_member(house: House) -> tuple[FakeConnection, RemoteMember]:
    """Return a member here and a remote one, in one room, which has heard both join."""
    room = await house.repository.make_room()
    here = await house.join(room)
    there = RemoteMember(house.repository, room)
    house.nodes[0].hears(room, await there.joins())
    await here.hears("Fox joined the room.")
    house.repository.calls.clear()
    return here, there


async def test_entries_that_were_only_reordered_are_not_read_from_the_repository(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await local_and_remote_member(house)
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


async def test_entries_that_stay_missing_are_read_when_the_gap_patience_is_over(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await local_and_remote_member(house)
        *_, three = await there.says("1", "2", "3")
        house.nodes[0].hears(there.room_id, three)
        began = trio.current_time()
        await here.hears("1", "2", "3")
        assert trio.current_time() - began == pytest.approx(ALONE.gap_patience)
        assert here.texts[2:] == ["1", "2", "3"]
        assert house.repository.calls["read"] == 1


async def test_new_entries_after_a_gap_do_not_delay_reading_it(autojump_clock: MockClock) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await local_and_remote_member(house)
        _, *rest = await there.says("lost", *map(str, range(20)))
        began = trio.current_time()
        for entry in rest:
            house.nodes[0].hears(there.room_id, entry)
            await trio.sleep(ALONE.gap_patience / 3)
            if "lost" in here.texts:
                break
        assert trio.current_time() - began < 3 * ALONE.gap_patience
        await here.hears("lost", "0")


async def test_a_long_gap_is_read_page_by_page(autojump_clock: MockClock) -> None:
    policy = Policy(message_rate=0, follow_interval=10_000, read_limit=3)
    async with open_house(policy=policy) as house:
        here, there = await local_and_remote_member(house)
        texts = [str(n) for n in range(10)]
        entries = await there.says(*texts)
        house.nodes[0].hears(there.room_id, entries[-1])
        await here.hears(*texts)
        assert here.texts[2:] == texts


async def test_entries_that_overflow_the_mailbox_are_read(autojump_clock: MockClock) -> None:
    policy = Policy(message_rate=0, follow_interval=10_000, room_mailbox=4)
    async with open_house(policy=policy) as house:
        here, there = await local_and_remote_member(house)
        texts = [str(n) for n in range(50)]
        for entry in await there.says(*texts):
            house.nodes[0].hears(there.room_id, entry)  # The room cannot run in between.
        await here.hears(*texts)
        assert here.texts[2:] == texts
        assert house.repository.calls["read"] >= 1


async def test_the_newest_entry_is_read_if_it_alone_overflows_the_mailbox(
    autojump_clock: MockClock,
) -> None:
    policy = Policy(message_rate=0, follow_interval=10_000, room_mailbox=4)
    async with open_house(policy=policy) as house:
        here, there = await local_and_remote_member(house)
        texts = [str(n) for n in range(5)]
        for entry in await there.says(*texts):
            house.nodes[0].hears(there.room_id, entry)
        await here.hears(*texts)


async def test_a_large_room_lets_other_tasks_run_while_it_delivers(
    autojump_clock: MockClock,
) -> None:
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


async def test_a_large_delivery_comes_in_portions_and_in_order(autojump_clock: MockClock) -> None:
    policy = Policy(message_rate=0, batch_bytes=2000)
    async with open_house(policy=policy) as house:
        room = await house.repository.make_room()
        member, other = await house.join(room), await house.join(room)
        remote = RemoteMember(house.repository, room)
        entries = [await remote.joins(), *await remote.says(*(f"{n}" * 300 for n in range(9)))]
        writes = member.writes
        house.nodes[0].hears(room, *entries)
        await member.hears("8" * 300)
        assert member.received[1:] == other.received
        assert member.received == await house.repository.log(room)
        # Three messages of some 600 bytes fit into one portion.
        assert 3 <= member.writes - writes <= 5


async def test_who_joins_within_a_large_delivery_hears_it_from_its_own_joined_on(
    autojump_clock: MockClock,
) -> None:
    policy = Policy(message_rate=0, batch_bytes=1000, gap_patience=1000)
    async with open_house(policy=policy) as house:
        room = await house.repository.make_room()
        member = await house.join(room)
        remote = RemoteMember(house.repository, room)
        entries = [await remote.joins(), *await remote.says(*(f"{n}" * 300 for n in range(5)))]
        late = await house.visit(room)
        await wait_all_tasks_blocked()
        assert not late.connection.received
        house.nodes[0].hears(room, *entries)
        await until(lambda: bool(late.connection.received))
        log = await house.repository.log(room)
        assert late.connection.received == log[-1:]
        assert member.received == log
