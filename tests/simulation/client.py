"""The client's end of a connection, and the network between the two ends."""

import enum

import msgspec
import trio

from sharechat.domain.ids import MessageId
from sharechat.domain.messages import Message, MessageType, Welcome
from sharechat.net.direct_connection import SILENCE
from tests.simulation.authors import Author
from tests.simulation.frames import FlawError
from tests.simulation.sockets import Path, Sizes, connect
from tests.simulation.state import ClientState, ProcessState, Said
from tests.simulation.websocket import ClientWebsocket, Habits
from tests.simulation.world import World

_LATENCIES = (0.0, 0.0, 0.0, 0.002, 0.01)
"""Seconds that everything may take from one end to the other."""

_SIZES = (1500, 1000, 800, 800)
"""The most bytes that the buffers hold: the server's to send and ours to receive, and back."""

_CUTS = (0.0, 0.1, 0.3)
"""How often a kernel may take or return less than it could."""

_RELUCTANCES = (0.0, 0.0, 0.1)
"""How often the server's kernel may take nothing although it has room."""

_SILENCE = SILENCE + 2
"""Seconds after which the server must take a silent client for dead."""

_MUCH = 1 << 16
"""Bytes, more than the kernels hold."""

_MESSAGE = 250
"""Bytes that a message has, about."""


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
        always_waits: bool = False,
        pace: float | None = None,
    ) -> None:
        super().__init__(len(world.connections), process, author, after)
        world.connections.append(self)
        author.connection = self
        self.subprotocol = author.subprotocol
        self._world = world
        self._reading = Reading.EAGER
        # The furthest place in the log of all that the client has read.
        self._position = 0
        self._arrived = trio.Event()
        self._dawdling = trio.CancelScope()
        rng = world.rng(f"connection {self.number}")
        self.latency = rng.choice(_LATENCIES)
        path = Path(
            # With latency, small buffers would make an eager client slow.
            sizes=Sizes(*(rng.randint(700 if self.latency else 100, most) for most in _SIZES)),
            rng=rng,
            later=world.later,
            latency=self.latency,
            cuts=rng.choice(_CUTS),
        )
        self.server_socket, self._socket = connect(path)
        self.server_socket.reluctance = 1.0 if always_waits else rng.choice(_RELUCTANCES)
        self.websocket = ClientWebsocket(
            self._socket,
            rng,
            Habits.draw(rng),
            on_text=self._hear,
            on_flaw=lambda flaw: world.report_violation(f"{self}: {flaw}"),
        )
        self._socket.on_change = self._act
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
        """Send frames; the client keeps any number of them until its kernel takes them."""
        for said in frames:
            self.sent.append(said)
            self.websocket.say(said.frame)
            if said.id is not None:
                self.author.failed.discard(said.id)

    def closes(self) -> None:
        """End the connection, nearly always with a close frame."""
        if self.gone_at is None:
            self.gone_at = trio.current_time()
            if self.websocket.habits.hangs_up:
                self.lossy = not self.websocket.arrived
                self.websocket.hang_up()
            else:
                self.websocket.close()

    def resets(self) -> None:
        """Break the connection; the server's kernel notices at once."""
        if self.gone_at is None:
            self.gone_at = trio.current_time()
            self.lossy = not self.websocket.arrived
            self.websocket.reset()

    def vanishes(self, noticed_after: float | None) -> None:
        """Disappear without a trace; the server's kernel notices some seconds later, or never."""
        if self.gone_at is None:
            self.gone_at = trio.current_time()
            self.lossy = not self.websocket.arrived
            self.websocket.vanish()
            if noticed_after is None:
                self.noticed_within = _SILENCE
            else:
                self.noticed_within += noticed_after
                self._world.later(noticed_after, self.server_socket.time_out)

    def reads_as(self, reading: Reading) -> None:
        if self.gone_at is not None:
            return
        self.dawdled = self.dawdled or reading is not Reading.EAGER
        self.pace = None
        self._reading = reading
        self.reads = reading is Reading.EAGER
        self._act()

    def dawdles(self, pause: float, size: int = _MESSAGE) -> None:
        """Read up to `size` bytes every `pause` seconds from now on."""
        self.reads_as(Reading.SLOW)
        self._dawdling.cancel()
        self._dawdling = trio.CancelScope()
        self._world.nursery.start_soon(self._dawdle, self._dawdling, pause, size)

    async def _dawdle(self, scope: trio.CancelScope, pause: float, size: int) -> None:
        with scope:
            await self._read_slowly(pause, size)

    async def _read_slowly(self, pause: float, size: int) -> None:
        while not self.websocket.ended:
            if not self._socket.readable:
                await self._arrived.wait()
            await trio.sleep(pause)
            if self._reading is Reading.SLOW:
                self.websocket.read(size)

    def _act(self) -> None:
        """Do what the socket allows now."""
        self.websocket.flush()
        if self._reading is Reading.EAGER:
            while self.websocket.read(_MUCH):
                pass
        elif self._reading is Reading.SLOW and self._socket.readable:
            self._arrived.set()
            self._arrived = trio.Event()

    def _hear(self, text: bytes) -> None:
        """Take a text from the websocket. Raises FlawError if it is not a message."""
        try:
            if text.startswith(b'{"type":"welcome"'):
                self._hear_welcome(msgspec.json.decode(text, type=Welcome))
            else:
                self._hear_message(msgspec.json.decode(text, type=Message))
        except msgspec.MsgspecError as error:
            raise FlawError(f"{text!r} is not a message: {error}") from None

    def _hear_message(self, message: Message) -> None:
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
