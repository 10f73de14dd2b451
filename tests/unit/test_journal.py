"""The journal: one commit for everything that waits, and an answer for each sender."""

from collections.abc import Sequence

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors.journal import BROKEN, Journal
from sharechat.actors.lease import Lease
from sharechat.actors.policy import Policy
from sharechat.actors.submission import Submission
from sharechat.adapters.memory import MemoryBus
from sharechat.domain import ids
from sharechat.domain.errors import (
    NotAMemberError,
    NotStoredError,
    RejectedError,
    RoomNotFoundError,
)
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Draft, Entry, Identity
from sharechat.domain.sources import Sources
from tests.harness import drafts
from tests.harness.queue import FaultyQueue
from tests.harness.repository import ScriptedRepository


class JournalHarness:
    """A Journal, a member that sends through it, and what it delivered."""

    def __init__(self, nursery: trio.Nursery, policy: Policy | None = None) -> None:
        self.nursery = nursery
        self.repository = ScriptedRepository()
        self.delivered: list[tuple[RoomId, list[str]]] = []
        """The texts of each delivery to a room of this process."""
        self.deliver_raises: Exception | None = None
        """If set, delivering raises this."""
        policy = policy or Policy()
        self.lease = Lease(self.repository, lambda: None, policy, Sources())
        self.queue = FaultyQueue(MemoryBus())
        self.journal = Journal(self.repository, self.queue, self.lease, self._deliver, policy)
        self.member = Identity(ids.new_member_id(), "Teal Heron")
        self.outcomes: dict[str, Entry | NotStoredError] = {}
        """What each text became."""

    async def open(self) -> RoomId:
        """Start the journal, and return a room that the member is in."""
        await self.lease.open()
        room_id = await self.add_room()
        self.nursery.start_soon(self.journal.run)
        self.nursery.start_soon(self.journal.keep_deadlines)
        await wait_all_tasks_blocked()
        self.repository.calls.clear()
        self.repository.commits.clear()
        return room_id

    async def add_room(self) -> RoomId:
        """Return a new room that the member is in."""
        room_id = await self.repository.make_room()
        await self.repository.append([drafts.joined(room_id, self.member)], self.lease.process_id)
        return room_id

    def send(self, room_id: RoomId, *texts: str) -> None:
        """Start to store these, each in a task of its own."""
        for text in texts:
            self.send_draft(drafts.chat(room_id, self.member, text))

    def send_draft(self, draft: Draft) -> None:
        self.nursery.start_soon(self._store, draft)

    async def _store(self, draft: Draft) -> None:
        try:
            self.outcomes[draft.text] = await self.journal.store(draft)
        except NotStoredError as error:
            self.outcomes[draft.text] = error

    def why(self, text: str) -> str:
        """Return why a text was not stored."""
        outcome = self.outcomes[text]
        assert isinstance(outcome, NotStoredError)
        return str(outcome)

    def _deliver(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        if self.deliver_raises:
            raise self.deliver_raises
        self.delivered.append((room_id, [entry.message.text for entry in entries]))


async def test_a_sender_gets_the_entry_that_its_draft_became(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = JournalHarness(nursery)
    room = await harness.open()
    draft = drafts.chat(room, harness.member, "hello")
    entry = await harness.journal.store(draft)
    assert (entry.seq, entry.message.id, entry.message.text) == (2, draft.id, "hello")
    assert harness.delivered == [(room, ["hello"])]


async def test_drafts_that_arrive_during_a_commit_form_the_next_batch(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = JournalHarness(nursery)
    room = await harness.open()
    step = harness.repository.at_next("append", hold=True)
    harness.send(room, "first")
    await step.reached.wait()
    for text in ("a", "b", "c"):
        harness.send(room, text)
        await wait_all_tasks_blocked()
    step.release()
    await wait_all_tasks_blocked()
    assert harness.repository.commits == [["first"], ["a", "b", "c"]]
    assert harness.delivered == [(room, ["first"]), (room, ["a", "b", "c"])]


async def test_a_batch_is_delivered_once_to_each_room_and_in_order(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = JournalHarness(nursery)
    one = await harness.open()
    other = await harness.add_room()
    step = harness.repository.at_next("append", hold=True)
    harness.send(one, "0")
    await step.reached.wait()
    for room, text in ((one, "1"), (other, "2"), (one, "3"), (other, "4")):
        harness.send(room, text)
        await wait_all_tasks_blocked()
    step.release()
    await wait_all_tasks_blocked()
    assert len(harness.delivered) == 3
    assert dict(harness.delivered[1:]) == {one: ["1", "3"], other: ["2", "4"]}


async def test_a_message_is_delivered_before_its_sender_continues(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = JournalHarness(nursery)
    room = await harness.open()
    await harness.journal.store(drafts.chat(room, harness.member, "hello"))
    assert harness.delivered  # There is no checkpoint in between.


async def test_a_refused_draft_does_not_affect_the_rest_of_its_batch(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = JournalHarness(nursery)
    room = await harness.open()
    step = harness.repository.at_next("append", hold=True)
    harness.send(room, "first")
    await step.reached.wait()
    stranger = Identity(ids.new_member_id(), "Red Roof")
    harness.send(room, "before", "a NUL: \0", "after")
    harness.send(ids.new_room_id(), "nowhere")
    harness.send_draft(drafts.chat(room, stranger, "stranger"))
    await wait_all_tasks_blocked()
    step.release()
    await wait_all_tasks_blocked()
    assert len(harness.repository.commits) == 2
    assert isinstance(harness.outcomes["before"], Entry)
    assert isinstance(harness.outcomes["after"], Entry)
    assert "NUL" in harness.why("a NUL: \0")
    assert harness.why("nowhere") == str(RoomNotFoundError())
    assert harness.why("stranger") == str(NotAMemberError())
    assert isinstance(harness.outcomes["nowhere"].__cause__, RoomNotFoundError)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(RejectedError("Too much."), "Too much."), (RuntimeError("a bug"), BROKEN)],
)
async def test_a_draft_whose_batch_cannot_be_stored_is_refused_alone(
    autojump_clock: MockClock, nursery: trio.Nursery, error: Exception, reason: str
) -> None:
    harness = JournalHarness(nursery)
    room = await harness.open()
    harness.repository.poison["poison"] = error
    step = harness.repository.at_next("append", hold=True)
    harness.send(room, "first")
    await step.reached.wait()
    for text in ("a", "b", "poison", "c", "d"):
        harness.send(room, text)
        await wait_all_tasks_blocked()
    step.release()
    await wait_all_tasks_blocked()
    assert harness.why("poison") == reason
    assert all(isinstance(harness.outcomes[text], Entry) for text in "abcd")
    assert (await harness.repository.texts(room))[1:] == ["first", "a", "b", "c", "d"]


async def test_a_full_mailbox_makes_senders_wait_and_loses_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = JournalHarness(nursery, Policy(journal_mailbox=2))
    room = await harness.open()
    step = harness.repository.at_next("append", hold=True)
    harness.send(room, "first")
    await step.reached.wait()
    many = [str(n) for n in range(10)]
    for text in many:
        harness.send(room, text)
        await wait_all_tasks_blocked()
    step.release()
    await wait_all_tasks_blocked()
    assert max(map(len, harness.repository.commits)) == 2
    assert (await harness.repository.texts(room))[2:] == many


async def test_a_left_never_waits_and_is_stored_after_what_its_member_sent(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    harness = JournalHarness(nursery, Policy(journal_mailbox=2))
    room = await harness.open()
    step = harness.repository.at_next("append", hold=True)
    harness.send(room, "first")
    await step.reached.wait()
    harness.send(room, "a")
    await wait_all_tasks_blocked()
    harness.send(room, "b")
    await wait_all_tasks_blocked()
    harness.journal.leave(drafts.left(room, harness.member))  # The mailbox is full.
    step.release()
    await harness.journal.lefts_stored()
    assert (await harness.repository.texts(room))[1:] == [
        "first",
        "a",
        "b",
        "Teal Heron left the room.",
    ]


async def test_a_left_that_finds_an_idle_journal_flooded_is_stored_after_what_its_member_sent(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = JournalHarness(nursery, Policy(journal_mailbox=2))
    room = await harness.open()
    texts = ["a", "b", "c"]
    for text in texts:  # Nothing else runs in between: one wakes the journal, two wait.
        await harness.journal.submit(Submission(drafts.chat(room, harness.member, text)))
    harness.journal.leave(drafts.left(room, harness.member))
    await harness.journal.lefts_stored()
    assert (await harness.repository.texts(room))[1:] == [*texts, "Teal Heron left the room."]


async def test_a_left_that_overflowed_the_mailbox_is_stored_while_others_keep_talking(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    harness = JournalHarness(nursery, Policy(journal_mailbox=2))
    room = await harness.open()
    leaver = Identity(ids.new_member_id(), "Red Roof")
    await harness.repository.append([drafts.joined(room, leaver)], harness.lease.process_id)

    async def keep_talking(number: int) -> None:
        for n in range(50):
            await harness.journal.store(drafts.chat(room, harness.member, f"{number}.{n}"))

    async with trio.open_nursery() as talking:
        for number in range(12):
            talking.start_soon(keep_talking, number)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        harness.journal.leave(drafts.left(room, leaver))
    texts = await harness.repository.texts(room)
    assert len(texts) == 2 + 12 * 50 + 1
    assert texts.index("Red Roof left the room.") < 50


async def test_a_left_of_someone_who_never_joined_is_not_stored(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = JournalHarness(nursery)
    room = await harness.open()
    harness.journal.leave(drafts.left(room, Identity(ids.new_member_id(), "Red Roof")))
    await harness.journal.lefts_stored()
    assert len(await harness.repository.log(room)) == 1


async def test_an_idle_journal_waits_for_no_left_and_does_not_call_the_repository(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = JournalHarness(nursery)
    await harness.open()
    await harness.journal.lefts_stored()
    await trio.sleep(1000)
    assert not harness.repository.calls


async def test_a_batch_is_bounded_in_bytes(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = JournalHarness(nursery, Policy(batch_bytes=1000))
    room = await harness.open()
    step = harness.repository.at_next("append", hold=True)
    harness.send(room, "first")
    await step.reached.wait()
    texts = [letter * 400 for letter in "abcdefg"]
    for text in [*texts, "x" * 5000, "last"]:
        harness.send(room, text)
        await wait_all_tasks_blocked()
    step.release()
    await trio.sleep(1)
    commits = [[text[:1] for text in commit] for commit in harness.repository.commits]
    assert commits == [["f"], ["a", "b", "c"], ["d", "e", "f"], ["g", "x"], ["l"]]
    assert all(isinstance(outcome, Entry) for outcome in harness.outcomes.values())
