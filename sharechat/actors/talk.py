"""What one member says: from the texts of its client to entries in the log."""

from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import structlog
import trio

from sharechat.actors.journal import Journal
from sharechat.actors.policy import Policy
from sharechat.actors.submission import Submission
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
        "_position_then",
        "_room_id",
        "_shared_bucket",
        "_sources",
        "_subprotocol",
        "_telemetry",
        "_unanswered",
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
        deliver: Callable[[Batch], bool],
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
        # The message that is on its way to the log, or whose outcome the client is yet to be told;
        # the client's position when it was submitted; and that outcome.
        self._unanswered: Submission | None = None
        self._position_then = 0
        self._outcome: Entry | NotStoredError | None = None
        # Set once that message is answered, if `run` waits for that.
        self._answered: trio.Event | None = None
        self._welcomed = trio.Event()

    def welcome(self) -> None:
        """Learn that nothing that is delivered from now on comes before the member's `joined`."""
        self._welcomed.set()
        if self._outcome is not None:
            self._answer(self._outcome)

    async def run(self) -> NoReturn:
        """Carry texts from the connection to the Journal, one after the other.

        The next text goes there once it is known what became of this one and the rate allows
        another; so a client that sends too much is held back. Ends by raising
        ConnectionClosedError. However it ends, a text that is on its way is stored: what a member
        said before it left counts.
        """
        bucket = TokenBucket(self._policy.message_rate, self._policy.message_burst)
        connection = self._connection
        try:
            while True:
                text = await connection.receive()
                now = trio.current_time()
                pause = max(bucket.take(now), self._shared_bucket.take(now))
                if pause > 0 and not connection.gone:
                    await connection.pause(pause)
                if self._unanswered is not None and not connection.gone:
                    self._answered = trio.Event()
                    await self._answered.wait()
                if connection.gone:
                    await self._store_the_rest(text)
                try:
                    draft = self._draft(text)
                except MalformedError as error:
                    await self._welcomed.wait()
                    self._fail(self._chat(error.id, ""), error)
                else:
                    self._position_then = self._position()
                    self._unanswered = submission = Submission(draft, self._settle)
                    await self._journal.submit(submission)
        finally:
            if self._unanswered is not None:
                self._unanswered.keep()

    def _settle(self, outcome: Entry | NotStoredError) -> None:
        """Take what became of a message. In a task of the Journal: nothing here waits or raises."""
        if (
            isinstance(outcome, Entry)
            and outcome.seq > self._position_then
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
            assert self._unanswered is not None
            self._fail(self._unanswered.draft, outcome)
        self._set_answered()

    def _set_answered(self) -> None:
        self._unanswered = self._outcome = None
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
        message = messages.failed(draft, str(reason), self._sources.now())
        if self._deliver(Batch([message])):
            self._telemetry.not_stored(reason)

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
        if self._unanswered is not None:
            self._unanswered.keep()
        stored = dropped = 0
        with trio.move_on_after(self._policy.rest_timeout):
            try:
                while True:
                    if stored < self._policy.max_rest:
                        with suppress(MalformedError):  # Nobody is there to be told.
                            await self._journal.submit(Submission(self._draft(text)))
                        stored += 1
                    else:
                        dropped += 1
                    text = await self._connection.receive()
            finally:
                if dropped:
                    log.info("texts dropped", reason="their client has gone", count=dropped)
        raise ConnectionClosedError
