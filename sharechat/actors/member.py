"""A member: the actor that is one client's presence in one room."""

import math

import structlog
import trio

from sharechat.actors.journal import Journal
from sharechat.actors.policy import Policy
from sharechat.actors.room import Room
from sharechat.actors.token_bucket import TokenBucket
from sharechat.domain import messages
from sharechat.domain.errors import (
    ConnectionClosedError,
    LeaseLostError,
    NotStoredError,
    RoomNotFoundError,
    SharechatError,
)
from sharechat.domain.messages import Batch, Identity
from sharechat.domain.outcomes import (
    INTERNAL_ERROR,
    RESTARTING,
    ROOM_DELETED,
    TOO_SLOW,
    TRY_LATER,
    Close,
)
from sharechat.domain.ports import Connection, Repository

log = structlog.get_logger()


class Member:
    """Two tasks: `broadcast` carries what the connection reads to the Journal, `listen`
    what the room puts into the mailbox to the connection. When one ends, so does the other:
    `listen` at once, `broadcast` when it has carried what the client said before it went.

    The mailbox is bounded, in bytes above all: whoever lets more wait is closed.
    """

    def __init__(
        self,
        identity: Identity,
        connection: Connection,
        room: Room,
        journal: Journal,
        repository: Repository,
        policy: Policy,
    ) -> None:
        self.id = identity.id
        self.identity = identity
        self._connection = connection
        self._room = room
        self._journal = journal
        self._repository = repository
        self._policy = policy
        self.gone = False
        """Whether this life is over: `deliver` says no from now on."""
        self._scope = trio.CancelScope()
        self._close: Close | None = None
        self._sender, self._mailbox = trio.open_memory_channel[Batch](policy.max_waiting_batches)
        self._waiting = 0
        # Whether a batch may go straight to the connection, past the mailbox.
        self._listening = False
        # Set once nothing that it is sent can come before its own `joined`.
        self._welcomed = trio.Event()

    async def run(self, *, after: int | None = None) -> None:
        """Live: join, talk and listen until the connection ends or somebody ends it, leave.

        With `after`, hear the room from after that seq on. However this ends, cancelled or
        not, `left` is taken over by the Journal if `joined` may have been stored, and the
        connection is closed.
        """
        announced = False
        try:
            with self._scope:
                if after is None:
                    await self._room.join(self)
                announced = True
                await self._journal.store(messages.joined(self._room.id, self.identity))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._listen_to_the_end, after)
                    await self.broadcast()
        except* ConnectionClosedError:
            pass
        except* SharechatError as group:
            self.close(_why(group))
        except* Exception:
            log.exception("member failed", room=self._room.id, member=self.id)
            self.close(INTERNAL_ERROR)
        finally:
            if announced:
                self._journal.leave(messages.left(self._room.id, self.identity))
            self._mailbox.close()
            self.gone = True
            if self._close is None and trio.current_effective_deadline() == -math.inf:
                self._close = RESTARTING  # It is not we who are cancelled, but all around us.
            await self._connection.aclose(self._close)

    def close(self, close: Close) -> None:
        """End this life; the first reason given is the one that the client is told."""
        if self._close is None:
            self._close = close
        self._scope.cancel()

    def welcome(self, batch: Batch) -> bool:
        """Hand over, like `deliver`, the first batch that the room has for this member."""
        self._welcomed.set()
        return self.deliver(batch)

    def deliver(self, batch: Batch) -> bool:
        """Hand over a batch, never waiting; return False if the member has gone."""
        if self._listening and not self._waiting:
            try:
                self._connection.send_nowait(batch)
            except trio.WouldBlock:
                pass
            except ConnectionClosedError:
                return False
            except Exception:
                # This runs in the room's task, which must not fail with one of its members.
                log.exception("member failed", room=self._room.id, member=self.id)
                self.close(INTERNAL_ERROR)
                return False
            else:
                return True
        if self._waiting and self._waiting + batch.size > self._policy.max_waiting_bytes:
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

    async def broadcast(self) -> None:
        """Carry texts from the connection to the Journal, one after the other.

        The next one is read when this one is stored and the rate allows it: that holds
        back whoever sends too much. What failed is told after the member's own `joined`, so
        not before the room gets there. Ends by ConnectionClosedError.
        """
        bucket = TokenBucket(self._policy.message_rate, self._policy.message_burst)
        while True:
            text = await self._connection.receive()
            if (pause := bucket.take(trio.current_time())) > 0:
                await trio.sleep(pause)
            draft = messages.chat(self._room.id, self.identity, text)
            try:
                await self._journal.store(draft)
            except NotStoredError as error:
                await self._welcomed.wait()
                self.deliver(Batch([messages.failed(draft, str(error))]))

    async def listen(self, after: int | None = None) -> None:
        """Carry batches from the mailbox to the connection; all that waits goes at once.

        With `after`, first what the Repository has after that seq. Ends by
        ConnectionClosedError.
        """
        if after is not None:
            await self._catch_up(after)
            self._welcomed.set()
        self._listening = True
        while True:
            batches = [await self._mailbox.receive()]
            try:
                while True:
                    batches.append(self._mailbox.receive_nowait())
            except trio.WouldBlock:
                pass
            await self._connection.send(batches)
            self._waiting -= sum(batch.size for batch in batches)

    async def _listen_to_the_end(self, after: int | None) -> None:
        try:
            await self.listen(after)
        except ConnectionClosedError:
            # Nothing reaches the client any more, but what it said before may be on its way
            # in: `broadcast` finds the end by itself.
            self._listening = False
            self._mailbox.close()
            self._welcomed.set()  # There is nothing left that could come too early.

    async def _catch_up(self, after: int) -> None:
        """Send the log after `after` in pages, until the room can take over without a hole."""
        limit = self._policy.read_limit
        while True:
            entries = await self._send_page(after, limit)
            after += entries
            if entries < limit:
                break
        position = await self._room.join_after(self, after)
        while after < position:
            after += await self._send_page(after, min(limit, position - after))

    async def _send_page(self, after: int, limit: int) -> int:
        entries = await self._repository.read(self._room.id, after=after, limit=limit)
        if entries:
            await self._connection.send([Batch([entry.message for entry in entries])])
        return len(entries)


def _why(group: BaseExceptionGroup[SharechatError]) -> Close:
    """Return how to close a connection that could not join or catch up."""
    error: BaseException | None = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error.__cause__ if isinstance(error, NotStoredError) else error:
        case RoomNotFoundError():
            return ROOM_DELETED
        case LeaseLostError():
            return RESTARTING
        case _:
            return TRY_LATER
