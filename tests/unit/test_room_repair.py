"""A room reads what it is missing while the Repository is slow, away, or without the room."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors.policy import Policy
from sharechat.actors.room import Room
from sharechat.domain.messages import MessageType, RoomInfo
from sharechat.domain.outcomes import INTERNAL_ERROR, ROOM_DELETED
from tests.harness.connection import FakeConnection
from tests.harness.house import RemoteMember, open_house
from tests.harness.repository import KEY, ScriptedRepository
from tests.harness.waiting import until
from tests.unit.conftest import Logs
from tests.unit.test_room import ALONE, local_and_remote_member


async def test_a_room_that_cannot_read_retries_until_it_can(autojump_clock: MockClock) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await local_and_remote_member(house)
        _, two = await there.says("1", "2")
        house.repository.away = True
        house.nodes[0].hears(there.room_id, two)
        await trio.sleep(60)
        assert here.texts[2:] == []
        assert house.repository.calls["read"] <= 60 / ALONE.retry_interval + 1
        house.repository.away = False
        await here.hears("1", "2", within=2 * ALONE.retry_interval)
        assert here.texts[2:] == ["1", "2"]


async def test_a_room_reads_what_it_missed_in_pages_of_bounded_bytes(
    autojump_clock: MockClock,
) -> None:
    policy = Policy(message_rate=0, follow_interval=10_000, read_bytes=5000)
    async with open_house(policy=policy) as house:
        here, there = await local_and_remote_member(house)
        entries = await there.says(*("x" * 1000 for _ in range(40)))
        house.repository.calls.clear()
        writes = here.writes
        house.nodes[0].hears(there.room_id, entries[-1])
        await until(lambda: len(here.received) == 42)
        assert here.received == await house.repository.log(there.room_id)
        assert house.repository.calls["read"] == here.writes - writes == 10


async def test_entries_that_fill_the_gap_are_delivered_even_while_the_room_cannot_read(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await local_and_remote_member(house)
        one, two = await there.says("1", "2")
        house.repository.away = True
        house.nodes[0].hears(there.room_id, two)
        await trio.sleep(1)
        house.nodes[0].hears(there.room_id, one)
        await wait_all_tasks_blocked()
        assert here.texts[2:] == ["1", "2"]


async def test_a_head_that_cannot_be_read_yet_is_retried(autojump_clock: MockClock) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await local_and_remote_member(house)
        step = house.repository.at_next("get_rooms", hold=True)
        house.nodes[0].misses(there.room_id)
        await step.reached.wait()
        (one,) = await there.says("1")
        step.release()
        await here.hears("1")
        # A head beyond what can be read, as when a replica has fallen behind.
        house.repository.calls.clear()
        house.nodes[0].controller.rooms.expect(there.room_id, one.seq + 1)
        await trio.sleep(1)
        assert 1 <= house.repository.calls["read"] <= 1 / ALONE.retry_interval + 1
        await there.says("2")
        await here.hears("2", within=2 * ALONE.retry_interval)


async def test_members_of_a_room_that_is_deleted_while_it_reads_are_told_so(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await local_and_remote_member(house)
        _, two = await there.says("1", "2")
        step = house.repository.at_next("read", hold=True)
        house.nodes[0].hears(there.room_id, two)
        await step.reached.wait()
        await house.repository.delete_room(there.room_id, KEY)
        step.release()
        await here.closed.wait()
        assert here.close == ROOM_DELETED
        assert house.nodes[0].queue.rooms == set()


async def test_a_member_that_joins_while_the_room_reads_hears_from_its_own_joined_on(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await local_and_remote_member(house)
        _, two = await there.says("1", "2")
        step = house.repository.at_next("read", hold=True)
        house.nodes[0].hears(there.room_id, two)
        await step.reached.wait()
        visit = await house.visit(there.room_id)  # Its `joined` is stored, then read.
        await wait_all_tasks_blocked()
        await there.says("3")
        step.release()
        await visit.connection.hears("3")
        own, three = visit.connection.received
        assert own.type is MessageType.JOINED
        assert own.member_id not in {m.member_id for m in here.received[:2]}
        assert three.text == "3"
        await here.hears("1", "2", own.text, "3")


async def test_a_member_can_join_and_leave_while_the_room_reads(autojump_clock: MockClock) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await local_and_remote_member(house)
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


async def test_a_member_hears_nothing_before_its_own_joined_not_even_a_failure(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=ALONE) as house:
        _here, there = await local_and_remote_member(house)
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


async def test_a_member_waits_to_join_while_the_mailbox_is_full(
    autojump_clock: MockClock,
) -> None:
    policy = Policy(message_rate=0, follow_interval=10_000, room_mailbox=2)
    async with open_house(policy=policy) as house:
        here, there = await local_and_remote_member(house)
        entries = await there.says("1", "2", "3")
        step = house.repository.at_next("read", hold=True)
        house.nodes[0].hears(there.room_id, entries[-1])
        await step.reached.wait()
        for entry in entries[:2]:
            house.nodes[0].hears(there.room_id, entry)
        visits = [await house.visit(there.room_id) for _ in range(3)]
        await wait_all_tasks_blocked()
        # No `joined` is stored before its member is in the mailbox of the room.
        assert len(await house.repository.log(there.room_id)) == 5
        step.release()
        await trio.sleep(1)
        for visit in visits:
            assert visit.connection.received[0].type is MessageType.JOINED
        assert here.texts[2:5] == ["1", "2", "3"]


async def test_a_room_that_learns_of_a_new_head_while_its_mailbox_is_full_reads_up_to_it(
    autojump_clock: MockClock, logs: Logs
) -> None:
    policy = Policy(message_rate=0, follow_interval=10_000, room_mailbox=2, read_limit=3)
    async with open_house(policy=policy) as house:
        here, there = await local_and_remote_member(house)
        entries = await there.says("1", "2", "3")
        step = house.repository.at_next("read", hold=True)
        house.nodes[0].hears(there.room_id, entries[-1])
        await step.reached.wait()
        for entry in entries[:2]:
            house.nodes[0].hears(there.room_id, entry)
        await there.says("4", "5")  # The bus loses these.
        house.nodes[0].misses(there.room_id)
        await wait_all_tasks_blocked()
        step.release()
        await here.hears("5")
        assert here.texts[2:] == ["1", "2", "3", "4", "5"]
        assert "actor failed, starting it again" not in [log["event"] for log in logs]


async def test_members_that_wait_to_join_a_room_that_fails_are_closed_and_never_join(
    autojump_clock: MockClock,
) -> None:
    policy = Policy(message_rate=0, follow_interval=10_000, room_mailbox=2)
    async with open_house(policy=policy) as house:
        here, there = await local_and_remote_member(house)
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


async def test_a_member_that_has_gone_when_its_own_joined_is_read_is_not_added(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await local_and_remote_member(house)
        _, two = await there.says("1", "2")
        step = house.repository.at_next("read", hold=True)
        house.nodes[0].hears(there.room_id, two)
        await step.reached.wait()
        visit = await house.visit(there.room_id)
        await wait_all_tasks_blocked()
        visit.connection.breaks()  # The next `offer` or `drain` notices.
        step.release()
        await here.hears("1", "2")
        here.says("3")
        await here.hears("3")
        assert visit.connection.received == []
        visit.connection.hangs_up()
        assert await visit.ends() is None


async def test_an_ended_room_ignores_entries(autojump_clock: MockClock) -> None:
    repository = ScriptedRepository()
    there = RemoteMember(repository, await repository.make_room())
    room = Room(RoomInfo(there.room_id, "Imperfect Seat"), repository, ALONE)
    with trio.move_on_after(1):
        await room.start()
    room.offer([await there.joins()])
    room.expect(100)
    assert room.position == 0
