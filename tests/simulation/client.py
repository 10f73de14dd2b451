"""One client and its connection: the client's end, the network, and the server's end."""

import enum
import math
from collections import deque

import trio

from sharechat.domain.batch import Batch
from sharechat.domain.errors import ConnectionClosedError
from sharechat.domain.ids import MessageId, RoomId
from sharechat.domain.messages import Message, to_json
from sharechat.domain.outcomes import Close
from tests.simulation.state import ClientState, ProcessState
from tests.simulation.world import World

_SOCKET = 6
"""Messages that the kernels between server and client hold."""

_OUTGOING = 4
"""Messages that wait in the server before `offer` returns False."""

_STALL = 10.0
"""Seconds without progress after which the real connection aborts."""

_CLOSE = 3.0
"""Seconds after which the real connection gives up on a closing handshake."""


class Reading(enum.Enum):
    EAGER = enum.auto()
    SLOW = enum.auto()
    STALLED = enum.auto()


class SimConnection(ClientState):
    """The server's end implements the port `Connection`; the other methods are the client's."""

    def __init__(
        self,
        world: World,
        process: ProcessState,
        room_id: RoomId,
        *,
        after: MessageId | None = None,
        always_waits: bool = False,
        pace: float | None = None,
    ) -> None:
        super().__init__(len(world.connections), process, room_id, after)
        world.connections.append(self)
        self._world = world
        self._always_waits = always_waits
        self._reset = False
        self._reading = Reading.EAGER
        # Messages in the kernels, which the client has not read.
        self._socket: deque[Message] = deque()
        # Messages in the server, which the kernel has not taken.
        self._outgoing: deque[Message] = deque()
        self._draining = False
        self._rng = world.rng(f"connection {self.number}")
        self._changed = trio.Event()
        self._arrived = trio.Event()
        self._texts, self._inbox = trio.open_memory_channel[str](math.inf)
        if pace is not None:
            self.dawdles(pace)
            self.pace = pace

    # The client's end.

    def says(self, count: int) -> None:
        """Send some texts that no other client sends."""
        self.says_texts(*(f"{self.number}.{len(self.sent) + n}" for n in range(count)))

    def says_badly(self, flaw: str) -> None:
        """Send a text that cannot be stored."""
        self.says_texts(f"{self.number}.{len(self.sent)}{flaw}")

    def says_texts(self, *texts: str) -> None:
        for text in texts:
            self._texts.send_nowait(text)
            self.sent.append(text)

    def closes(self) -> None:
        """Close the connection properly; the server notices immediately."""
        if self.gone_at is None:
            self.gone_at = trio.current_time()
            self._notice()

    def vanishes(self, noticed_after: float) -> None:
        """Disappear without closing the connection; the server notices some seconds later."""
        if self.gone_at is None:
            self.gone_at = trio.current_time()
            self._set_reading(Reading.STALLED)
            self._world.later(noticed_after, self._notice)

    def _notice(self) -> None:
        """Let the server notice that the client has gone."""
        self._reset = True
        self.noticed_at = trio.current_time()
        self._texts.close()
        self._change()

    def reads_as(self, reading: Reading) -> None:
        if self.gone_at is not None:
            return
        self.dawdled = self.dawdled or reading is not Reading.EAGER
        self.pace = None
        self._set_reading(reading)
        while self._socket and reading is Reading.EAGER:
            self._hear()
        self._change()

    def _set_reading(self, reading: Reading) -> None:
        self._reading = reading
        self.reads = reading is Reading.EAGER

    def dawdles(self, pause: float) -> None:
        """Read one message every `pause` seconds from now on."""
        self.reads_as(Reading.SLOW)
        self._world.nursery.start_soon(self._dawdle, pause)

    async def _dawdle(self, pause: float) -> None:
        while self.here:
            if not self._socket:
                await self._arrived.wait()
            await trio.sleep(pause)
            if self._socket and self._reading is Reading.SLOW:
                self._hear()
                self._change()

    def _hear(self) -> None:
        message = self._socket.popleft()
        self.heard.append((trio.current_time(), message))
        self._world.note("hears", self.number, message.type, message.id)

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _arrive(self, message: Message) -> None:
        self._socket.append(message)
        self._arrived.set()
        self._arrived = trio.Event()
        if self._reading is Reading.EAGER:
            self._hear()

    # The server's end: see `sharechat.domain.ports.Connection`.

    def _raise_if_closed(self) -> None:
        if self._reset or self.closed_at is not None:
            raise ConnectionClosedError

    async def receive(self) -> str:
        while len(self.settled_at) < len(self.consumed):
            self.settled_at.append(trio.current_time())
        await self.process.halt_if_dead()
        try:
            text = await self._inbox.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise ConnectionClosedError from None
        await self.process.halt_if_dead()
        self.consumed.append(text)
        self.consumed_at.append(trio.current_time())
        self.submitted_at.append(trio.current_time())
        return text

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
        # There is no greeting: the simulation's clients speak plain text.
        self._outgoing += [m for m in batch.messages if isinstance(m, Message)]
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
