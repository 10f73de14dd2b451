"""A member: its messages are stored one after the other, and its failures affect nobody else."""

from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors.policy import Policy
from sharechat.domain import ids
from sharechat.domain.errors import NotAMemberError
from sharechat.domain.messages import MessageType, to_json
from sharechat.domain.outcomes import INTERNAL_ERROR, RESTARTING, ROOM_DELETED, TOO_SLOW, TRY_LATER
from sharechat.domain.token_bucket import TokenBucket
from tests.harness import drafts
from tests.harness.connection import BUFFER, FakeConnection
from tests.harness.house import UNLIMITED, assert_pairs, open_house
from tests.harness.repository import KEY
from tests.harness.waiting import until
from tests.unit.conftest import Logs


async def test_what_a_client_said_before_it_went_is_stored_at_once_and_bounded(
    autojump_clock: MockClock, logs: Logs
) -> None:
    async with open_house(policy=Policy()) as house:
        room = await house.repository.make_room()
        visit = await house.visit(room)
        await until(lambda: bool(visit.connection.received))
        visit.connection.says(*(str(n) for n in range(400)))
        began = trio.current_time()
        visit.connection.hangs_up()
        await visit.ends()
        await house.nodes[0].controller.journal.lefts_stored()
        assert trio.current_time() - began < 0.1
        log = await house.repository.log(room)
        assert [m.text for m in log[1:-1]] == [str(n) for n in range(256)]
        assert log[-1].type is MessageType.LEFT
        assert [entry["count"] for entry in logs if "dropped" in entry["event"]] == [144]


async def test_a_client_that_goes_while_it_is_held_back_leaves_at_once(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=Policy(message_rate=1, message_burst=1)) as house:
        room = await house.repository.make_room()
        visit = await house.visit(room)
        await until(lambda: bool(visit.connection.received))
        visit.connection.says("1", "2", "3")
        await trio.sleep(0.5)
        began = trio.current_time()
        visit.connection.hangs_up()
        await visit.ends()
        await house.nodes[0].controller.journal.lefts_stored()
        assert trio.current_time() - began < 0.1
        assert (await house.repository.texts(room))[1:4] == ["1", "2", "3"]


async def test_a_client_that_has_gone_leaves_soon_though_nothing_can_be_stored(
    autojump_clock: MockClock,
) -> None:
    policy = Policy(journal_mailbox=2)
    async with open_house(policy=policy) as house:
        room = await house.repository.make_room()
        visit = await house.visit(room)
        await until(lambda: bool(visit.connection.received))
        house.repository.away = True
        visit.connection.says(*(str(n) for n in range(20)))
        visit.connection.hangs_up()
        await visit.ends(within=policy.rest_timeout + policy.store_timeout + 0.1)
        house.repository.away = False
        await house.stop()
        assert_pairs(await house.repository.log(room))


async def test_a_member_joins_talks_and_leaves_once(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        visit = await house.visit(room)
        visit.connection.says("hello")
        visit.connection.hangs_up()
        assert await visit.ends() is None
        await house.stop()
        log = await house.repository.log(room)
        assert [m.type.value for m in log] == ["joined", "chat", "left"]
        assert len({m.member_id for m in log}) == 1
        assert log[-1].text == f"{log[0].member_name} left the room."


async def test_the_next_text_is_taken_up_only_when_the_last_one_has_been_stored(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        member = await house.join(room)
        step = house.repository.at_next("append", hold=True)
        member.says("1", "2", "3")
        await step.reached.wait()
        await wait_all_tasks_blocked()
        assert member.read == 2
        step.release()
        await member.hears("1", "2", "3")
        assert house.repository.commits[-3:] == [["1"], ["2"], ["3"]]


async def test_a_member_over_its_rate_is_held_back_and_nothing_is_lost(
    autojump_clock: MockClock,
) -> None:
    policy = Policy(message_rate=10, message_burst=5)
    async with open_house(policy=policy) as house:
        room = await house.repository.make_room()
        member = await house.join(room)
        other = await house.join(room)
        texts = [str(n) for n in range(25)]
        began = trio.current_time()
        member.says(*texts)
        await wait_all_tasks_blocked()
        assert member.read == 6  # The burst, and the one that waits for the rate.
        other.says("meanwhile")
        await member.hears("meanwhile", within=0.01)
        await member.hears(*texts)
        assert trio.current_time() - began == pytest.approx(2.0)


async def test_members_that_share_a_bucket_are_held_back_together(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        other = await house.join(room)
        controller = house.nodes[0].controller
        info = await controller.rooms.open_room(room)
        bucket = TokenBucket(rate=10, burst=5)
        pair = [FakeConnection() for _ in range(2)]
        for connection in pair:
            serve = partial(controller.serve_room, info, connection, messages=bucket)
            house.nursery.start_soon(serve)
        await until(lambda: all(connection.received for connection in pair))
        began = trio.current_time()
        for connection in pair:
            connection.says(*["more"] * 10)
        await wait_all_tasks_blocked()
        assert other.texts.count("more") == 5
        other.says("meanwhile")
        await other.hears("meanwhile", within=0.01)
        await until(lambda: other.texts.count("more") == 20)
        assert trio.current_time() - began == pytest.approx(1.5, abs=0.05)


async def test_a_refused_message_fails_only_for_its_sender_who_stays_connected(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        member, other = await house.join(room), await house.join(room)
        member.says("a NUL: \0", "next")
        await member.hears("next")
        await other.hears("next")
        failed = member.received[-2]
        assert failed.type is MessageType.FAILED
        assert "NUL" in failed.text
        assert failed.member_id == member.received[0].member_id
        assert other.texts[1:] == ["next"]
        assert MessageType.FAILED not in {m.type for m in await house.repository.log(room)}


async def test_messages_fail_during_an_outage_and_members_stay_connected(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        member, other = await house.join(room), await house.join(room)
        house.repository.away = True
        member.says("lost?")
        began = trio.current_time()
        await until(lambda: member.received[-1].type is MessageType.FAILED)
        assert trio.current_time() - began <= 5.01
        await trio.sleep(600)
        assert not member.closed.is_set()
        house.repository.away = False
        other.says("we are back")
        await member.hears("we are back")
        assert "lost?" not in other.texts
        await house.stop()
        assert_pairs(await house.repository.log(room))


async def test_a_member_over_plain_asgi_hears_the_same(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        plain, quick = await house.join(room, slow=True), await house.join(room)
        quick.says(*(str(n) for n in range(50)))
        await plain.hears("49")
        assert plain.received == await house.repository.log(room)


async def test_what_waits_for_a_member_is_sent_in_one_write_and_in_order(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        member, other = await house.join(room), await house.join(room)
        member.stalls()
        texts = [str(n) for n in range(10)]
        other.says(*texts)
        await other.hears("9")
        writes = member.writes
        member.reads_on()
        await member.hears("9")
        assert member.writes <= writes + 2
        other.says("one more")
        await member.hears(*texts, "one more")
        assert member.received == await house.repository.log(room)


async def test_a_member_that_reads_again_gets_more_than_its_buffer_holds(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        member, other = await house.join(room, slow=True), await house.join(room)
        member.stalls()
        texts = [f"{n} {'x' * 300}" for n in range(3 * BUFFER // 300)]
        other.says(*texts)
        await other.hears(texts[-1])
        member.reads_on()
        await member.hears(texts[-1])
        assert member.received == await house.repository.log(room)


@pytest.mark.parametrize(
    "policy",
    [
        Policy(message_rate=0, max_waiting_bytes=BUFFER - 1000),
        # A part waits in the connection's buffer, and the rest in the mailbox.
        Policy(message_rate=0, max_waiting_bytes=2 * BUFFER),
        Policy(message_rate=0, max_waiting_batches=3),
    ],
)
async def test_a_slow_member_is_closed_and_nobody_else_waits(
    autojump_clock: MockClock, policy: Policy
) -> None:
    async with open_house(policy=policy) as house:
        room = await house.repository.make_room()
        slow = await house.visit(room)
        other, third = await house.join(room), await house.join(room)
        slow.connection.stalls()
        texts = [str(n) for n in range(3 * BUFFER // len(to_json(other.received[0])))]
        began = trio.current_time()
        other.says(*texts)
        await other.hears(*texts)
        await third.hears(*texts)
        assert trio.current_time() == pytest.approx(began, abs=0.01)
        assert await slow.ends() == TOO_SLOW
        name = slow.connection.received[0].member_name
        await other.hears(f"{name} left the room.")


async def test_a_single_message_of_any_size_is_sent(autojump_clock: MockClock) -> None:
    policy = Policy(message_rate=0, max_waiting_bytes=100)
    async with open_house(policy=policy) as house:
        room = await house.repository.make_room()
        member, other = await house.join(room, slow=True), await house.join(room)
        other.says("x" * 10_000)
        await member.hears("x" * 10_000)
        await trio.sleep(1)
        assert not member.closed.is_set()


@pytest.mark.parametrize("slow", [False, True])
async def test_a_client_that_hangs_up_while_it_is_being_sent_a_message_leaves_normally(
    autojump_clock: MockClock, slow: bool
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        leaver = await house.visit(room, connection=FakeConnection(slow=slow))
        other = await house.join(room)
        step = house.repository.at_next("append", hold=True)
        other.says("hello")
        await step.reached.wait()
        leaver.connection.breaks()  # The next `offer` or `drain` notices.
        step.release()
        await other.hears("hello")
        leaver.connection.hangs_up()
        assert await leaver.ends() is None
        await house.stop()
        assert_pairs(await house.repository.log(room))


@pytest.mark.parametrize("slow", [False, True])
async def test_a_member_that_raises_is_closed_and_nobody_else_is(
    autojump_clock: MockClock, slow: bool
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        broken = await house.visit(room, connection=FakeConnection(slow=slow))
        other = await house.join(room)
        broken.connection.raises = RuntimeError("a bug in the connection")
        other.says("hello")
        assert await broken.ends() == INTERNAL_ERROR
        await other.hears("hello")
        other.says("still here")
        await other.hears("still here")
        assert not other.closed.is_set()
        await house.stop()
        assert_pairs(await house.repository.log(room))


async def test_a_member_whose_joined_cannot_be_stored_is_told_to_try_later(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        visit = await house.visit(room)
        house.repository.away = True
        assert await visit.ends(within=5.01) == TRY_LATER
        house.repository.away = False
        await house.stop()
        assert await house.repository.log(room) == []


async def test_a_joined_that_was_stored_without_an_answer_gets_its_left(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        house.repository.at_next("append", lost=True)
        visit = await house.visit(room)
        await until(lambda: house.repository.calls["append"] == 1)
        house.repository.away = True
        assert await visit.ends() == TRY_LATER
        house.repository.away = False
        await house.stop()
        assert [m.type.value for m in await house.repository.log(room)] == ["joined", "left"]


async def test_a_member_whose_room_is_deleted_before_its_joined_is_stored_is_told_so(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        step = house.repository.at_next("append", hold=True)
        visit = await house.visit(room)
        await step.reached.wait()
        await house.repository.delete_room(room, KEY)
        step.release()
        assert await visit.ends() == ROOM_DELETED


async def test_a_member_that_joins_without_a_lease_is_told_to_reconnect(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        await trio.sleep(0.1)
        lease = house.nodes[0].controller.lease
        await house.repository.end_lease(lease.process_id)
        visit = await house.visit(room)
        assert await visit.ends() == RESTARTING
        assert await house.repository.log(room) == []


async def test_a_member_whose_left_another_process_stored_is_told_that_it_cannot_talk(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=UNLIMITED) as house:
        room = await house.repository.make_room()
        member = await house.join(room)
        (who,) = await house.repository.get_members(room)
        await house.repository.append([drafts.left(room, who)], ids.new_process_id())
        member.says("hello")
        await until(lambda: member.received[-1].type is MessageType.FAILED)
        assert member.texts[-1] == str(NotAMemberError())
