"""The journal: the only way into the log, with one commit for everything that waits."""

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import NoReturn

import structlog
import trio

from sharechat.actors.lease import Lease
from sharechat.actors.policy import Policy
from sharechat.actors.submission import Submission
from sharechat.domain.errors import (
    NoSpaceError,
    NotStoredError,
    RejectedError,
    UnavailableError,
)
from sharechat.domain.ids import MemberId, RoomId
from sharechat.domain.messages import Draft, Entry, MessageType
from sharechat.domain.ports import Queue, Refusal, Repository
from sharechat.domain.telemetry import SILENT, Level, Part, Telemetry

log = structlog.get_logger()

_FROZEN = 1
"""Seconds late after which a timer shows that nothing in this process has run meanwhile."""

_THAW = 0.1
"""Seconds in which tasks take what has come while nothing ran."""

BROKEN = "The message could not be stored: something went wrong in the server."


class Journal:
    """One mailbox, and one task that stores all that waits in one commit, over and over.

    While one commit runs the next batch gathers, so batches grow with the load. When the
    mailbox is full, senders wait. A second task keeps the deadlines of all that `submit` takes: a
    cancel scope around each would take a tenth of the time that a message takes.

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
        self._sender, self._mailbox = trio.open_memory_channel[Submission](policy.journal_mailbox)
        # How many drafts have come out of the mailbox so far.
        self._taken = 0
        # What `leave` found no room for in the mailbox, at most one draft a member. Each comes
        # with the value of `taken` at which everything that was in the mailbox before it has
        # come out.
        self._overflow: deque[tuple[int, Submission]] = deque()
        # Whose `left` waits to be stored, and whether there is none.
        self._leaving: set[tuple[RoomId, MemberId]] = set()
        self._none_leaving = trio.Event()
        self._none_leaving.set()
        self._pending: list[Submission] = []
        # All that have a deadline, the earliest first. A commit removes those at the front that are
        # settled: drafts are settled in this order, so few others wait behind.
        self._timed: deque[Submission] = deque()
        telemetry.watch(Level.WAITING, self._waiting)

    def _waiting(self) -> int:
        mailbox = self._mailbox.statistics().current_buffer_used
        return mailbox + len(self._overflow) + len(self._pending)

    async def store(self, draft: Draft) -> Entry:
        """Store a draft; return the entry that it became.

        Raises NotStoredError, after `store_timeout` seconds at most: see Submission. If the call is
        cancelled, a draft that is already in the mailbox is still stored.
        """
        settled = trio.Event()
        outcomes: list[Entry | NotStoredError] = []

        def settle(outcome: Entry | NotStoredError) -> None:
            outcomes.append(outcome)
            settled.set()

        submission = Submission(draft, settle)
        with trio.move_on_after(self._policy.store_timeout):
            await self._put(submission)
            await settled.wait()
        submission.expire()
        if isinstance(outcomes[0], NotStoredError):
            raise outcomes[0]
        return outcomes[0]

    async def submit(self, submission: Submission) -> None:
        """Have a draft stored, and the outcome told to the submission's callback.

        That takes `store_timeout` seconds at most. The call itself waits only while the mailbox is
        full. If it is cancelled then, the draft is not stored, and nothing is told.
        """
        if submission.settle is not None:
            submission.deadline = trio.current_time() + self._policy.store_timeout
            self._timed.append(submission)
        try:
            await self._put(submission)
        except trio.Cancelled:
            submission.withdraw()
            raise

    async def _put(self, submission: Submission) -> None:
        # A cancelled member says nothing more.
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            # There nearly always is room, and the caller's next await is a checkpoint.
            self._sender.send_nowait(submission)
        except trio.WouldBlock:
            with trio.move_on_at(submission.deadline) as patience:
                await self._sender.send(submission)
            if patience.cancelled_caught:
                # At once: if its author went first, it would be neither stored nor told of.
                submission.expire()

    def leave(self, draft: Draft) -> None:
        """Take a `left`, and store it after everything its member sent, however long that takes.

        Never waits. If it turns out that the member never joined, nothing is stored. A second
        `left` of the same member is ignored while the first one waits.
        """
        who = draft.room_id, draft.member.id
        if who in self._leaving:
            return
        self._leaving.add(who)
        if self._none_leaving.is_set():
            self._none_leaving = trio.Event()
        pending = Submission(draft)
        try:
            self._sender.send_nowait(pending)
        except trio.WouldBlock:
            # The first one may be on its way to `run`, which counts it only when it runs.
            turn = self._taken + self._policy.journal_mailbox + 1
            self._overflow.append((turn, pending))

    async def lefts_stored(self) -> None:
        """Wait until every `left` that was taken is stored."""
        await self._none_leaving.wait()

    async def run(self) -> None:
        """Run the actor until cancelled; what still waits then is not stored.

        If this raises, it may be called again: nothing that was taken is forgotten.
        """
        while True:
            if not self._pending and not self._overflow:
                self._pending.append(await self._mailbox.receive())
                self._taken += 1
            else:
                await trio.lowlevel.checkpoint()  # A call of `append` need not be one.
            self._gather()
            if self._pending:
                await self._commit()

    async def keep_deadlines(self) -> NoReturn:
        """Tell each author whose message was not stored by its deadline, until cancelled.

        May be called again; what was due meanwhile is told then. If the process was frozen, the
        Repository's answer may have come meanwhile, so the Journal gets time to take it.
        """
        timed = self._timed
        while True:
            now = trio.current_time()
            while timed and (timed[0].settled or timed[0].deadline <= now):
                timed.popleft().expire()
            # Whatever comes meanwhile has a later deadline.
            earliest = timed[0].deadline if timed else now + self._policy.store_timeout
            await trio.sleep_until(earliest)
            if trio.current_time() - earliest > _FROZEN:
                await trio.sleep(_THAW)

    def _gather(self) -> None:
        """Add what waits to the batch."""
        size = sum([pending.size for pending in self._pending])
        while len(self._pending) < self._policy.journal_mailbox and size < self._policy.batch_bytes:
            pending = self._take()
            if pending is None:
                break
            self._pending.append(pending)
            size += pending.size
        self._pending = [pending for pending in self._pending if not pending.settled]

    def _take(self) -> Submission | None:
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
        chats = 0
        stored: defaultdict[RoomId, list[Entry]] = defaultdict(list)
        for outcome in outcomes:
            if isinstance(outcome, Entry):
                message = outcome.message
                stored[message.room_id].append(outcome)
                chats += message.type is MessageType.CHAT
            elif isinstance(outcome, NoSpaceError):
                log.warning("journal cannot store", reason=str(outcome))
        self._telemetry.stored(len(batch), chats, began)
        try:
            for room_id, entries in stored.items():
                self._deliver(room_id, entries)
                self._queue.publish(room_id, entries)
        finally:
            # It is stored even if handing it on failed; the rooms will read it then.
            for pending, outcome in zip(batch, outcomes, strict=True):
                draft = pending.draft
                if draft.type is MessageType.LEFT:
                    self._leaving.discard((draft.room_id, draft.member.id))
                    if not self._leaving:
                        self._none_leaving.set()
                pending.tell(outcome)
            while self._timed and self._timed[0].settled:
                self._timed.popleft()

    async def _append(self, batch: Sequence[Submission]) -> list[Entry | Refusal]:
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
