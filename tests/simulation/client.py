"""The client's end of a connection, and the network between the two ends."""

import enum
import math
from collections import deque

import trio

from sharechat.domain.ids import MessageId
from sharechat.domain.messages import Message, MessageType, Welcome
from tests.simulation.authors import Author
from tests.simulation.state import ClientState, ProcessState, Said
from tests.simulation.world import World


class Reading(enum.Enum):
    EAGER = enum.auto()
    SLOW = enum.auto()
    STALLED = enum.auto()


class SimClient(ClientState):
    """One connection of an author: what is said over it, how it is read, and how it is lost."""

    author: Author

    def __init__(
        self,
        world: World,
        process: ProcessState,
        author: Author,
        *,
        after: MessageId | None = None,
        pace: float | None = None,
    ) -> None:
        super().__init__(len(world.connections), process, author, after)
        world.connections.append(self)
        author.connection = self
        self.subprotocol = author.subprotocol
        self._world = world
        self._reset = False
        self._reading = Reading.EAGER
        # What is in the kernels, and the client has not read.
        self._socket: deque[Message | Welcome] = deque()
        # The furthest place in the log of all that the client has read.
        self._position = 0
        self._changed = trio.Event()
        self._arrived = trio.Event()
        self._texts, self._inbox = trio.open_memory_channel[Said](math.inf)
        if pace is not None:
            self.dawdles(pace)
            self.pace = pace

    def says(self, count: int) -> None:
        """Send some texts that were never sent before."""
        self.sends(*(self.author.new() for _ in range(count)))

    def says_badly(self, flaw: str) -> None:
        """Send a text that cannot be stored."""
        self.sends(self.author.new(flaw))

    def says_malformed(self, variant: int) -> None:
        """Send a frame that the subprotocol does not allow."""
        self.sends(self.author.malformed(variant))

    def repeats(self, variant: int) -> None:
        """Say something again, whether or not it was acknowledged."""
        self.sends(self.author.repeat(variant))

    def says_again(self, *, failed: bool = False) -> None:
        """Say again what is not acknowledged, or only that of it which has failed."""
        kept = self.author.unacknowledged()
        self.sends(*(said for said in kept if not failed or said.id in self.author.failed))

    def sends(self, *frames: Said) -> None:
        """Send frames; the network keeps any number of them for the server."""
        for said in frames:
            self._texts.send_nowait(said)
            self.sent.append(said.text)
            if said.id is not None:
                self.author.failed.discard(said.id)

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
        if isinstance(message, Welcome):
            self._hear_welcome(message)
            return
        if self.author.chooses_ids and self.welcome is None:
            self._world.report_violation(f"{self} heard {message.text!r} before its welcome")
        self.heard.append((trio.current_time(), message))
        self._world.note("hears", self.number, message.type, message.id)
        self.awaited.discard(message.id)
        self.author.hears(message)
        seq = self._world.truth.seqs.get(message.id, 0)
        if message.type is not MessageType.FAILED and seq > self._position:
            self._position = seq
            self.last_heard = self.author.last_heard = message.id

    def _hear_welcome(self, welcome: Welcome) -> None:
        if not self.author.chooses_ids or self.welcome is not None:
            self._world.report_violation(f"{self} heard a welcome that it does not expect")
        self.welcome = welcome
        self._world.note("is welcomed", self.number, welcome.member_id)

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _arrive(self, message: Message | Welcome) -> None:
        self._socket.append(message)
        self._arrived.set()
        self._arrived = trio.Event()
        if self._reading is Reading.EAGER:
            self._hear()
