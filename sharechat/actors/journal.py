"""The journal: the only way into the log, with one commit for everything that waits."""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby

import structlog
import trio

from sharechat.actors.lease import Lease
from sharechat.actors.policy import Policy
from sharechat.domain.errors import (
    NotStoredError,
    RejectedError,
    SharechatError,
    UnavailableError,
)
from sharechat.domain.ids import MemberId, RoomId
from sharechat.domain.messages import Draft, Entry, MessageType
from sharechat.domain.ports import Queue, Refusal, Repository
from sharechat.domain.telemetry import SILENT, Level, Part, Telemetry

log = structlog.get_logger()

AWAY = "The message could not be stored: the rooms cannot be reached. Try again later."
BROKEN = "The message could not be stored: something went wrong in the server."


class _Pending:
    """A draft that waits to be stored; `done` is set once its outcome is known."""

    __slots__ = ("abandoned", "done", "draft", "outcome", "size")

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        # In characters. A text that is not ASCII has up to four bytes for each; to count them
        # exactly would mean to encode every text twice.
        self.size = len(draft.text)
        self.done = trio.Event()
        self.outcome: Entry | SharechatError | None = None
        self.abandoned = False

    def settle(self, outcome: Entry | SharechatError) -> None:
        self.outcome = outcome
        self.done.set()


class Journal:
    """One task, one mailbox: it stores all that waits in one commit, over and over.

    While one commit runs the next batch gathers, so batches grow with the load. When the
    mailbox is full, senders wait.

    What was stored goes to this process's rooms by `deliver(room_id, entries)`, room by room,
    and to the other processes by the Queue, before its senders are told. Members join through
    the Lease's `process_id`.
    """

    def __init__(
        self,
        repository: Repository,
        queue: Queue,
        lease: Lease,
        deliver: Callable[[RoomId, Sequence[Entry]], None],
        policy: Policy,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self._repository = repository
        self._queue = queue
        self._lease = lease
        self._deliver = deliver
        self._policy = policy
        self._telemetry = telemetry
        self._sender, self._mailbox = trio.open_memory_channel[_Pending](policy.journal_mailbox)
        # How many drafts have come out of the mailbox so far.
        self._taken = 0
        # What `leave` found no room for in the mailbox, at most one draft a member. Each comes
        # with the value of `taken` at which everything that was in the mailbox before it has
        # come out.
        self._overflow: deque[tuple[int, _Pending]] = deque()
        # Whose `left` waits to be stored.
        self._leaving: set[tuple[RoomId, MemberId]] = set()
        self._pending: list[_Pending] = []
        self._idle = trio.Event()
        telemetry.watch(Level.WAITING, self._waiting)

    def _waiting(self) -> int:
        mailbox = self._mailbox.statistics().current_buffer_used
        return mailbox + len(self._overflow) + len(self._pending)

    async def store(self, draft: Draft) -> Entry:
        """Store a draft; return the entry that it became.

        Raises NotStoredError, with a reason for the author, if the draft was refused or could
        not be stored within `store_timeout` seconds; in the latter case it may have been
        stored all the same. If the call is cancelled, a draft that is already in the mailbox
        is still stored: what a member said before it left counts.
        """
        pending = _Pending(draft)
        with trio.move_on_after(self._policy.store_timeout):
            await self._put(pending)
            await pending.done.wait()
        if pending.outcome is None:
            pending.abandoned = True
            raise NotStoredError(AWAY)
        if isinstance(pending.outcome, SharechatError):
            raise NotStoredError(str(pending.outcome)) from pending.outcome
        return pending.outcome

    async def submit(self, draft: Draft) -> None:
        """Have a draft stored without waiting for the outcome.

        Waits only while the mailbox is full. If cancelled then, the draft is not stored.
        """
        await self._put(_Pending(draft))

    async def _put(self, pending: _Pending) -> None:
        # A cancelled member says nothing more.
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            # There nearly always is room, and the caller's next await is a checkpoint.
            self._sender.send_nowait(pending)
        except trio.WouldBlock:
            await self._sender.send(pending)

    def leave(self, draft: Draft) -> None:
        """Take a `left`, and store it after everything its member sent, however long that takes.

        Never waits. If it turns out that the member never joined, nothing is stored. A second
        `left` of the same member is ignored while the first one waits.
        """
        who = draft.room_id, draft.member.id
        if who in self._leaving:
            return
        self._leaving.add(who)
        if self._idle.is_set():
            self._idle = trio.Event()
        pending = _Pending(draft)
        try:
            self._sender.send_nowait(pending)
        except trio.WouldBlock:
            # The first one may be on its way to `run`, which counts it only when it runs.
            turn = self._taken + self._policy.journal_mailbox + 1
            self._overflow.append((turn, pending))

    async def settled(self) -> None:
        """Wait until every `left` that was taken is stored."""
        await self._idle.wait()

    async def run(self) -> None:
        """Run the actor until cancelled; what still waits then is not stored.

        If this raises, it may be called again: nothing that was taken is forgotten.
        """
        while True:
            if not self._pending and not self._overflow:
                if not self._mailbox.statistics().current_buffer_used:
                    self._idle.set()
                self._pending.append(await self._mailbox.receive())
                self._taken += 1
            self._gather()
            if self._pending:
                await self._commit()

    def _gather(self) -> None:
        """Add what waits to the batch."""
        size = sum([pending.size for pending in self._pending])
        while len(self._pending) < self._policy.journal_mailbox and size < self._policy.batch_bytes:
            pending = self._take()
            if pending is None:
                break
            self._pending.append(pending)
            size += pending.size
        self._pending = [pending for pending in self._pending if not pending.abandoned]

    def _take(self) -> _Pending | None:
        """Return the next draft: what overflowed if it is its turn, else from the mailbox."""
        if not self._overflow or self._overflow[0][0] > self._taken:
            try:
                pending = self._mailbox.receive_nowait()
            except trio.WouldBlock:
                pass  # Whatever was in the mailbox has come out, so what overflowed is next.
            else:
                self._taken += 1
                return pending
        return self._overflow.popleft()[1] if self._overflow else None

    async def _commit(self) -> None:
        batch = self._pending
        began = self._telemetry.clock()
        try:
            outcomes = await self._append(batch)
        except UnavailableError as error:
            self._telemetry.store_failed()
            log.warning("journal cannot store", waiting=len(batch), reason=str(error))
            await trio.sleep(self._policy.retry_interval)
            return
        self._pending = []
        stored = [outcome for outcome in outcomes if isinstance(outcome, Entry)]
        chats = [entry for entry in stored if entry.message.type is MessageType.CHAT]
        self._telemetry.stored(len(batch), len(chats), began)
        stored.sort(key=_by_room)
        try:
            for room_id, group in groupby(stored, key=_by_room):
                entries = list(group)
                self._deliver(room_id, entries)
                self._queue.publish(room_id, entries)
        finally:
            # It is stored even if handing it on failed; the rooms will read it then.
            for pending, outcome in zip(batch, outcomes, strict=True):
                draft = pending.draft
                if draft.type is MessageType.LEFT:
                    self._leaving.discard((draft.room_id, draft.member.id))
                pending.settle(outcome)

    async def _append(self, batch: Sequence[_Pending]) -> list[Entry | Refusal]:
        """Append a batch; if that raises, halve it until only the offending draft is refused."""
        drafts = [pending.draft for pending in batch]
        try:
            return await self._repository.append(drafts, self._lease.process_id)
        except UnavailableError:
            raise
        except Exception as error:
            if len(batch) == 1:
                if isinstance(error, RejectedError):
                    return [error]
                log.exception("journal gives up on a message", room=drafts[0].room_id)
                self._telemetry.failed(Part.MESSAGE)
                return [RejectedError(BROKEN)]
        middle = len(batch) // 2
        return await self._append(batch[:middle]) + await self._append(batch[middle:])


def _by_room(entry: Entry) -> RoomId:
    return entry.message.room_id
