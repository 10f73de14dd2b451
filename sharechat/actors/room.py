"""A room on this process: the actor that delivers its log, in order, to its members here."""

import enum
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, Literal, NamedTuple, Protocol

import structlog
import trio

from sharechat.actors.policy import Policy
from sharechat.actors.sequencer import Sequencer
from sharechat.domain.batch import Batch
from sharechat.domain.errors import ConnectionClosedError, RoomNotFoundError, UnavailableError
from sharechat.domain.ids import MemberId
from sharechat.domain.messages import Entry, MessageType, RoomInfo
from sharechat.domain.outcomes import INTERNAL_ERROR, ROOM_DELETED, Close
from sharechat.domain.ports import Repository
from sharechat.domain.telemetry import SILENT, Telemetry

log = structlog.get_logger()


class Recipient(Protocol):
    """What a room knows of a member. No method waits or raises."""

    position: int
    """The seq up to which it has been delivered the log; the room sets it with each batch."""

    @property
    def id(self) -> MemberId: ...

    @property
    def gone(self) -> bool:
        """Whether the member has left: `deliver` returns False from now on."""
        ...

    def welcome(self, batch: Batch) -> bool:
        """Take the first batch; otherwise like `deliver`."""
        ...

    def deliver(self, batch: Batch) -> bool:
        """Take a batch, or return False if the member is leaving and needs no more."""
        ...

    def close(self, close: Close) -> None:
        """Make the member leave; the first reason given is the one that its client is told."""
        ...


class Join(NamedTuple):
    """Mail: a member wants every entry from its own `joined` on."""

    member: Recipient


class JoinAfter(NamedTuple):
    """Mail: a member wants every entry past `after`, or past the room's position if later.

    The reply is the seq that was chosen.
    """

    member: Recipient
    after: int
    reply: trio.MemorySendChannel[int]


class _Wake(enum.Enum):
    WAKE = enum.auto()


WAKE: Final = _Wake.WAKE
"""Mail without content: it makes the actor look at what it lacks."""

Mail = Join | JoinAfter | Sequence[Entry] | Literal[_Wake.WAKE]


class _Arriving(NamedTuple):
    """A member that is not delivered to yet, and the seq past which it is; None: its `joined`."""

    member: Recipient
    after: int | None


class Room:
    """One task, one mailbox. Only this task touches the set of members, so nothing is locked.

    The mailbox is bounded. When it is full, a joining member waits; entries are dropped, and
    read from the Repository afterwards.
    """

    def __init__(
        self,
        info: RoomInfo,
        repository: Repository,
        policy: Policy,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self.id = info.id
        self._repository = repository
        self._policy = policy
        self._telemetry = telemetry
        self._sequencer = Sequencer(info.head, capacity=policy.room_mailbox)
        self._sender, self._mailbox = trio.open_memory_channel[Mail](policy.room_mailbox)
        self._members: dict[MemberId, Recipient] = {}
        self._arriving: dict[MemberId, _Arriving] = {}
        self._ready: list[Entry] = []
        # When to stop waiting for the Queue to fill a gap; None while there is no gap.
        self._patience_ends: float | None = None
        self._closed_with: Close | None = None

    @property
    def position(self) -> int:
        """The seq of the last entry that was put in order."""
        return self._sequencer.position

    async def join(self, member: Recipient) -> None:
        """Add a member, which is delivered every entry from its own `joined` on.

        Its `joined` must not be stored before this returns. Raises ConnectionClosedError if
        the actor has ended; the member is then closed for the same reason as the room. If
        the call is cancelled, the room may still deliver something to the member, until
        `deliver` returns False.
        """
        await self._send(Join(member))

    async def join_after(self, member: Recipient, after: int) -> int:
        """Add a member, which is delivered every entry past the returned seq.

        That is the room's position, or `after` if the member knows more than the room. In
        all else this is like `join`.
        """
        reply, answer = trio.open_memory_channel[int](1)
        await self._send(JoinAfter(member, after, reply))
        return await answer.receive()

    async def _send(self, mail: Join | JoinAfter) -> None:
        # A cancelled member joins nothing.
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            # There nearly always is room, and the caller's next await is a checkpoint.
            try:
                self._sender.send_nowait(mail)
            except trio.WouldBlock:
                await self._sender.send(mail)
        except trio.BrokenResourceError:
            mail.member.close(self._closed_with or INTERNAL_ERROR)
            raise ConnectionClosedError from None

    def offer(self, entries: Sequence[Entry]) -> None:
        """Take entries of the log, in any order and any number of times. Never waits."""
        try:
            self._sender.send_nowait(entries)
        except trio.WouldBlock:
            # They are dropped. The actor, busy as it is, will notice that it lacks them.
            self._sequencer.expect(max(entry.seq for entry in entries))
        except trio.BrokenResourceError:
            pass  # The actor has ended. Whoever joins next starts another, at the head.

    def expect(self, head: int) -> None:
        """Learn that the log reaches to `head`, and read what is missing. Never waits."""
        if head > self.position:
            self._sequencer.expect(head)
            self._wake()

    def _wake(self) -> None:
        try:
            self._sender.send_nowait(WAKE)
        except trio.WouldBlock:
            pass  # There is other mail to wake it.
        except trio.BrokenResourceError:
            pass  # The actor has ended.

    def close(self, close: Close) -> None:
        """Close every member that the room knows of; the first reason given is what counts."""
        close = self._closed_with = self._closed_with or close
        for member in list(self._members.values()):
            member.close(close)
        for arriving in list(self._arriving.values()):
            arriving.member.close(close)
        for mail in self._waiting_mail():
            if isinstance(mail, Join | JoinAfter):
                mail.member.close(close)

    async def start(self) -> None:
        """Run the actor until it is cancelled or its room turns out to be deleted.

        This is `run` by the name that the design gave it first. However the actor ends, it
        leaves no member waiting: all that the room knows of are closed.
        """
        with self._mailbox:
            try:
                while True:
                    for mail in await self._next_mail():
                        self._take(mail)
                    await self._deliver()
            except RoomNotFoundError:
                self.close(ROOM_DELETED)
            finally:
                # If the room was deleted this changes nothing: the first reason counts.
                self.close(INTERNAL_ERROR)

    async def _next_mail(self) -> list[Mail]:
        """Wait for mail. At a gap, wait no longer than patience lasts, and then read instead."""
        if not self._sequencer.behind:
            self._patience_ends = None
            return [await self._mailbox.receive(), *self._waiting_mail()]
        if self._patience_ends is None:
            self._patience_ends = trio.current_time() + self._policy.gap_patience
        with trio.move_on_at(self._patience_ends):
            return [await self._mailbox.receive(), *self._waiting_mail()]
        missing = await self._read_missing()
        # Members that joined during the read must be known before its result is delivered:
        # their own `joined` may be in it.
        return [*self._waiting_mail(), missing]

    def _waiting_mail(self) -> Iterator[Mail]:
        while True:
            try:
                yield self._mailbox.receive_nowait()
            except (trio.WouldBlock, trio.ClosedResourceError):
                return

    async def _read_missing(self) -> Sequence[Entry]:
        now = trio.current_time()
        try:
            entries = await self._repository.read(
                self.id,
                after=self.position,
                limit=self._policy.read_limit,
                max_bytes=self._policy.read_bytes,
            )
        except UnavailableError as error:
            log.warning("room cannot catch up yet", room=self.id, reason=str(error))
            self._patience_ends = now + self._policy.retry_interval
            return ()
        if entries:
            self._telemetry.gap_repaired(len(entries))
        # An empty answer means that entries are known of which cannot be read yet.
        self._patience_ends = None if entries else now + self._policy.retry_interval
        return entries

    def _take(self, mail: Mail) -> None:
        match mail:
            case Join(member):
                self._arriving[member.id] = _Arriving(member, None)
            case JoinAfter(member, after, reply):
                after = max(after, self.position)
                self._arriving[member.id] = _Arriving(member, after)
                reply.send_nowait(after)
            case _Wake.WAKE:
                pass
            case entries:
                self._ready += self._sequencer.take(entries)

    async def _deliver(self) -> None:
        """Deliver what is ready to every member, as one batch unless that is too large."""
        while self._ready:
            ready = self._ready
            batch = Batch.up_to(self._policy.batch_bytes, [entry.message for entry in ready])
            count = len(batch.messages)
            self._ready = ready[count:]
            await self._deliver_batch(batch, ready[:count])
            if self._ready:
                await trio.lowlevel.checkpoint()

    async def _deliver_batch(self, batch: Batch, ready: Sequence[Entry]) -> None:
        began = self._telemetry.clock()
        position = ready[-1].seq
        members = iter(list(self._members.values()))
        while some := list(islice(members, self._policy.fan_out_slice)):
            for member in some:
                member.position = position
                if not member.deliver(batch):
                    del self._members[member.id]
            if len(some) == self._policy.fan_out_slice:
                await trio.lowlevel.checkpoint()
        if self._members:
            self._telemetry.delivered(len(batch.messages), batch.size, len(self._members), began)
        if self._arriving:
            self._welcome(batch, ready)

    def _welcome(self, batch: Batch, ready: Sequence[Entry]) -> None:
        """Begin to deliver to arriving members, each from its own first entry on."""
        first, last = ready[0].seq, ready[-1].seq
        own = {
            entry.message.member_id: entry.seq
            for entry in ready
            if entry.message.type is MessageType.JOINED
        }
        for member, after in list(self._arriving.values()):
            if member.gone:  # Perhaps its `joined` was never stored.
                del self._arriving[member.id]
                continue
            start = own.get(member.id) if after is None else max(first, after + 1)
            if start is None or start > last:
                continue
            del self._arriving[member.id]
            member.position = last
            rest = batch.since(start - first)
            if member.welcome(rest):
                self._members[member.id] = member
                self._telemetry.delivered(len(rest.messages), rest.size, 1)
