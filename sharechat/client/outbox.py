"""What has been said and not been acknowledged yet."""

from collections import deque

import trio

from sharechat.client.errors import NotStoredError
from sharechat.domain.messages import Message, to_json
from sharechat.domain.subprotocols import MAX_BYTES

MAX_UNACKNOWLEDGED = 64
"""How many messages may wait for the server to store them; who says more waits."""

MAX_FRAME = 6 * MAX_BYTES
"""Bytes that a message may have as JSON. A server closes the connection at a larger frame, by
default, instead of refusing the message."""


class Said:
    """One message on its way; `wait` returns it once it is stored."""

    def __init__(self, id_: str, text: str) -> None:
        self.id = id_
        self.frame = to_json({"id": id_, "message": text}).decode()
        self.done = trio.Event()
        self._outcome: Message | Exception | None = None

    def settle(self, outcome: Message | Exception) -> None:
        if self._outcome is None:
            self._outcome = outcome
            self.done.set()

    async def wait(self) -> Message:
        """Return the message as it was stored. Raises what `settle` was given."""
        await self.done.wait()
        assert self._outcome is not None
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


class Outbox:
    """Keeps messages in the order in which they were said until they are acknowledged."""

    def __init__(self) -> None:
        self._waiting: dict[str, Said] = {}
        # Those that have yet to be sent over the present connection.
        self._unsent: deque[Said] = deque()
        self._space = trio.Semaphore(MAX_UNACKNOWLEDGED)
        self._more = trio.Event()
        # Set once nothing will be sent any more.
        self._error: Exception | None = None

    async def say(
        self,
        id_: str,
        text: str,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> Message:
        """Add a message; return it once it is stored. Raises NotStoredError.

        The task counts as started once the message is added: its place in the order is certain.
        If cancelled, the message is not sent again, but it may have been stored.
        """
        said = Said(id_, text)
        if len(said.frame) > MAX_FRAME:
            raise NotStoredError("The message is too large.", id_)
        async with self._space:
            if self._error is not None:
                raise self._error
            self._waiting[id_] = said
            self._unsent.append(said)
            self._more.set()
            task_status.started()
            try:
                return await said.wait()
            finally:
                self._waiting.pop(id_, None)

    def start_again(self) -> set[str]:
        """Have everything that is not acknowledged sent over a new connection; return the ids."""
        self._unsent = deque(self._waiting.values())
        self._more.set()
        return set(self._waiting)

    async def next(self) -> Said:
        """Remove and return the next message to send. If cancelled, it stays."""
        while True:
            while self._unsent:
                said = self._unsent.popleft()
                if said.id in self._waiting:
                    return said
            self._more = trio.Event()
            await self._more.wait()

    def acknowledge(self, message: Message) -> bool:
        """Settle what was said with this message's id; return whether there was something."""
        if said := self._waiting.get(message.id):
            said.settle(message)
        return said is not None

    def refuse(self, failure: Message) -> None:
        if said := self._waiting.get(failure.id):
            said.settle(NotStoredError(failure.text, failure.id))

    def fail(self, error: Exception) -> None:
        """Settle everything that waits with an error, and what is said from now on."""
        self._error = error
        for said in self._waiting.values():
            said.settle(error)
