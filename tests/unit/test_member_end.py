"""How a member ends: what its client is told, what is still stored, and when it is too slow."""

from dataclasses import replace

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors.member import Member
from sharechat.actors.policy import Policy
from sharechat.domain import ids
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Identity, MessageType, to_json
from sharechat.domain.outcomes import RESTARTING, TOO_SLOW
from sharechat.domain.sources import Sources
from tests.harness.connection import BUFFER, FakeConnection
from tests.harness.house import UNLIMITED, House, Visit, assert_pairs, open_house
from tests.harness.waiting import until


async def test_a_member_that_is_closed_for_two_reasons_is_told_the_first(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        controller = house.nodes[0].controller
        info = await controller.rooms.open_room(await house.repository.make_room())
        with controller.rooms.enter(info) as room:
            connection, identity = FakeConnection(), Identity(ids.new_member_id(), "Teal Heron")
            parts = room, controller.journal, controller.history, UNLIMITED, Sources()
            member = Member(identity, connection, *parts)
            house.nursery.start_soon(member.run)
            await until(lambda: bool(connection.received))
            member.close(TOO_SLOW)
            member.close(RESTARTING)
            await connection.closed.wait()
        assert connection.close == TOO_SLOW


async def test_a_member_whose_task_is_cancelled_is_told_to_reconnect(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        visits = [await house.visit(room), await house.visit(room, after=0)]
        await wait_all_tasks_blocked()
        for visit in visits:
            visit.scope.cancel()
            assert await visit.ends() == RESTARTING
        await house.stop()
        assert_pairs(await house.repository.log(room))


async def test_what_a_client_said_is_stored_even_if_it_can_be_sent_nothing_more(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        leaver, other = await house.visit(room), await house.join(room)
        leaver.connection.stalls()
        other.says("not read")
        await other.hears("not read")
        commit = house.repository.at_next("append", hold=True)
        leaver.connection.says("1", "2", "3")
        await commit.reached.wait()
        leaver.connection.breaks()  # The task that sends notices, the one that receives does not.
        await wait_all_tasks_blocked()
        commit.release()
        await other.hears("1", "2", "3")
        leaver.connection.hangs_up()
        assert await leaver.ends() is None
        await other.hears("3", f"{leaver.connection.received[0].member_name} left the room.")


async def test_a_member_is_too_slow_once_more_than_its_limit_waits_and_not_before(
    autojump_clock: MockClock,
) -> None:
    policy = Policy(message_rate=0, max_waiting_bytes=3 * BUFFER)
    async with open_house(policy=policy) as house:
        room = await house.repository.make_room()
        slow, other = await house.visit(room), await house.join(room)
        await until(lambda: len(slow.connection.received) == 2)
        slow.connection.stalls()

        async def say(count: int) -> None:
            for _ in range(count):
                other.says("x" * 800)
                heard = len(other.received)
                await until(lambda heard=heard: len(other.received) > heard)  # type: ignore[misc]

        await say(1)
        fits = policy.max_waiting_bytes // len(to_json(other.received[-1]))
        await say(fits - 1)
        for _ in range(4):
            taken = slow.connection.reads_once()
            assert taken > 1
            await wait_all_tasks_blocked()
            await say(taken)
            assert not slow.connection.closed.is_set()
        await say(1)
        assert await slow.ends() == TOO_SLOW
        assert other.received[-1].type is MessageType.LEFT


async def visit_in_an_outage(house: House) -> tuple[RoomId, Visit]:
    """Return a room and a visit to it, which has heard its `joined` before the outage began."""
    room = await house.repository.make_room()
    visit = await house.visit(room)
    await until(lambda: bool(visit.connection.received))
    house.repository.away = True
    return room, visit


async def test_a_text_on_its_way_is_stored_though_its_author_is_closed_and_the_outage_lasts(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room, visit = await visit_in_an_outage(house)
        visit.connection.says("last words")
        await trio.sleep(1)
        visit.scope.cancel()
        await visit.ends()
        await trio.sleep(10)
        house.repository.away = False
        await house.nodes[0].controller.journal.lefts_stored()
        assert (await house.repository.texts(room))[1:-1] == ["last words"]


async def test_a_text_on_its_way_is_stored_though_the_rest_of_its_client_waits_for_the_mailbox(
    autojump_clock: MockClock,
) -> None:
    policy = replace(UNLIMITED, journal_mailbox=2)
    async with open_house(policy=policy) as house:
        room, visit = await visit_in_an_outage(house)
        visit.connection.says("1")
        await trio.sleep(policy.store_timeout - 1)
        visit.connection.says("2", "3", "4", "5", "6")
        visit.connection.hangs_up()
        await trio.sleep(1.5)
        house.repository.away = False
        await visit.ends()
        await house.nodes[0].controller.journal.lefts_stored()
        assert (await house.repository.texts(room))[1:-1] == ["1", "2", "3", "4", "5", "6"]


async def test_only_what_a_client_was_told_of_is_dropped_if_it_goes_during_an_outage(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room, visit = await visit_in_an_outage(house)
        for text in ("1", "2", "3"):
            visit.connection.says(text)
            await trio.sleep(1)
        visit.connection.hangs_up()
        await trio.sleep(12)
        house.repository.away = False
        await house.nodes[0].controller.journal.lefts_stored()
        assert (await house.repository.texts(room))[1:-1] == ["2", "3"]
