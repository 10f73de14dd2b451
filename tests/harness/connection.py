"""A fake of the Connection port: the test plays its client."""

import math
from collections import deque
from collections.abc import Sequence

import trio

from sharechat.domain.batch import Batch
from sharechat.domain.errors import ConnectionClosedError
from sharechat.domain.messages import Message, Welcome
from sharechat.domain.outcomes import Close

BUFFER = 4000
"""Bytes that may wait before `offer` returns False. Small, so that tests reach the limit."""


class FakeConnection:
    """One client. The test makes it act; `received` holds every message that it was sent.

    After `stalls` it reads nothing, so whatever is offered stays in the buffer. With `slow`,
    everything goes through the buffer, as over plain ASGI.
    """

    def __init__(self, *, slow: bool = False) -> None:
        self.slow = slow
        self.received: list[Message] = []
        self.greeting: Welcome | None = None
        """What came before every message, if anything did."""
        self.writes = 0
        """How many times the buffer was written to the client."""
        self.closed = trio.Event()
        self.close: Close | None = None
        """What the client was told when the connection was closed."""
        self.close_held: trio.Event | None = None
        """If set, `aclose` waits for this event."""
        self.raises: Exception | None = None
        """If set, `offer` and `drain` raise this."""
        self.read = 0
        """How many of the client's texts `receive` has returned."""
        self._outgoing: deque[Batch] = deque()
        self._draining = False
        self._stalled = False
        self._gone = False
        self._hung_up = False
        self._changed = trio.Event()
        self._texts, self._inbox = trio.open_memory_channel[str](math.inf)

    # The client's end.

    def says(self, *texts: str) -> None:
        if self.closed.is_set():
            return  # The client has not noticed yet.
        for text in texts:
            self._texts.send_nowait(text)

    def breaks(self) -> None:
        """Lose the connection in a way that only `offer` and `drain` notice, not `receive`."""
        self._gone = True
        self._change()

    def hangs_up(self) -> None:
        self._texts.close()
        self._hung_up = True
        self.breaks()

    def stalls(self) -> None:
        self._stalled = True

    def reads_once(self) -> int:
        """Read what is in the buffer, and stall again; return how many messages that were."""
        before = len(self.received)
        self._stalled = False
        self._flush()
        self._stalled = True
        return len(self.received) - before

    def reads_on(self) -> None:
        self._stalled = False
        self._change()

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.received]

    async def hears(self, *texts: str, within: float = 60) -> None:
        """Wait until it has received all of these in this order, perhaps with others between."""
        with trio.fail_after(within):
            while not self._has_heard(texts):
                await self._changed.wait()

    def _has_heard(self, texts: Sequence[str]) -> bool:
        heard = iter(self.texts)
        return all(text in heard for text in texts)

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # The server's end: see `sharechat.domain.ports.Connection`.

    async def receive(self) -> str:
        try:
            text = await self._inbox.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise ConnectionClosedError from None
        self.read += 1
        return text

    @property
    def gone(self) -> bool:
        return self._hung_up

    async def pause(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            while not self._hung_up:
                await self._changed.wait()

    def offer(self, batch: Batch) -> bool:
        self._raise_if_closed()
        if self._outgoing and self.backlog + batch.size > BUFFER:
            return False
        self._outgoing.append(batch)
        if not self.slow:
            self._flush()
        return True

    @property
    def backlog(self) -> int:
        return sum(batch.size for batch in self._outgoing)

    async def drain(self) -> None:
        assert not self._draining, "drain was called while drain runs"
        self._draining = True
        try:
            await trio.lowlevel.checkpoint()
            self._raise_if_closed()
            while self._outgoing and self._stalled:
                await self._changed.wait()
                self._raise_if_closed()
            self._flush()
        finally:
            self._draining = False

    def _flush(self) -> None:
        if self._outgoing and not self._stalled:
            self.writes += 1
            while self._outgoing:
                for message in self._outgoing.popleft().messages:
                    if isinstance(message, Welcome):
                        assert not self.received, "the greeting comes first"
                        self.greeting = message
                    else:
                        self.received.append(message)
            self._change()

    def _raise_if_closed(self) -> None:
        if self.raises:
            raise self.raises
        if self._gone or self.closed.is_set():
            raise ConnectionClosedError

    async def aclose(self, close: Close | None = None) -> None:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
            if self.close_held is not None:
                await self.close_held.wait()
        if not self.closed.is_set():
            self.close = close
            self.closed.set()
            self._texts.close()
            self._change()
