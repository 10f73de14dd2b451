"""The server's end of a connection: the port `Connection`."""

from collections import deque

import trio

from sharechat.domain.batch import Batch
from sharechat.domain.errors import ConnectionClosedError
from sharechat.domain.ids import MessageId
from sharechat.domain.messages import Message, Welcome, to_json
from sharechat.domain.outcomes import Close
from tests.simulation.authors import Author
from tests.simulation.client import Reading, SimClient
from tests.simulation.state import ProcessState
from tests.simulation.world import World

_SOCKET = 6
"""Messages that the kernels between server and client hold."""

_OUTGOING = 4
"""Messages that wait in the server before `offer` returns False."""

_STALL = 10.0
"""Seconds without progress after which the real connection aborts."""

_CLOSE = 3.0
"""Seconds after which the real connection gives up on a closing handshake."""


class SimConnection(SimClient):
    """Both ends: the methods of the port are the server's, the inherited ones the client's."""

    def __init__(
        self,
        world: World,
        process: ProcessState,
        author: Author,
        *,
        after: MessageId | None = None,
        always_waits: bool = False,
        pace: float | None = None,
    ) -> None:
        super().__init__(world, process, author, after=after, pace=pace)
        self._always_waits = always_waits
        # Messages in the server, which the kernel has not taken.
        self._outgoing: deque[Message | Welcome] = deque()
        self._draining = False
        self._rng = world.rng(f"connection {self.number}")

    def _raise_if_closed(self) -> None:
        if self._reset or self.closed_at is not None:
            raise ConnectionClosedError

    async def receive(self) -> str:
        while len(self.settled_at) < len(self.consumed):
            self.settled_at.append(trio.current_time())
        await self.process.halt_if_dead()
        try:
            said = await self._inbox.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise ConnectionClosedError from None
        await self.process.halt_if_dead()
        self.consumed.append(said.text)
        self.consumed_at.append(trio.current_time())
        self.submitted_at.append(trio.current_time())
        if said.id is not None:
            self.awaited.add(said.id)
        return said.frame

    @property
    def gone(self) -> bool:
        return self._reset

    async def pause(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            while not self._reset:
                await self._changed.wait()
        await self.process.halt_if_dead()
        self.submitted_at[-1] = trio.current_time()

    def offer(self, batch: Batch) -> bool:
        self._raise_if_closed()
        if self._outgoing and len(self._outgoing) + len(batch.messages) > _OUTGOING:
            return False
        self._outgoing += batch.messages
        if not self._always_waits:
            # A write may be partial although there is room.
            partial = self._rng.random() < 0.1
            self._write(self._rng.randrange(_SOCKET) if partial else _SOCKET)
        return True

    @property
    def backlog(self) -> int:
        return sum(len(to_json(message)) for message in self._outgoing)

    def _write(self, limit: int) -> int:
        """Hand up to `limit` messages to the kernel; return how many it took."""
        written = 0
        while self._outgoing and written < limit and len(self._socket) < _SOCKET:
            self._arrive(self._outgoing.popleft())
            written += 1
        return written

    async def drain(self) -> None:
        if self._draining:
            self._world.report_violation(f"{self}: two drains at once")
        self._draining = True
        try:
            await self.process.halt_if_dead()
            await trio.lowlevel.checkpoint()
            self._raise_if_closed()
            while self._outgoing:
                if not self._write(len(self._outgoing)):
                    await self._progress()
                self._raise_if_closed()
        finally:
            self._draining = False

    async def _progress(self) -> None:
        """Wait until the client has read something, or abort when it has not for too long."""
        with trio.move_on_after(_STALL) as stall:
            await self._changed.wait()
        if stall.cancelled_caught and self.gone_at is None:
            self._world.note("aborted", self.number)
            self.aborted = True
            self.gone_at = trio.current_time()
            self._notice()

    async def aclose(self, close: Close | None = None) -> None:
        if self.closed_at is None:
            self.closed_at = trio.current_time()
            self.close = close
            self._world.note("closed", self.number, close and close.code)
            self._texts.close()
            self._change()
            if not self.process.dead:
                # While the client does not read, the closing handshake does not get through, and
                # the adapter gives up on it.
                with trio.move_on_after(_CLOSE, shield=True):
                    while self._reading is Reading.STALLED and not self._reset:
                        await self._changed.wait()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def break_off(self) -> None:
        """Close the connection as the kernel does when the process has died."""
        if self.closed_at is None:
            self.closed_at = trio.current_time()
            self._world.note("broken off", self.number)
        self._change()
