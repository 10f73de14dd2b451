"""A room on this process: the actor that hands its log, in order, to its members here."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import structlog
import trio

from sharechat.actors.policy import Policy
from sharechat.actors.sequencer import Sequencer
from sharechat.domain.errors import ConnectionClosedError, RoomNotFoundError, UnavailableError
from sharechat.domain.messages import Batch, Entry, MemberId, MessageType, RoomInfo
from sharechat.domain.outcomes import INTERNAL_ERROR, ROOM_DELETED, Close
from sharechat.domain.ports import Repository

if TYPE_CHECKING:
    from sharechat.actors.member import Member

log = structlog.get_logger()

# A fan-out to thousands lets other tasks run every so many members.
_MEMBERS_AT_ONCE = 256


class Join:
    """A member asks to hear the room: from its own `joined` on, or from after a seq."""

    def __init__(self, member: "Member", after: int | None) -> None:
        self.member = member
        self.after = after
        self.welcomed = trio.Event()


Mail = Join | Sequence[Entry]
"""What a room's mailbox holds; no entries at all only wake the actor."""


class Room:
    """One task, one mailbox. It alone touches the set of members, so nothing is locked.

    The mailbox is bounded. When it is full a joining member waits; entries are dropped,
    and read from the Repository afterwards.

    `scope` and `guests` belong to the Controller: what cancels the actor, and how many
    members' lives it has to do with.
    """

    def __init__(self, info: RoomInfo, repository: Repository, policy: Policy) -> None:
        self.id = info.id
        self.scope = trio.CancelScope()
        self.guests = 0
        self._repository = repository
        self._policy = policy
        self._sequencer = Sequencer(info.head, capacity=policy.room_mailbox)
        self._sender, self._mailbox = trio.open_memory_channel[Mail](policy.room_mailbox)
        self._members: dict[MemberId, Member] = {}
        self._arriving: dict[MemberId, Join] = {}
        self._ready: list[Entry] = []
        self._patience_ends: float | None = None
        self._closed_with: Close | None = None

    @property
    def position(self) -> int:
        """The seq of the last entry that was put in order."""
        return self._sequencer.position

    async def join(self, member: "Member") -> None:
        """Show a member to the room: it is handed every entry from its own `joined` on.

        Its `joined` must not be stored before this returns. Raises ConnectionClosedError
        if the actor has ended; the member is then closed for the same reason. If cancelled,
        the room may still hand it something, until the member's `deliver` says no.
        """
        await self._send(Join(member, None))

    async def join_after(self, member: "Member", after: int) -> int:
        """Show a member to the room: it is handed every entry past the returned seq.

        That is the room's position by now, or `after` where the member knows more than
        the room. Otherwise like `join`.
        """
        join = Join(member, after)
        await self._send(join)
        await join.welcomed.wait()
        assert join.after is not None
        return join.after

    async def _send(self, join: Join) -> None:
        try:
            await self._sender.send(join)
        except trio.BrokenResourceError:
            join.member.close(self._closed_with or INTERNAL_ERROR)
            raise ConnectionClosedError from None

    def offer(self, entries: Sequence[Entry]) -> None:
        """Hand over entries of the log, in any order, as often as one likes. Never waits."""
        try:
            self._sender.send_nowait(entries)
        except trio.WouldBlock:
            # Dropped; the actor, busy as it is, will see that it lacks them.
            self._sequencer.expect(max((entry.seq for entry in entries), default=0))
        except trio.BrokenResourceError:
            pass  # The actor has ended; who joins next starts another, at the head.

    def expect(self, head: int) -> None:
        """Say that the log reaches to `head`; the actor reads what it lacks. Never waits."""
        self._sequencer.expect(head)
        self.offer(())

    def close(self, close: Close) -> None:
        """End the connections of all members that the room knows of; the first reason counts."""
        close = self._closed_with = self._closed_with or close
        for member in [*self._members.values(), *(j.member for j in self._arriving.values())]:
            member.close(close)
        for mail in self._waiting_mail():
            if isinstance(mail, Join):
                mail.member.close(close)

    async def start(self) -> None:
        """Run the actor until it is cancelled or its room is deleted.

        However it ends, no member that knows the room is left waiting for it.
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
                # Where the room was deleted they have their reason already.
                self.close(INTERNAL_ERROR)

    async def _next_mail(self) -> list[Mail]:
        """Wait for mail, or at a gap not too long and then for the Repository."""
        if not self._sequencer.behind:
            self._patience_ends = None
            return [await self._mailbox.receive(), *self._waiting_mail()]
        if self._patience_ends is None:
            self._patience_ends = trio.current_time() + self._policy.gap_patience
        with trio.move_on_at(self._patience_ends):
            return [await self._mailbox.receive(), *self._waiting_mail()]
        missing = await self._read_missing()
        # Who joined while this was read must be known before it is delivered: its `joined`
        # may be among what was read.
        return [*self._waiting_mail(), missing]

    def _waiting_mail(self) -> Iterator[Mail]:
        while True:
            try:
                yield self._mailbox.receive_nowait()
            except trio.WouldBlock:
                return
            except trio.ClosedResourceError:
                return

    async def _read_missing(self) -> Sequence[Entry]:
        now = trio.current_time()
        try:
            entries = await self._repository.read(
                self.id, after=self.position, limit=self._policy.read_limit
            )
        except UnavailableError as error:
            log.warning("room cannot catch up yet", room=self.id, reason=str(error))
            self._patience_ends = now + self._policy.retry_interval
            return ()
        # An empty answer means that what was heard of cannot be read yet.
        self._patience_ends = None if entries else now + self._policy.retry_interval
        return entries

    def _take(self, mail: Mail) -> None:
        if isinstance(mail, Join):
            if mail.after is not None:
                mail.after = max(mail.after, self.position)
            self._arriving[mail.member.id] = mail
            mail.welcomed.set()
        elif mail:
            self._ready += self._sequencer.take(mail)

    async def _deliver(self) -> None:
        """Hand what is ready to every member as one batch."""
        ready, self._ready = self._ready, []
        if not ready:
            return
        batch = Batch([entry.message for entry in ready])
        members = iter(list(self._members.values()))
        while some := list(islice(members, _MEMBERS_AT_ONCE)):
            for member in some:
                if not member.deliver(batch):
                    del self._members[member.id]
            if len(some) == _MEMBERS_AT_ONCE:
                await trio.lowlevel.checkpoint()
        if self._arriving:
            self._welcome(batch, ready)

    def _welcome(self, batch: Batch, ready: Sequence[Entry]) -> None:
        """Begin to deliver to those who arrive, each from where it is to begin."""
        first = ready[0].seq
        own = {
            entry.message.member_id: entry.seq
            for entry in ready
            if entry.message.type is MessageType.JOINED
        }
        for join in list(self._arriving.values()):
            member = join.member
            if member.gone:  # perhaps its `joined` was never stored
                del self._arriving[member.id]
                continue
            start = own.get(member.id) if join.after is None else max(first, join.after + 1)
            if start is None or start > ready[-1].seq:
                continue
            del self._arriving[member.id]
            if member.welcome(batch.since(start - first)):
                self._members[member.id] = member
