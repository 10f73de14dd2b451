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
    as a failure, goes to `deliver`, but only once `welcome` has been called. `position` returns the
    seq up to which the client has been sent the log, or will be before anything else.
    """

    __slots__ = (
        "_answered",
        "_connection",
        "_deliver",
        "_identity",
        "_journal",
        "_outcome",
        "_policy",
        "_position",
        "_room_id",
        "_shared_bucket",
        "_sources",
        "_submitted",
        "_submitted_at",
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
        self._position = position
        self._deliver = deliver
        self._telemetry = telemetry
        # The message that is on its way to the log, or whose author is yet to be answered; the
        # client's position when it was submitted; and its outcome, if that is to be told and cannot
        # be yet.
        self._submitted: Draft | None = None
        self._submitted_at = 0
        self._outcome: Entry | NotStoredError | None = None
        # Set, if `run` waits for it, once there is no such message any more.
        self._answered: trio.Event | None = None
        self._welcomed = trio.Event()

    def welcome(self) -> None:
        """Learn that nothing that is delivered from now on comes before the member's `joined`."""
        self._welcomed.set()
        if self._outcome is not None:
            self._answer(self._outcome)

    async def run(self) -> NoReturn:
        """Carry texts from the connection to the Journal, one after the other.

        The next text is taken up when this one has been stored and the rate allows another; so a
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
            if self._submitted is not None:
                self._answered = trio.Event()
                await self._answered.wait()
            try:
                draft = self._draft(text)
            except MalformedError as error:
                await self._welcomed.wait()
                self._fail(self._chat(error.id, ""), error)
            else:
                self._submitted, self._submitted_at = draft, self._position()
                await self._journal.submit(draft, self._settle)

    def _settle(self, outcome: Entry | NotStoredError) -> None:
        """Take what became of a message. In the Journal's task: nothing here waits or raises."""
        if (
            isinstance(outcome, Entry)
            and outcome.seq > self._submitted_at
            and outcome.message.member_id == self._identity.id
        ):
            # The client hears it in its place in the log.
            self._set_answered()
        elif self._welcomed.is_set():
            self._answer(outcome)
        else:
            self._outcome = outcome

    def _answer(self, outcome: Entry | NotStoredError) -> None:
        if isinstance(outcome, Entry):
            self._repeat(outcome)
        else:
            assert self._submitted is not None
            self._fail(self._submitted, outcome)
        self._set_answered()

    def _set_answered(self) -> None:
        self._submitted = self._outcome = None
        if self._answered is not None:
            self._answered.set()
            self._answered = None

    def _draft(self, text: str) -> Draft:
        """Return the chat message that a text holds. Raises MalformedError."""
        said = self._subprotocol.read(text)
        return self._chat(said.id, said.text)

    def _chat(self, id_: MessageId | None, text: str) -> Draft:
        id_ = id_ or self._sources.message_id()
        return messages.chat(id_, self._room_id, self._identity, text)

    def _fail(self, draft: Draft, reason: SharechatError) -> None:
        self._telemetry.not_stored(reason)
        self._deliver(Batch([messages.failed(draft, str(reason), self._sources.now())]))

    def _repeat(self, entry: Entry) -> None:
        """Send the client a message that it has said again and that had been stored before.

        If the client has yet to be sent the message in its place in the log, it hears it then.
        """
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
