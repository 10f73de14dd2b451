"""The journal: one commit for all that waits, and an answer for each sender."""

from collections.abc import Sequence

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors.journal import BROKEN, Journal
from sharechat.actors.lease import Lease
from sharechat.actors.policy import Policy
from sharechat.adapters.memory import MemoryBus
from sharechat.domain import ids
from sharechat.domain.errors import (
    NotAMemberError,
    NotStoredError,
    RejectedError,
    RoomNotFoundError,
)
from sharechat.domain.ids import ProcessId, RoomId
from sharechat.domain.messages import Draft, Entry, Identity
from sharechat.domain.sources import Sources
from tests.harness import drafts
from tests.harness.queue import FaultyQueue
from tests.harness.repository import ScriptedRepository


class Desk:
    """A running Journal, a member that talks through it, and what it handed on."""

    def __init__(self, nursery: trio.Nursery, policy: Policy | None = None) -> None:
        self.nursery = nursery
        self.repository = ScriptedRepository()
        self.delivered: list[tuple[RoomId, list[str]]] = []
        self.deliver_raises: Exception | None = None
        policy = policy or Policy()
        self.lease = Lease(self.repository, lambda: None, policy, Sources())
        self.queue = FaultyQueue(MemoryBus())
        self.journal = Journal(self.repository, self.queue, self.lease, self._deliver, policy)
        self.member = Identity(ids.new_member_id(), "Teal Heron")
        self.outcomes: dict[str, Entry | NotStoredError] = {}

    async def open(self) -> RoomId:
        """Make a room that the member is in, and start the journal."""
        await self.lease.open()
        room_id = await self.add_room()
        self.nursery.start_soon(self.journal.run)
        await wait_all_tasks_blocked()
        self.repository.calls.clear()
        self.repository.commits.clear()
        return room_id

    async def add_room(self) -> RoomId:
        room_id = await self.repository.make_room()
        await self.repository.append([drafts.joined(room_id, self.member)], self.lease.process_id)
        return room_id

    def send(self, room_id: RoomId, *texts: str) -> None:
        """Begin to store these, each by a task of its own, one after the other."""
        for text in texts:
            draft = drafts.chat(room_id, self.member, text)
            self.nursery.start_soon(self._send, draft)

    async def _send(self, draft: Draft) -> None:
        try:
            self.outcomes[draft.text] = await self.journal.store(draft)
        except NotStoredError as error:
            self.outcomes[draft.text] = error

    def why(self, text: str) -> str:
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
    desk = Desk(nursery)
    room = await desk.open()
    draft = drafts.chat(room, desk.member, "hello")
    entry = await desk.journal.store(draft)
    assert (entry.seq, entry.message.id, entry.message.text) == (2, draft.id, "hello")
    assert desk.delivered == [(room, ["hello"])]


async def test_what_gathers_during_one_commit_is_the_next_batch(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(nursery)
    room = await desk.open()
    step = desk.repository.at_next("append", hold=True)
    desk.send(room, "first")
    await step.reached.wait()
    for text in ("a", "b", "c"):
        desk.send(room, text)
        await wait_all_tasks_blocked()
    step.release()
    await wait_all_tasks_blocked()
    assert desk.repository.commits == [["first"], ["a", "b", "c"]]
    assert desk.delivered == [(room, ["first"]), (room, ["a", "b", "c"])]


async def test_a_batch_is_handed_on_room_by_room_in_order(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(nursery)
    one = await desk.open()
    other = await desk.add_room()
    step = desk.repository.at_next("append", hold=True)
    desk.send(one, "0")
    await step.reached.wait()
    for room, text in ((one, "1"), (other, "2"), (one, "3"), (other, "4")):
        desk.send(room, text)
        await wait_all_tasks_blocked()
    step.release()
    await wait_all_tasks_blocked()
    assert sorted(desk.delivered[1:]) == sorted([(one, ["1", "3"]), (other, ["2", "4"])])


async def test_it_is_delivered_before_its_sender_goes_on(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(nursery)
    room = await desk.open()
    await desk.journal.store(drafts.chat(room, desk.member, "hello"))
    assert desk.delivered  # no checkpoint lies between


async def test_what_is_refused_fails_alone(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(nursery)
    room = await desk.open()
    step = desk.repository.at_next("append", hold=True)
    desk.send(room, "first")
    await step.reached.wait()
    stranger = Identity(ids.new_member_id(), "Red Roof")
    desk.send(room, "before", "a NUL: \0", "after")
    desk.send(ids.new_room_id(), "nowhere")
    nursery.start_soon(desk._send, drafts.chat(room, stranger, "stranger"))
    await wait_all_tasks_blocked()
    step.release()
    await wait_all_tasks_blocked()
    assert len(desk.repository.commits) == 2
    assert isinstance(desk.outcomes["before"], Entry)
    assert isinstance(desk.outcomes["after"], Entry)
    assert "NUL" in desk.why("a NUL: \0")
    assert desk.why("nowhere") == str(RoomNotFoundError())
    assert desk.why("stranger") == str(NotAMemberError())
    assert isinstance(desk.outcomes["nowhere"].__cause__, RoomNotFoundError)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(RejectedError("Too much."), "Too much."), (RuntimeError("a bug"), BROKEN)],
)
async def test_a_draft_that_spoils_its_batch_fails_alone(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
) -> None:
    desk = Desk(nursery)
    room = await desk.open()
    append = desk.repository.append

    async def choosy(drafts: Sequence[Draft], process_id: ProcessId) -> object:
        if any(draft.text == "poison" for draft in drafts):
            raise error
        return await append(drafts, process_id)

    monkeypatch.setattr(desk.repository, "append", choosy)
    step = desk.repository.at_next("append", hold=True)
    desk.send(room, "first")
    await step.reached.wait()
    desk.send(room, "a", "b", "poison", "c", "d")
    await wait_all_tasks_blocked()
    step.release()
    await wait_all_tasks_blocked()
    assert desk.why("poison") == reason
    assert all(isinstance(desk.outcomes[text], Entry) for text in "abcd")
    texts = await desk.repository.texts(room)
    assert sorted(texts[1:]) == ["a", "b", "c", "d", "first"]


async def test_a_full_mailbox_makes_senders_wait_and_loses_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(nursery, Policy(journal_mailbox=2))
    room = await desk.open()
    step = desk.repository.at_next("append", hold=True)
    desk.send(room, "first")
    await step.reached.wait()
    many = [str(n) for n in range(10)]
    desk.send(room, *many)
    await wait_all_tasks_blocked()
    step.release()
    await wait_all_tasks_blocked()
    assert max(map(len, desk.repository.commits)) == 2
    assert sorted((await desk.repository.texts(room))[2:]) == many


async def test_a_left_never_waits_and_comes_after_what_its_member_sent(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    desk = Desk(nursery, Policy(journal_mailbox=2))
    room = await desk.open()
    step = desk.repository.at_next("append", hold=True)
    desk.send(room, "first")
    await step.reached.wait()
    desk.send(room, "a")
    await wait_all_tasks_blocked()
    desk.send(room, "b")
    await wait_all_tasks_blocked()
    desk.journal.leave(drafts.left(room, desk.member))  # the mailbox is full
    step.release()
    await desk.journal.settled()
    assert (await desk.repository.texts(room))[1:] == [
        "first",
        "a",
        "b",
        "Teal Heron left the room.",
    ]


async def test_a_left_that_found_no_room_is_stored_even_while_others_never_stop_talking(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    desk = Desk(nursery, Policy(journal_mailbox=2))
    room = await desk.open()
    goer = Identity(ids.new_member_id(), "Red Roof")
    await desk.repository.append([drafts.joined(room, goer)], desk.lease.process_id)

    async def talk_on(who: int) -> None:
        for n in range(50):
            await desk.journal.store(drafts.chat(room, desk.member, f"{who}.{n}"))

    for who in range(12):
        nursery.start_soon(talk_on, who)
    await trio.lowlevel.checkpoint()
    await trio.lowlevel.checkpoint()
    desk.journal.leave(drafts.left(room, goer))
    await desk.journal.settled()
    texts = await desk.repository.texts(room)
    assert len(texts) == 2 + 12 * 50 + 1
    assert texts.index("Red Roof left the room.") < 50


async def test_a_left_of_one_who_never_joined_stores_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(nursery)
    room = await desk.open()
    desk.journal.leave(drafts.left(room, Identity(ids.new_member_id(), "Red Roof")))
    await desk.journal.settled()
    assert len(await desk.repository.log(room)) == 1


async def test_an_idle_journal_is_settled_and_asks_for_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(nursery)
    await desk.open()
    await desk.journal.settled()
    await trio.sleep(1000)
    assert not desk.repository.calls
