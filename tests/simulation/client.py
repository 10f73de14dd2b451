"""One client's connection, seen from both ends."""

import enum
import math
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING

import trio

from sharechat.domain.batch import Batch
from sharechat.domain.errors import ConnectionClosedError
from sharechat.domain.ids import MemberId, MessageId, RoomId
from sharechat.domain.messages import Message, MessageType, to_json
from sharechat.domain.outcomes import Close
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.process import SimProcess

_SOCKET = 6
"""Messages that the kernels between server and client hold."""

_OUTGOING = 4
"""Messages that wait in the server before `offer` returns False."""

_STALL = 10.0
"""Seconds without progress after which the real connection aborts."""


serving: ContextVar["SimConnection"] = ContextVar("serving")
"""Whose member's task this is."""


class Reading(enum.Enum):
    EAGER = enum.auto()
    SLOW = enum.auto()
    STALLED = enum.auto()


class SimConnection:
    """The server's end is the port `Connection`; the others are what the client does."""

    def __init__(
        self,
        world: World,
        process: "SimProcess",
        room_id: RoomId,
        *,
        after: MessageId | None = None,
        always_waits: bool = False,
    ) -> None:
        self.number = len(world.connections)
        self.process = process
        self.room_id = room_id
        self.after = after
        self.member_id: MemberId | None = None
        self.heard: list[tuple[float, Message]] = []
        self.consumed: list[str] = []
        """What the server has taken from the client, in order."""
        self.settled = 0
        """How many of those the server has dealt with: it asked for the next one."""
        self.dawdled = False
        self.accepted = False
        self.closed_at: float | None = None
        self.close: Close | None = None
        self.gone_at: float | None = None
        self._world = world
        self._always_waits = always_waits
        self._reset = False
        self._reading = Reading.EAGER
        self._buffer: deque[Message] = deque()
        self._outgoing: deque[Message] = deque()
        self._draining = False
        self._dice = world.dice(f"connection {self.number}")
        self._changed = trio.Event()
        self._said = 0
        self._texts, self._inbox = trio.open_memory_channel[str](math.inf)
        world.connections.append(self)

    def __repr__(self) -> str:
        return f"connection {self.number} ({self.member_id} on process {self.process.number})"

    @property
    def here(self) -> bool:
        """Whether a client is there and was not sent away."""
        return self.gone_at is None and self.closed_at is None

    @property
    def reads(self) -> bool:
        return self._reading is Reading.EAGER

    @property
    def unanswered(self) -> bool:
        """Whether the server has not dealt with all that the client said."""
        return self._said > self.settled

    @property
    def last_heard(self) -> MessageId | None:
        stored = (m.id for _, m in reversed(self.heard) if m.type is not MessageType.FAILED)
        return next(stored, None)

    def says(self, count: int) -> None:
        self.says_texts(*(f"{self.number}.{self._said + n}" for n in range(count)))

    def says_texts(self, *texts: str) -> None:
        for text in texts:
            self._texts.send_nowait(text)
            self._said += 1

    def closes(self) -> None:
        """The client closes properly: the server knows at once."""
        if self.gone_at is None:
            self.gone_at = trio.current_time()
            self._notice()

    def vanishes(self, noticed_after: float) -> None:
        """The client is there no more, and nothing comes of what it is sent."""
        if self.gone_at is None:
            self.gone_at = trio.current_time()
            self._reading = Reading.STALLED
            self._world.later(noticed_after, self._notice)

    def _notice(self) -> None:
        self._reset = True
        self._texts.close()
        self._change()

    def reads_as(self, reading: Reading) -> None:
        if self.gone_at is not None:
            return
        self.dawdled = self.dawdled or reading is not Reading.EAGER
        self._reading = reading
        while self._buffer and reading is Reading.EAGER:
            self._hear()
        self._change()

    def reads_one(self) -> None:
        if self._buffer and self._reading is Reading.SLOW:
            self._hear()
            self._change()

    def _hear(self) -> None:
        message = self._buffer.popleft()
        self.heard.append((trio.current_time(), message))
        self._world.note("hears", self.number, message.type, message.id)

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _arrive(self, message: Message) -> None:
        self._buffer.append(message)
        if self._reading is Reading.EAGER:
            self._hear()

    def _raise_if_over(self) -> None:
        if self._reset or self.closed_at is not None:
            raise ConnectionClosedError

    async def receive(self) -> str:
        self.settled = len(self.consumed)
        await self.process.passes()
        try:
            text = await self._inbox.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise ConnectionClosedError from None
        await self.process.passes()
        self.consumed.append(text)
        return text

    def offer(self, batch: Batch) -> bool:
        self._raise_if_over()
        if self._outgoing and len(self._outgoing) + len(batch.messages) > _OUTGOING:
            return False
        self._outgoing += batch.messages
        if not self._always_waits:
            # A write may be partial although there is room.
            partial = self._dice.random() < 0.1
            self._write(self._dice.randrange(_SOCKET) if partial else _SOCKET)
        return True

    @property
    def backlog(self) -> int:
        return sum(len(to_json(message)) for message in self._outgoing)

    def _write(self, most: int) -> int:
        """Have up to so many messages taken by the kernel; return how many were."""
        written = 0
        while self._outgoing and written < most and len(self._buffer) < _SOCKET:
            self._arrive(self._outgoing.popleft())
            written += 1
        return written

    async def drain(self) -> None:
        if self._draining:
            self._world.accuse(f"{self}: two drains at once")
        self._draining = True
        try:
            await self.process.passes()
            await trio.lowlevel.checkpoint()
            self._raise_if_over()
            while self._outgoing:
                if not self._write(len(self._outgoing)):
                    await self._progress()
                self._raise_if_over()
        finally:
            self._draining = False

    async def _progress(self) -> None:
        """Wait until the client has read something, or give up and abort."""
        with trio.move_on_after(_STALL) as stall:
            await self._changed.wait()
        if stall.cancelled_caught and self.gone_at is None:
            self._world.note("aborted", self.number)
            self.gone_at = trio.current_time()
            self._notice()

    async def aclose(self, close: Close | None = None) -> None:
        if self.closed_at is None:
            self.closed_at = trio.current_time()
            self.close = close
            self._world.note("closed", self.number, close and close.code)
            self._texts.close()
            self._change()
            if self._reading is Reading.STALLED and not self.process.dead:
                # The closing handshake does not get through; the adapter gives that up.
                with trio.CancelScope(shield=True):
                    await trio.sleep(3)
        await trio.lowlevel.cancel_shielded_checkpoint()

    def break_off(self) -> None:
        """The process is no more, and its kernel resets the connection."""
        if self.closed_at is None:
            self.closed_at = trio.current_time()
            self._world.note("broken off", self.number)
        self._change()
