"""What one member says: from the texts of its client to entries in the log."""

from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import structlog
import trio

from sharechat.actors.journal import Journal
from sharechat.actors.policy import Policy
from sharechat.domain import messages
from sharechat.domain.batch import Batch
from sharechat.domain.errors import ConnectionClosedError, NotStoredError, SharechatError
from sharechat.domain.ids import MessageId, RoomId
from sharechat.domain.messages import Draft, Entry, Identity
from sharechat.domain.ports import Connection
from sharechat.domain.sources import Sources
from sharechat.domain.subprotocols import MalformedError, Subprotocol
from sharechat.domain.telemetry import SILENT, Telemetry
from sharechat.domain.token_bucket import TokenBucket

log = structlog.get_logger()


class Talk:
    """A part of a member, which `Member.broadcast` runs.

    `shared_bucket` limits all members of one address. What concerns this client alone, such
    as a failure, goes to `deliver`, but only once `welcomed` is set. `position` returns the seq
    up to which the client has been sent the log, or will be before anything else.
    """

    __slots__ = (
        "_connection",
        "_deliver",
        "_identity",
        "_journal",
        "_policy",
        "_position",
        "_room_id",
        "_shared_bucket",
        "_sources",
        "_subprotocol",
        "_telemetry",
        "_welcomed",
    )

    def __init__(
        self,
        identity: Identity,
        connection: Connection,
        room_id: RoomId,
        journal: Journal,
        policy: Policy,
        sources: Sources,
        subprotocol: Subprotocol,
        shared_bucket: TokenBucket,
        welcomed: trio.Event,
        position: Callable[[], int],
        deliver: Callable[[Batch], object],
        telemetry: Telemetry = SILENT,
    ) -> None:
        self._identity = identity
        self._connection = connection
        self._room_id = room_id
        self._journal = journal
        self._policy = policy
        self._sources = sources
        self._subprotocol = subprotocol
        self._shared_bucket = shared_bucket
        self._welcomed = welcomed
        self._position = position
        self._deliver = deliver
        self._telemetry = telemetry

    async def run(self) -> NoReturn:
        """Carry texts from the connection to the Journal, one after the other.

        The next text is read when this one has been stored and the rate allows another; so a
        client that sends too much is held back. Ends by raising ConnectionClosedError.
        """
        bucket = TokenBucket(self._policy.message_rate, self._policy.message_burst)
        connection = self._connection
        while True:
            text = await connection.receive()
            now = trio.current_time()
            pause = max(bucket.take(now), self._shared_bucket.take(now))
            if pause > 0 and not connection.gone:
                await connection.pause(pause)
            if connection.gone:
                await self._store_the_rest(text)
            position = self._position()
            try:
                draft = self._draft(text)
                entry = await self._journal.store(draft)
            except MalformedError as error:
                await self._fail(self._chat(error.id, ""), error)
            except NotStoredError as error:
                await self._fail(draft, error)
            else:
                if entry.seq <= position or entry.message.member_id != self._identity.id:
                    await self._repeat(entry)

    def _draft(self, text: str) -> Draft:
        """Return the chat message that a text holds. Raises MalformedError."""
        said = self._subprotocol.read(text)
        return self._chat(said.id, said.text)

    def _chat(self, id_: MessageId | None, text: str) -> Draft:
        id_ = id_ or self._sources.message_id()
        return messages.chat(id_, self._room_id, self._identity, text)

    async def _fail(self, draft: Draft, reason: SharechatError) -> None:
        self._telemetry.not_stored(reason)
        await self._welcomed.wait()
        self._deliver(Batch([messages.failed(draft, str(reason), self._sources.now())]))

    async def _repeat(self, entry: Entry) -> None:
        """Send the client a message that it has said again and that had been stored before.

        If the client has yet to be sent the message in its place in the log, it hears it then.
        """
        await self._welcomed.wait()
        if entry.seq <= self._position():
            self._deliver(Batch([entry.message]))

    async def _store_the_rest(self, text: str) -> NoReturn:
        """Have what a client said before it went stored at once, and drop what is too much.

        Nobody waits for it to be stored: it is before the member's `left` in the Journal.
        Ends by raising ConnectionClosedError. If cancelled, what has not been taken up by then
        is not stored.
        """
        stored = dropped = 0
        with trio.move_on_after(self._policy.rest_timeout):
            try:
                while True:
                    if stored < self._policy.max_rest:
                        with suppress(MalformedError):  # Nobody is there to be told.
                            await self._journal.submit(self._draft(text))
                        stored += 1
                    else:
                        dropped += 1
                    text = await self._connection.receive()
            finally:
                if dropped:
                    log.info("texts dropped", reason="their client has gone", count=dropped)
        raise ConnectionClosedError
