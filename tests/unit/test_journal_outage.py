"""The journal while the Repository is away: who is told, who waits, what is owed."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors.journal import AWAY
from sharechat.actors.policy import Policy
from sharechat.domain import ids, messages
from sharechat.domain.errors import NotStoredError, UnavailableError
from sharechat.domain.messages import Entry
from tests.harness import drafts
from tests.unit.test_journal import Desk


async def test_a_sender_is_told_within_five_seconds_that_nothing_can_be_stored(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    desk = Desk(nursery)
    room = await desk.open()
    desk.repository.away = True
    began = trio.current_time()
    with pytest.raises(NotStoredError, match=AWAY):
        await desk.journal.store(drafts.chat(room, desk.member, "hello"))
    assert trio.current_time() - began <= 5


async def test_so_is_one_whose_commit_hangs_and_one_who_found_the_mailbox_full(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    desk = Desk(nursery, Policy(journal_mailbox=1))
    room = await desk.open()
    desk.repository.at_next("append", hold=True)
    desk.send(room, "hangs")
    await wait_all_tasks_blocked()
    desk.send(room, "waits", "waits for room")
    await trio.sleep(5.001)
    assert [desk.why(text) for text in ("hangs", "waits", "waits for room")] == [AWAY] * 3


async def test_a_short_outage_is_not_noticed_but_as_a_delay(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(nursery)
    room = await desk.open()
    desk.repository.away = True
    desk.send(room, "hello")
    await trio.sleep(3)
    desk.repository.away = False
    await trio.sleep(0.5)
    assert isinstance(desk.outcomes["hello"], Entry)


async def test_who_was_told_that_it_failed_is_not_stored_but_last_words_are(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    desk = Desk(nursery)
    room = await desk.open()
    step = desk.repository.at_next("append", hold=True)
    desk.send(room, "first")
    await step.reached.wait()
    with pytest.raises(NotStoredError):
        await desk.journal.store(drafts.chat(room, desk.member, "given up"))
    with trio.move_on_after(1) as leaving:
        await desk.journal.store(drafts.chat(room, desk.member, "last words"))
    assert leaving.cancelled_caught
    step.release()
    await wait_all_tasks_blocked()
    assert (await desk.repository.texts(room))[1:] == ["first", "last words"]


async def test_a_batch_of_nothing_but_what_was_given_up_is_no_commit(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    desk = Desk(nursery)
    room = await desk.open()
    desk.repository.away = True
    with pytest.raises(NotStoredError):
        await desk.journal.store(drafts.chat(room, desk.member, "hello"))
    await trio.sleep(1)
    desk.repository.calls.clear()
    desk.repository.away = False
    await trio.sleep(10)
    assert not desk.repository.calls
    assert (await desk.journal.store(drafts.chat(room, desk.member, "again"))).seq == 2


@pytest.mark.parametrize("times", [1, 3])
async def test_an_answer_that_was_lost_is_asked_for_again_and_stored_once(
    autojump_clock: MockClock, nursery: trio.Nursery, times: int
) -> None:
    desk = Desk(nursery)
    room = await desk.open()
    for _ in range(times):
        desk.repository.at_next("append", lost=True)
    entry = await desk.journal.store(drafts.chat(room, desk.member, "hello"))
    assert entry.seq == 2
    assert (await desk.repository.texts(room))[1:] == ["hello"]
    assert desk.delivered == [(room, ["hello"])]


async def test_half_a_batch_stored_and_the_rest_unknown_ends_up_stored_once(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    desk = Desk(nursery)
    room = await desk.open()
    step = desk.repository.at_next("append", hold=True)
    desk.send(room, "first")
    await step.reached.wait()
    desk.send(room, "a", "b", "c", "d")
    await wait_all_tasks_blocked()
    desk.repository.at_next("append", error=RuntimeError("the batch as a whole"))
    desk.repository.at_next("append")  # its first half
    desk.repository.at_next("append", lost=True)  # its second half
    step.release()
    await trio.sleep(1)
    assert sorted((await desk.repository.texts(room))[2:]) == ["a", "b", "c", "d"]
    assert all(isinstance(desk.outcomes[text], Entry) for text in "abcd")


async def test_a_left_is_stored_after_however_long_an_outage(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(nursery, Policy(journal_mailbox=2))
    room = await desk.open()
    people = [messages.Identity(ids.new_member_id(), f"Red {n}") for n in range(7)]
    await desk.repository.append(
        [drafts.joined(room, who) for who in people], desk.lease.process_id
    )
    desk.repository.away = True
    for who in people:
        desk.journal.leave(drafts.left(room, who))
        await trio.sleep(1)
    settled = trio.Event()

    async def watch() -> None:
        await desk.journal.settled()
        settled.set()

    nursery.start_soon(watch)
    await trio.sleep(60)
    assert not settled.is_set()
    desk.repository.away = False
    with trio.fail_after(5):
        await settled.wait()
    texts = await desk.repository.texts(room)
    assert texts[-7:] == [f"Red {n} left the room." for n in range(7)]


async def test_it_can_be_started_again_and_has_forgotten_nothing(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as all_:
        desk = Desk(all_)
        async with trio.open_nursery() as life:
            desk.nursery = life
            room = await desk.open()
            desk.repository.at_next("append", hold=True)
            desk.journal.leave(drafts.left(room, desk.member))
            await wait_all_tasks_blocked()
            life.cancel_scope.cancel()
        all_.start_soon(desk.journal.run)
        await desk.journal.settled()
        assert (await desk.repository.texts(room))[1:] == ["Teal Heron left the room."]
        all_.cancel_scope.cancel()


async def test_senders_are_told_what_was_stored_even_if_delivering_fails(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(nursery)
    desk.deliver_raises = RuntimeError("a bug in a room")

    async def run_once() -> None:
        with pytest.raises(RuntimeError, match="a bug in a room"):
            await desk.journal.run()

    await desk.lease.open()
    room = await desk.add_room()
    nursery.start_soon(run_once)
    entry = await desk.journal.store(drafts.chat(room, desk.member, "hello"))
    assert entry.seq == 2


async def test_the_repository_may_be_unavailable_for_the_halves_too(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    desk = Desk(nursery)
    room = await desk.open()
    desk.repository.at_next("append", error=UnavailableError("gone"))
    desk.repository.at_next("append", error=RuntimeError("a bug that passes"))
    desk.send(room, "a")
    await trio.sleep(1)
    assert "went wrong" in desk.why("a")
