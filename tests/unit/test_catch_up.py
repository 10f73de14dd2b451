"""Members that come back with `after`: the log and then the room, without a gap or a repeat."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors.policy import Policy
from sharechat.domain.batch import Batch
from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import RoomId
from sharechat.domain.outcomes import INTERNAL_ERROR, ROOM_DELETED, TRY_LATER, Close
from tests.harness.connection import FakeConnection
from tests.harness.house import House, RemoteMember, assert_pairs, open_house
from tests.harness.repository import KEY
from tests.harness.waiting import until

PAGES_OF_3 = Policy(message_rate=0, read_limit=3, follow_interval=10_000)


async def room_with(house: House, entries: int) -> tuple[RoomId, FakeConnection]:
    """Return a room with a log of `entries` entries, and the member that wrote them."""
    room = await house.repository.make_room()
    talker = await house.join(room)
    talker.says(*(f"old {n}" for n in range(1, entries)))
    await until(lambda: len(talker.received) == entries)
    return room, talker


@pytest.mark.parametrize("entries", [1, 2, 3, 4, 7, 9])
@pytest.mark.parametrize("after", [0, 1])
async def test_a_member_hears_the_log_after_the_seq_and_then_the_room(
    autojump_clock: MockClock, entries: int, after: int
) -> None:
    async with open_house(policy=PAGES_OF_3) as house:
        room, talker = await room_with(house, entries)
        visit = await house.visit(room, after=after)
        await wait_all_tasks_blocked()
        talker.says("new 1", "new 2")
        await visit.connection.hears("new 1", "new 2")
        log = await house.repository.log(room)
        assert visit.connection.received == log[after:]


async def test_a_member_that_catches_up_holds_one_page_of_bounded_bytes_at_a_time(
    autojump_clock: MockClock,
) -> None:
    policy = Policy(message_rate=0, read_bytes=3000, follow_interval=10_000)
    async with open_house(policy=policy) as house:
        room, talker = await room_with(house, 100)
        connection = FakeConnection()
        connection.stalls()
        house.repository.calls.clear()
        await house.visit(room, after=0, connection=connection)
        await wait_all_tasks_blocked()
        assert house.repository.calls["read"] == 1
        assert 2000 < connection.backlog <= 3000
        connection.reads_on()
        talker.says("new")
        await connection.hears("new")
        assert connection.received == await house.repository.log(room)


class PingedConnection(FakeConnection):
    """Control frames, which the server sends whenever it likes, wait before each second offer."""

    offers = 0

    def offer(self, batch: Batch) -> bool:
        self.offers += 1
        return self.offers % 2 == 0 and super().offer(batch)


async def test_a_page_that_finds_a_ping_in_the_buffer_is_not_lost(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=PAGES_OF_3) as house:
        room, _ = await room_with(house, 7)
        visit = await house.visit(room, after=0, connection=PingedConnection())
        await wait_all_tasks_blocked()
        assert visit.connection.received == await house.repository.log(room)


@pytest.mark.parametrize("page", [{"read_limit": 3}, {"read_bytes": 1000}])
async def test_what_is_said_while_a_member_catches_up_does_not_count_as_waiting_for_it(
    autojump_clock: MockClock, page: dict[str, int]
) -> None:
    policy = Policy(message_rate=0, max_waiting_bytes=3000, follow_interval=10_000, **page)
    async with open_house(policy=policy) as house:
        room, talker = await room_with(house, 20)
        house.repository.at_next("read")
        second_page = house.repository.at_next("read", hold=True)
        visit = await house.visit(room, after=0)
        await second_page.reached.wait()
        talker.says(*(f"during {n}" for n in range(20)))
        await talker.hears("during 19")
        second_page.release()
        await visit.connection.hears("during 19")
        assert visit.connection.received == await house.repository.log(room)


@pytest.mark.parametrize("stalled_at", range(5))
async def test_a_member_that_catches_up_while_others_talk_hears_no_gap_and_no_repeat(
    autojump_clock: MockClock, stalled_at: int
) -> None:
    async with open_house(policy=PAGES_OF_3) as house:
        room, talker = await room_with(house, 10)
        steps = [house.repository.at_next("read") for _ in range(stalled_at)]
        steps.append(house.repository.at_next("read", hold=True))
        visit = await house.visit(room, after=0)
        await wait_all_tasks_blocked()
        talker.says(*(f"during {n}" for n in range(5)))
        await talker.hears("during 4")
        steps[-1].release()
        talker.says(*(f"then {n}" for n in range(5)))
        await visit.connection.hears("then 4")
        assert visit.connection.received == await house.repository.log(room)


async def test_a_room_that_is_ahead_when_it_takes_over_leaves_no_gap(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=PAGES_OF_3) as house:
        room, talker = await room_with(house, 1)
        visit = await house.visit(room, after=0)
        visit.connection.stalls()  # The first page, which is short, is read but not sent.
        await wait_all_tasks_blocked()
        talker.says(*(f"during {n}" for n in range(10)))
        await talker.hears("during 9")
        step = house.repository.at_next("read", hold=True)
        visit.connection.reads_on()
        await step.reached.wait()  # The room has taken over; the entries before that are read.
        talker.says("later 1", "later 2")
        await talker.hears("later 2")
        step.release()
        await visit.connection.hears("during 9", "later 2")
        talker.says("then")
        await visit.connection.hears("then")
        assert visit.connection.received == await house.repository.log(room)


async def test_a_member_may_know_more_than_its_room(autojump_clock: MockClock) -> None:
    patient = Policy(message_rate=0, read_limit=3, gap_patience=1000)
    async with open_house(policy=patient) as house:
        room, talker = await room_with(house, 1)
        there = RemoteMember(house.repository, room)
        missed = [await there.joins(), *await there.says("1", "2", "3", "4")]
        # The room hears the visitor's `joined`, and waits for the entries before it.
        visit = await house.visit(room, after=0)
        await until(lambda: len(visit.connection.received) == 7)
        assert talker.texts[1:] == []
        house.nodes[0].hears(room, *missed, *await there.says("5", "6"))
        await visit.connection.hears("6")
        await talker.hears("1", "6")
        log = await house.repository.log(room)
        assert visit.connection.received == talker.received == log


async def test_a_failure_is_still_told_when_the_member_is_catching_up(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=PAGES_OF_3) as house:
        room, _ = await room_with(house, 10)
        visit = await house.visit(room, after=0)
        visit.connection.stalls()
        visit.connection.says("a NUL: \0")
        await wait_all_tasks_blocked()
        visit.connection.reads_on()
        await until(lambda: "failed" in {m.type for m in visit.connection.received})
        stored = [m for m in visit.connection.received if m.type != "failed"]
        assert stored == await house.repository.log(room)


@pytest.mark.parametrize(
    ("error", "close"),
    [(UnavailableError("away"), TRY_LATER), (RuntimeError("a bug"), INTERNAL_ERROR)],
)
async def test_a_failed_read_ends_only_the_member_that_is_catching_up(
    autojump_clock: MockClock, error: Exception, close: Close
) -> None:
    async with open_house(policy=PAGES_OF_3) as house:
        room, talker = await room_with(house, 10)
        house.repository.at_next("read")
        house.repository.at_next("read", error=error)
        visit = await house.visit(room, after=0)
        assert await visit.ends() == close
        talker.says("still here")
        await talker.hears("still here")
        await house.stop()
        assert_pairs(await house.repository.log(room))


async def test_a_member_whose_room_is_deleted_while_it_catches_up_is_told_so(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=PAGES_OF_3) as house:
        room, talker = await room_with(house, 10)
        visit = await house.visit(room, after=0)
        visit.connection.stalls()
        await wait_all_tasks_blocked()
        await house.nodes[0].controller.rooms.delete_room(room, KEY)
        visit.connection.reads_on()
        assert await visit.ends() == ROOM_DELETED
        await talker.closed.wait()
        assert talker.close == ROOM_DELETED


@pytest.mark.parametrize("deleted", [True, False])
async def test_a_member_whose_room_ended_before_it_could_take_over_is_told_why(
    autojump_clock: MockClock, deleted: bool
) -> None:
    async with open_house(policy=PAGES_OF_3) as house:
        room, talker = await room_with(house, 1)
        visit = await house.visit(room, after=0)
        visit.connection.stalls()  # The last page is read but not sent.
        await wait_all_tasks_blocked()
        if deleted:
            await house.nodes[0].controller.rooms.delete_room(room, KEY)
        else:
            house.repository.at_next("read", error=RuntimeError("a bug"))
            house.nodes[0].controller.rooms.expect(room, 100)
        await talker.closed.wait()
        await trio.sleep(1)
        visit.connection.reads_on()
        assert await visit.ends() == (ROOM_DELETED if deleted else INTERNAL_ERROR)


async def test_a_member_can_be_cancelled_while_it_waits_for_the_room_to_take_over(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=PAGES_OF_3) as house:
        room, _ = await room_with(house, 1)
        visit = await house.visit(room, after=0)
        visit.connection.stalls()
        await wait_all_tasks_blocked()
        step = house.repository.at_next("read", hold=True)
        house.nodes[0].controller.rooms.expect(room, 3)
        await step.reached.wait()  # The room is busy reading.
        visit.connection.reads_on()
        await wait_all_tasks_blocked()
        visit.scope.cancel()
        await visit.ends()
        step.release()
        await house.stop()
        assert_pairs(await house.repository.log(room))


async def test_a_client_that_hangs_up_while_catching_up_leaves_even_if_a_message_failed(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=PAGES_OF_3) as house:
        room, _ = await room_with(house, 4)
        connection = FakeConnection()
        connection.stalls()
        visit = await house.visit(room, after=0, connection=connection)
        await wait_all_tasks_blocked()
        connection.says("not to be stored\0", "last words")
        connection.hangs_up()
        with trio.fail_after(60):
            await visit.connection.closed.wait()
        await wait_all_tasks_blocked()
        log = await house.repository.log(room)
        assert [message.text for message in log[-2:-1]] == ["last words"]
        assert [message.type for message in log[-1:]] == ["left"]
