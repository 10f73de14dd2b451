"""What the journal tells authors that do not wait for their messages to be stored."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors.policy import Policy
from sharechat.actors.submission import AWAY, Submission
from sharechat.domain import ids
from sharechat.domain.errors import NotAMemberError, NotStoredError
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry, Identity
from tests.harness import drafts
from tests.harness.repository import Step
from tests.unit.test_journal import JournalHarness


class Author:
    """Submits texts, and notes what it is told of each, and when."""

    def __init__(self, harness: JournalHarness, room_id: RoomId) -> None:
        self.told: list[tuple[str, Entry | NotStoredError, float]] = []
        self._harness = harness
        self._room_id = room_id

    async def submit(self, text: str, member: Identity | None = None) -> None:
        def settle(outcome: Entry | NotStoredError) -> None:
            self.told.append((text, outcome, trio.current_time()))

        draft = drafts.chat(self._room_id, member or self._harness.member, text)
        await self._harness.journal.submit(Submission(draft, settle))

    async def submit_and_hold(self, text: str) -> Step:
        """Submit a text and wait until it is being stored, which goes on once it is released."""
        step = self._harness.repository.at_next("append", hold=True)
        await self.submit(text)
        await step.reached.wait()
        return step

    @property
    def failed(self) -> list[tuple[str, str]]:
        """The texts that were not stored, and why."""
        return [(text, str(why)) for text, why, _ in self.told if isinstance(why, NotStoredError)]


async def test_an_author_is_told_the_entry_after_it_was_delivered(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = JournalHarness(nursery)
    author = Author(harness, await harness.open())
    await author.submit("hello")
    assert not author.told
    await wait_all_tasks_blocked()
    ((_, entry, _),) = author.told
    assert isinstance(entry, Entry)
    assert (entry.seq, entry.message.text) == (2, "hello")
    assert [texts for _, texts in harness.delivered] == [["hello"]]


async def test_an_author_is_told_why_its_message_was_refused(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = JournalHarness(nursery)
    author = Author(harness, await harness.open())
    await author.submit("hello", Identity(ids.new_member_id(), "Red Roof"))
    await wait_all_tasks_blocked()
    ((_, why, _),) = author.told
    assert isinstance(why, NotStoredError)
    assert isinstance(why.__cause__, NotAMemberError)


async def test_authors_are_told_after_five_seconds_whatever_the_journal_waits_for(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = JournalHarness(nursery, Policy(journal_mailbox=1))
    author = Author(harness, await harness.open())
    began = trio.current_time()
    step = await author.submit_and_hold("is being stored")
    await trio.sleep(1)
    await author.submit("is in the mailbox")
    await trio.sleep(1)
    nursery.start_soon(author.submit, "waits for the mailbox")
    await trio.sleep(10)
    texts = ["is being stored", "is in the mailbox", "waits for the mailbox"]
    assert author.failed == [(text, AWAY) for text in texts]
    assert [round(at - began, 3) for _, _, at in author.told] == [5, 6, 7]

    # Only the first of them can have been stored all the same, and nobody is told twice.
    step.release()
    await trio.sleep(10)
    assert [texts for _, texts in harness.delivered] == [["is being stored"]]
    assert len(author.told) == 3


async def test_an_author_that_is_cancelled_before_the_mailbox_had_room_is_told_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = JournalHarness(nursery, Policy(journal_mailbox=1))
    author = Author(harness, await harness.open())
    step = await author.submit_and_hold("first")
    await author.submit("second")
    with trio.move_on_after(1) as leaving:
        await author.submit("third")
    assert leaving.cancelled_caught
    step.release()
    await trio.sleep(10)
    assert [text for text, _, _ in author.told] == ["first", "second"]
    assert [texts for _, texts in harness.delivered] == [["first"], ["second"]]


async def test_an_answer_that_came_while_the_process_was_frozen_counts_before_the_deadline(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = JournalHarness(nursery)
    author = Author(harness, await harness.open())
    step = await author.submit_and_hold("hello")
    await wait_all_tasks_blocked()
    mock_clock.jump(60)
    await wait_all_tasks_blocked()
    step.release()
    await wait_all_tasks_blocked()
    mock_clock.jump(60)
    await wait_all_tasks_blocked()
    ((_, entry, _),) = author.told
    assert isinstance(entry, Entry)


async def test_what_found_no_room_in_the_mailbox_by_its_deadline_has_failed_once_submit_returns(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    author = Author(JournalHarness(nursery, Policy(journal_mailbox=1)), ids.new_room_id())
    await author.submit("first")
    await author.submit("second")
    assert author.failed == [("second", AWAY)]
