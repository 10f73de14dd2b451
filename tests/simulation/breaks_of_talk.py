"""Faults in Talk, the subprotocol and the look-up of ids: see `breaks.py`."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any
from unittest import mock
from weakref import WeakKeyDictionary

import msgspec
import trio

from sharechat.actors import member
from sharechat.actors.journal import Journal
from sharechat.actors.member import Member
from sharechat.actors.submission import Submission
from sharechat.actors.talk import Talk
from sharechat.adapters.memory import MemoryRepository
from sharechat.domain import subprotocols
from sharechat.domain.batch import Batch
from sharechat.domain.errors import (
    ConnectionClosedError,
    NotAMemberError,
    NotStoredError,
    SharechatError,
)
from sharechat.domain.ids import MessageId, ProcessId
from sharechat.domain.messages import Draft, Entry, Identity, MessageType
from sharechat.domain.ports import Refusal
from sharechat.domain.subprotocols import MalformedError, Said, SharechatV1


def chosen_id() -> AbstractContextManager[object]:
    """The id that a client has chosen is ignored, and each message gets a new one."""
    read = SharechatV1.read

    def read_text(self: SharechatV1, frame: str) -> Said:
        return read(self, frame)._replace(id=None)

    return mock.patch.object(SharechatV1, "read", read_text)


def capital_id() -> AbstractContextManager[object]:
    """An id in capitals is another id."""
    return mock.patch.object(subprotocols, "parse_message_id", MessageId)


def repeated_text() -> AbstractContextManager[object]:
    """What is said again is answered with its new text, which is not what is stored."""
    repeat = Talk._repeat

    def repeat_and_quote(self: Talk, entry: Entry) -> None:
        assert self._unanswered is not None
        message = msgspec.structs.replace(entry.message, text=self._unanswered.draft.text)
        repeat(self, Entry(entry.seq, message))

    return mock.patch.object(Talk, "_repeat", repeat_and_quote)


def id_of_another() -> AbstractContextManager[object]:
    """An id that another member has used, perhaps of the same client before, is not looked up."""
    append = MemoryRepository._append

    def append_anew(self: MemoryRepository, draft: Draft, process_id: ProcessId) -> Entry | Refusal:
        outcome = append(self, draft, process_id)
        if isinstance(outcome, Entry) and outcome.message.member_id != draft.member.id:
            del self._rooms[draft.room_id].seqs[draft.id]
            return append(self, draft, process_id)
        return outcome

    return mock.patch.object(MemoryRepository, "_append", append_anew)


def id_in_same_batch() -> AbstractContextManager[object]:
    """Only what is stored already is looked up, so an id that a batch has twice is stored twice."""

    async def append(
        self: MemoryRepository, drafts: Sequence[Draft], process_id: ProcessId
    ) -> list[Entry | Refusal]:
        await trio.lowlevel.checkpoint()
        heads = {room_id: len(room.log) for room_id, room in self._rooms.items()}
        outcomes = []
        for draft in drafts:
            room = self._rooms.get(draft.room_id)
            if room is not None and room.seqs.get(draft.id, 0) > heads[draft.room_id]:
                del room.seqs[draft.id]
            outcomes.append(self._append(draft, process_id))
        return outcomes

    return mock.patch.object(MemoryRepository, "append", append)


def absent_author() -> AbstractContextManager[object]:
    """A message whose first author has left is refused, although it is stored."""
    append = MemoryRepository._append

    def append_if_here(
        self: MemoryRepository, draft: Draft, process_id: ProcessId
    ) -> Entry | Refusal:
        outcome = append(self, draft, process_id)
        if isinstance(outcome, Entry) and draft.type is MessageType.CHAT:
            members = self._rooms[draft.room_id].members
            if outcome.message.member_id not in members:
                return NotAMemberError()
        return outcome

    return mock.patch.object(MemoryRepository, "_append", append_if_here)


def silent_repeat() -> AbstractContextManager[object]:
    """Saying something again is not answered."""

    return mock.patch.object(Talk, "_repeat")


def public_repeat() -> AbstractContextManager[object]:
    """The answer to what is said again goes to all members here."""

    def repeat(self: Talk, entry: Entry) -> None:
        sender: Member = self._deliver.__self__  # type: ignore[attr-defined]
        recipients = {sender.id: sender} | sender._room._members
        for recipient in recipients.values():
            recipient.deliver(Batch([entry.message]))

    return mock.patch.object(Talk, "_repeat", repeat)


def early_repeat() -> AbstractContextManager[object]:
    """The answer to what is said again comes before the client has heard that it has joined."""

    settle = Talk._settle

    def settle_at_once(self: Talk, outcome: Entry | NotStoredError) -> None:
        settle(self, outcome)
        if isinstance(self._outcome, Entry):
            self._answer(self._outcome)

    return mock.patch.object(Talk, "_settle", settle_at_once)


def hasty_repeat() -> AbstractContextManager[object]:
    """The answer to what is said again comes before the copy in the log."""

    def repeat(self: Talk, entry: Entry) -> None:
        self._deliver(Batch([entry.message]))

    return mock.patch.object(Talk, "_repeat", repeat)


def room_position() -> AbstractContextManager[object]:
    """A client counts as having heard what its room has put in order, no more and no less."""
    return _positioned(lambda member: member._room.position)


def place_ahead() -> AbstractContextManager[object]:
    """A member counts as being one message further than it is, so what is new is answered twice."""
    return _positioned(lambda member: member.position + 1)


def _positioned(position_of: Callable[[Member], int]) -> AbstractContextManager[object]:
    init: Any = Talk.__init__

    def init_with_position(self: Talk, *args: Any) -> None:
        *others, _, deliver, telemetry = args
        init(self, *others, lambda: position_of(deliver.__self__), deliver, telemetry)

    return mock.patch.object(Talk, "__init__", init_with_position)


def failed_id() -> AbstractContextManager[object]:
    """A message that failed once is refused when it is said again, even if it is stored."""
    submit = Journal.submit
    failed_here = WeakKeyDictionary[Journal, set[MessageId]]()

    async def submit_if_new(self: Journal, submission: Submission) -> None:
        failed, settle = failed_here.setdefault(self, set()), submission.settle

        def settle_and_note(outcome: Entry | NotStoredError) -> None:
            if isinstance(outcome, NotStoredError):
                failed.add(submission.draft.id)
            if settle is not None:
                settle(outcome)

        submission.settle = settle_and_note
        if submission.draft.id in failed:
            submission.expire()
        else:
            await submit(self, submission)

    return mock.patch.object(Journal, "submit", submit_if_new)


def greeting() -> AbstractContextManager[object]:
    """A client is not told who it is."""

    def greet(self: SharechatV1, room: object, member: Identity) -> None:
        pass

    return mock.patch.object(SharechatV1, "greeting", greet)


def departed_client() -> AbstractContextManager[object]:
    """A client that goes before it can be greeted never joins, and what it said is lost."""

    def suppress_others(*errors: type[Exception]) -> AbstractContextManager[object]:
        return nullcontext() if errors == (ConnectionClosedError,) else suppress(*errors)

    return mock.patch.object(member, "suppress", suppress_others)


def malformed_frame() -> AbstractContextManager[object]:
    """A frame that the subprotocol does not allow is not answered."""
    fail = Talk._fail

    def fail_unless_malformed(self: Talk, draft: Draft, reason: SharechatError) -> None:
        if not isinstance(reason, MalformedError):
            fail(self, draft, reason)

    return mock.patch.object(Talk, "_fail", fail_unless_malformed)
