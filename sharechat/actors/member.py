"""A member: the actor that is one client's presence in one room."""

import enum
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal, NoReturn

import structlog
import trio

from sharechat.actors.history import History
from sharechat.actors.journal import Journal
from sharechat.actors.policy import Policy
from sharechat.actors.room import Room
from sharechat.actors.talk import Talk
from sharechat.domain import messages
from sharechat.domain.batch import Batch
from sharechat.domain.errors import (
    ConnectionClosedError,
    FullError,
    LeaseLostError,
    NoSpaceError,
    NotStoredError,
    RoomNotFoundError,
    SharechatError,
)
from sharechat.domain.messages import Identity, Welcome
from sharechat.domain.outcomes import (
    FULL,
    INTERNAL_ERROR,
    RESTARTING,
    ROOM_DELETED,
    TOO_SLOW,
    TRY_LATER,
    Close,
    close_of,
)
from sharechat.domain.ports import Connection
from sharechat.domain.sources import Sources
from sharechat.domain.subprotocols import PLAIN_TEXT, Subprotocol
from sharechat.domain.telemetry import SILENT, Part, Telemetry
from sharechat.domain.token_bucket import TokenBucket

log = structlog.get_logger()


class _Drain(enum.Enum):
    DRAIN = enum.auto()


DRAIN: Final = _Drain.DRAIN
"""Mail: a part of what was offered to the connection directly waits in its buffer."""

Mail = Batch | Literal[_Drain.DRAIN]


class Member:
    """Two tasks, one for each direction, and one mailbox.

    `broadcast` carries texts from the connection to the Journal, `listen` carries batches from
    the mailbox, which the room fills, to the connection. When either ends, so does the other:
    `listen` at once, `broadcast` once it has carried what the client said before it went.

    The mailbox is bounded in batches and, above all, in bytes. A member for whom more waits is
    closed.
    """

    def __init__(
        self,
        identity: Identity,
        connection: Connection,
        room: Room,
        journal: Journal,
        history: History,
        policy: Policy,
        sources: Sources,
        *,
        subprotocol: Subprotocol = PLAIN_TEXT,
        greeting: Welcome | None = None,
        shared_bucket: TokenBucket | None = None,
        arrived: Callable[[], None] | None = None,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self.id = identity.id
        self.identity = identity
        self.position = 0
        """The seq up to which the client has been sent the log, or will be before anything else.

        The room may be ahead, with batches that it has yet to deliver to this member, and it may
        be behind, if the member has caught up by itself.
        """
        self.gone = False
        """Whether the member has left: `deliver` returns False from now on."""
        self._connection = connection
        self._room = room
        self._journal = journal
        self._history = history
        self._policy = policy
        self._sources = sources
        self._telemetry = telemetry
        self._greeting = greeting
        self._arrived = arrived or _nothing
        self._scope = trio.CancelScope()
        self._close: Close | None = None
        self._sender, self._mailbox = trio.open_memory_channel[Mail](policy.max_waiting_batches)
        # Bytes in batches that came into the mailbox and were not taken by the connection yet.
        self._waiting = 0
        # Whether a batch may go straight to the connection, past the mailbox.
        self._listening = False
        # Whether `listen` has been told to drain the connection and has yet to do so.
        self._drain_requested = False
        self._talk = Talk(
            identity,
            connection,
            room.id,
            journal,
            policy,
            sources,
            subprotocol,
            shared_bucket or TokenBucket(0, 1),
            lambda: self.position,
            self.deliver,
            telemetry,
        )

    async def run(self, *, after: int | None = None) -> None:
        """Join, talk and listen until the connection ends or `close` is called, then leave.

        With `after`, hear the room from past that seq on. However this ends, cancelled or
        not, the Journal is given a `left` if a `joined` may have been stored, and the
        connection is closed.
        """
        announced = joined = False
        try:
            with self._scope:
                if self._greeting is not None:
                    # Joining finds out that the client has gone; what it said before counts.
                    with suppress(ConnectionClosedError):
                        self._connection.offer(Batch([self._greeting]))
                if after is None:
                    await self._room.join(self)
                announced = True
                await self._journal.store(
                    messages.joined(self._sources.message_id(), self._room.id, self.identity)
                )
                joined = True
                if after is None:
                    self._arrived()
                self._telemetry.joined(resumed=after is not None)
                log.debug("member joined", room=self._room.id, member=self.id)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._listen_to_the_end, after)
                    await self.broadcast()
        except* ConnectionClosedError:
            pass
        except* SharechatError as group:
            close = _close_for(group)
            self.close(close)
            if close.code == FULL.code:
                self._telemetry.refused(FULL)
        except* Exception:
            log.exception("member failed", room=self._room.id, member=self.id)
            self._telemetry.failed(Part.MEMBER)
            self.close(INTERNAL_ERROR)
        finally:
            if announced:
                self._journal.leave(
                    messages.left(self._sources.message_id(), self._room.id, self.identity)
                )
            if joined:
                self._telemetry.left(too_slow=self._close is TOO_SLOW)
            self._arrived()
            # From now on `deliver` finds the mailbox closed.
            self._listening = False
            self._mailbox.close()
            self.gone = True
            if self._close is None and trio.current_effective_deadline() == -math.inf:
                self._close = RESTARTING  # Not this member alone, but all around it is cancelled.
            if announced:
                code = self._close and self._close.code
                log.debug("member left", room=self._room.id, member=self.id, code=code)
            await self._connection.aclose(self._close)

    def close(self, close: Close) -> None:
        """Make the member leave; the first reason given is the one that its client is told."""
        if self._close is None:
            self._close = close
        self._scope.cancel()

    def welcome(self, batch: Batch) -> bool:
        """Take the room's first batch for this member; otherwise like `deliver`."""
        taken = self.deliver(batch)
        self._talk.welcome()
        return taken

    def deliver(self, batch: Batch) -> bool:
        """Take a batch for the client, without waiting; return False if the member is leaving."""
        if self._listening and not self._waiting:
            try:
                if self._connection.offer(batch):
                    if self._connection.backlog:
                        self._request_drain()
                    return True
            except ConnectionClosedError:
                return False
            except Exception:
                # This runs in a task of the room or the Journal, which must not fail with a member.
                log.exception("member failed", room=self._room.id, member=self.id)
                self._telemetry.failed(Part.MEMBER)
                self.close(INTERNAL_ERROR)
                return False
        waiting = self._waiting
        if self._listening:
            waiting += self._connection.backlog
        if waiting and waiting + batch.size > self._policy.max_waiting_bytes:
            self.close(TOO_SLOW)
            return False
        try:
            self._sender.send_nowait(batch)
        except trio.WouldBlock:
            self.close(TOO_SLOW)
            return False
        except trio.BrokenResourceError:
            return False
        self._waiting += batch.size
        return True

    def _request_drain(self) -> None:
        if not self._drain_requested:
            # There is room: while batches wait in the mailbox, none is offered directly.
            self._sender.send_nowait(DRAIN)
            self._drain_requested = True

    async def broadcast(self) -> NoReturn:
        """Carry texts from the connection to the Journal: see `Talk.run`."""
        await self._talk.run()

    async def listen(self, after: int | None = None) -> None:
        """Carry batches from the mailbox to the connection.

        With `after`, first send what the Repository has past that seq. Ends by raising
        ConnectionClosedError.
        """
        if after is not None:
            await self._catch_up(after)
            self._talk.welcome()
        self._listening = True
        while True:
            with suppress(trio.WouldBlock):
                while True:
                    await self._send(self._mailbox.receive_nowait())
            self._drain_requested = False
            if self._connection.backlog:
                await self._connection.drain()
            await self._send(await self._mailbox.receive())

    async def _send(self, mail: Mail) -> None:
        """Give the connection a batch, waiting until it takes it."""
        if mail is DRAIN:
            return
        while not self._connection.offer(mail):
            await self._connection.drain()
        self._waiting -= mail.size

    async def _listen_to_the_end(self, after: int | None) -> None:
        try:
            await self.listen(after)
        except ConnectionClosedError:
            # Nothing reaches the client any more, but `broadcast` may still have to carry what
            # the client said before; it finds the end by itself.
            self._listening = False
            self._mailbox.close()
            self._talk.welcome()  # Nothing is sent any more that could come too early.

    async def _catch_up(self, after: int) -> None:
        """Send the log past `after` page by page, until the room can go on without a gap."""
        limit = self._policy.read_limit
        while True:
            # A page may be short because its messages are large, so that alone does not show
            # that the log ends here.
            position = self._room.position
            entries = await self._send_page(after, limit)
            after += entries
            if entries < limit and after >= position:
                break
        position = await self._room.join_after(self, after)
        while after < position:
            after += await self._send_page(after, position - after)

    async def _send_page(self, after: int, limit: int) -> int:
        """Send at most `limit` entries past `after`, and wait until they have been sent.

        Returns how many there were.
        """
        entries = await self._history.read(self._room.id, after=after, limit=limit)
        # Now, since the client may be slow to take them.
        self._arrived()
        if entries:
            batch = Batch([entry.message for entry in entries])
            with self._history.holding(batch.size):
                # Even after a drain something may wait, such as a part of a ping.
                while not self._connection.offer(batch):
                    await self._connection.drain()
                self.position = max(self.position, after + len(entries))
                self._telemetry.delivered(len(entries), batch.size, 1)
                await self._connection.drain()
        return len(entries)


def _nothing() -> None:
    pass


def _close_for(group: BaseExceptionGroup[SharechatError]) -> Close:
    """Return how to close a connection whose member could not join or catch up."""
    error: BaseException | None = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error.__cause__ if isinstance(error, NotStoredError) else error:
        case RoomNotFoundError():
            return ROOM_DELETED
        case LeaseLostError():
            return RESTARTING
        case NoSpaceError():
            return close_of(FullError()) or TRY_LATER
        case _:
            return TRY_LATER
