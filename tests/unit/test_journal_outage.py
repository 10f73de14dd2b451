"""The journal while the Repository is away: what fails, what waits, and what is retried."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors.policy import Policy
from sharechat.actors.submission import AWAY
from sharechat.domain import ids, messages
from sharechat.domain.errors import NotStoredError, UnavailableError
from sharechat.domain.messages import Entry
from tests.harness import drafts
from tests.unit.test_journal import JournalHarness


async def test_a_sender_is_told_within_five_seconds_that_its_message_was_not_stored(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    harness = JournalHarness(nursery)
    room = await harness.open()
    harness.repository.away = True
    began = trio.current_time()
    with pytest.raises(NotStoredError, match=AWAY):
        await harness.journal.store(drafts.chat(room, harness.member, "hello"))
    assert trio.current_time() - began <= 5


async def test_senders_time_out_if_the_commit_hangs_or_the_mailbox_is_full(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    harness = JournalHarness(nursery, Policy(journal_mailbox=1))
    room = await harness.open()
    harness.repository.at_next("append", hold=True)
    harness.send(room, "hangs")
    await wait_all_tasks_blocked()
    harness.send(room, "waits", "waits for room")
    await trio.sleep(5.001)
    assert [harness.why(text) for text in ("hangs", "waits", "waits for room")] == [AWAY] * 3


async def test_a_short_outage_only_delays_messages(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = JournalHarness(nursery)
    room = await harness.open()
    harness.repository.away = True
    harness.send(room, "hello")
    await trio.sleep(3)
    harness.repository.away = False
    await trio.sleep(0.5)
    assert isinstance(harness.outcomes["hello"], Entry)


async def test_a_draft_that_timed_out_is_not_stored_but_one_of_a_cancelled_sender_is(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    harness = JournalHarness(nursery)
    room = await harness.open()
    step = harness.repository.at_next("append", hold=True)
    harness.send(room, "first")
    await step.reached.wait()
    with pytest.raises(NotStoredError):
        await harness.journal.store(drafts.chat(room, harness.member, "given up"))
    with trio.move_on_after(1) as leaving:
        await harness.journal.store(drafts.chat(room, harness.member, "last words"))
    assert leaving.cancelled_caught
    step.release()
    await wait_all_tasks_blocked()
    assert (await harness.repository.texts(room))[1:] == ["first", "last words"]


async def test_a_batch_of_nothing_but_timed_out_drafts_is_not_committed(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    harness = JournalHarness(nursery)
    room = await harness.open()
    harness.repository.away = True
    with pytest.raises(NotStoredError):
        await harness.journal.store(drafts.chat(room, harness.member, "hello"))
    await trio.sleep(1)
    harness.repository.calls.clear()
    harness.repository.away = False
    await trio.sleep(10)
    assert not harness.repository.calls
    assert (await harness.journal.store(drafts.chat(room, harness.member, "again"))).seq == 2


@pytest.mark.parametrize("times", [1, 3])
async def test_a_commit_whose_answer_was_lost_is_retried_and_stored_once(
    autojump_clock: MockClock, nursery: trio.Nursery, times: int
) -> None:
    harness = JournalHarness(nursery)
    room = await harness.open()
    for _ in range(times):
        harness.repository.at_next("append", lost=True)
    entry = await harness.journal.store(drafts.chat(room, harness.member, "hello"))
    assert entry.seq == 2
    assert (await harness.repository.texts(room))[1:] == ["hello"]
    assert harness.delivered == [(room, ["hello"])]


async def test_a_batch_that_was_halved_is_stored_once_and_in_order_even_if_an_answer_is_lost(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    harness = JournalHarness(nursery)
    room = await harness.open()
    step = harness.repository.at_next("append", hold=True)
    harness.send(room, "first")
    await step.reached.wait()
    for text in "abcd":
        harness.send(room, text)
        await wait_all_tasks_blocked()
    harness.repository.at_next("append", error=RuntimeError("a bug"))  # The whole batch.
    harness.repository.at_next("append")  # Its first half.
    harness.repository.at_next("append", lost=True)  # Its second half.
    step.release()
    await trio.sleep(1)
    assert (await harness.repository.texts(room))[2:] == ["a", "b", "c", "d"]
    assert all(isinstance(harness.outcomes[text], Entry) for text in "abcd")


async def test_a_left_is_stored_after_an_outage_of_any_length(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = JournalHarness(nursery, Policy(journal_mailbox=2))
    room = await harness.open()
    people = [messages.Identity(ids.new_member_id(), f"Red {n}") for n in range(7)]
    await harness.repository.append(
        [drafts.joined(room, who) for who in people], harness.lease.process_id
    )
    harness.repository.away = True
    for who in people:
        harness.journal.leave(drafts.left(room, who))
        await trio.sleep(1)
    settled = trio.Event()

    async def watch() -> None:
        await harness.journal.lefts_stored()
        settled.set()

    nursery.start_soon(watch)
    await trio.sleep(60)
    assert not settled.is_set()
    harness.repository.away = False
    with trio.fail_after(5):
        await settled.wait()
    texts = await harness.repository.texts(room)
    assert texts[-7:] == [f"Red {n} left the room." for n in range(7)]


async def test_a_member_is_made_to_leave_once_however_often_it_is_asked_for(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = JournalHarness(nursery)
    room = await harness.open()
    step = harness.repository.at_next("append", hold=True)
    harness.send(room, "holds the journal up")
    await step.reached.wait()
    for _ in range(1000):
        harness.journal.leave(drafts.left(room, harness.member))
    step.release()
    await harness.journal.lefts_stored()
    assert harness.repository.commits[1:] == [["Teal Heron left the room."]]
    # Later it may be asked for again; the Repository refuses it.
    harness.journal.leave(drafts.left(room, harness.member))
    await harness.journal.lefts_stored()
    assert len(harness.repository.commits) == 3


async def test_a_journal_that_was_cancelled_can_run_again_and_has_lost_nothing(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        harness = JournalHarness(nursery)
        async with trio.open_nursery() as first_run:
            harness.nursery = first_run
            room = await harness.open()
            harness.repository.at_next("append", hold=True)
            harness.journal.leave(drafts.left(room, harness.member))
            await wait_all_tasks_blocked()
            first_run.cancel_scope.cancel()
        nursery.start_soon(harness.journal.run)
        await harness.journal.lefts_stored()
        assert (await harness.repository.texts(room))[1:] == ["Teal Heron left the room."]
        nursery.cancel_scope.cancel()


async def test_senders_are_told_what_was_stored_even_if_delivering_fails(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = JournalHarness(nursery)
    harness.deliver_raises = RuntimeError("a bug in a room")

    async def run_once() -> None:
        with pytest.raises(RuntimeError, match="a bug in a room"):
            await harness.journal.run()

    await harness.lease.open()
    room = await harness.add_room()
    nursery.start_soon(run_once)
    entry = await harness.journal.store(drafts.chat(room, harness.member, "hello"))
    assert entry.seq == 2


async def test_a_retry_that_raises_is_reported_to_the_sender(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    harness = JournalHarness(nursery)
    room = await harness.open()
    harness.repository.at_next("append", error=UnavailableError("gone"))
    harness.repository.at_next("append", error=RuntimeError("a bug that passes"))
    harness.send(room, "a")
    await trio.sleep(1)
    assert "went wrong" in harness.why("a")
