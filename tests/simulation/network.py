"""The network between the processes and the simulated Redis, at the level of bytes."""

from collections import deque
from collections.abc import Callable, Iterator

import trio

from tests.simulation.conditions import Conditions
from tests.simulation.faults import Fault
from tests.simulation.schedule import Schedule
from tests.simulation.state import ProcessState
from tests.simulation.world import World


class Network:
    """What the faults do to the connections of each process."""

    def __init__(self, world: World, schedule: Schedule, conditions: Conditions) -> None:
        self.world = world
        self.conditions = conditions
        self.schedule = schedule
        self.rng = world.rng("network")

    def cut(self, process: ProcessState, *, incoming: bool) -> bool:
        """Return whether no bytes get through in one direction, without a sign of it."""
        return any(
            not cut.strength and (cut.incoming if incoming else cut.outgoing)
            for cut in self.world.faults.active(Fault.CUT, process.number)
        )

    def refuses(self, process: ProcessState) -> bool:
        """Return whether the network tells the process that Redis cannot be reached."""
        cuts = self.world.faults.active(Fault.CUT, process.number)
        return any(cut.strength for cut in cuts)

    def delay(self, process: ProcessState, *, incoming: bool) -> float:
        """Return the seconds that some bytes travel."""
        usual = self.conditions.latency_back if incoming else self.conditions.latency
        noise = self.world.faults.now(Fault.NOISE, process.number)
        if noise is None or self.rng.random() > (0.2, 0.5, 0.9)[noise.strength]:
            return usual
        return self.rng.choice((usual, 0.002, 0.004, 0.006, 0.05, 0.4))

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield the bytes in the pieces in which they travel: mostly one."""
        while len(data) > 1 and self.rng.random() < 0.15:
            size = self.rng.randrange(1, len(data))
            yield data[:size]
            data = data[size:]
        yield data


class Wire:
    """One direction of a connection: the bytes arrive in order and some time later.

    Empty bytes mean that the sender has closed the connection.
    """

    def __init__(
        self,
        network: Network,
        process: ProcessState,
        arrive: Callable[[bytes], None],
        *,
        incoming: bool,
    ) -> None:
        self.size = 0
        """How many bytes are on their way."""
        self.lost = False
        """Whether nothing arrives any more, and nobody is told."""
        self._network = network
        self._process = process
        self._arrive = arrive
        self._incoming = incoming
        self._closed = False
        self._flying: deque[tuple[float, bytes]] = deque()
        self._stalled_until = 0.0

    def send(self, data: bytes) -> None:
        """Send bytes, which arrive later; does nothing once the wire is closed."""
        if self._closed:
            return
        for piece in self._network.pieces(data):
            due = trio.current_time() + self._network.delay(self._process, incoming=self._incoming)
            if self._flying:
                due = max(due, self._flying[-1][0])
            self._flying.append((due, piece))
            self.size += len(piece)
            self._network.schedule.at(due, self._flush)

    def close(self) -> None:
        """Drop what is on its way, and everything that is sent from now on."""
        self._closed = True
        self._flying.clear()
        self.size = 0

    def resume(self) -> None:
        """Let arrive what a fault has held up: soon, or after TCP's next attempt."""
        now = trio.current_time()
        if now < self._stalled_until:
            return  # The end of another fault does not put off TCP's next attempt.
        if self._flying and self._flying[0][0] <= now:
            self._stalled_until = now + self._network.rng.choice((0.0, 0.0, 0.3, 2.0, 5.0))
            self._network.schedule.at(self._stalled_until, self._flush)

    def _flush(self) -> None:
        """Let everything arrive that is due."""
        while self._flying and self._flying[0][0] <= trio.current_time() and not self._held:
            _, data = self._flying.popleft()
            self.size -= len(data)
            self._arrive(data)

    @property
    def _held(self) -> bool:
        cut = self._network.cut(self._process, incoming=self._incoming)
        return self.lost or cut or trio.current_time() < self._stalled_until


class SimStream(trio.abc.Stream):
    """The process's end of a connection. `arrive` and `break_off` are the network's."""

    def __init__(self, network: Network, process: ProcessState, outgoing: Wire) -> None:
        self.process = process
        self.closed = False
        """Whether the process has closed it."""
        self._world = network.world
        self._rng = network.rng
        self._outgoing = outgoing
        self._buffer = network.conditions.kernel
        self._received = bytearray()
        self._ended = False
        self._broken = False
        self._sending = False
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def unread(self) -> int:
        """Bytes that have arrived and that the process has not read."""
        return len(self._received)

    def arrive(self, data: bytes) -> None:
        """Take bytes that arrived, or learn from empty bytes that Redis closed the connection."""
        if not self.closed:
            self._received += data
            self._ended = self._ended or not data
        self._changed.unpark_all()

    def break_off(self) -> None:
        """Learn that the connection was reset; what has arrived before can still be read."""
        self._broken = True
        self._changed.unpark_all()

    def note_progress(self) -> None:
        """Learn that there may be space for more bytes to be sent."""
        self._changed.unpark_all()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        await self._check_usable()
        while not (self._received or self._ended or self._broken):
            await self._changed.park()
            await self._check_usable()
        if self._received:
            size = len(self._received)
            if self._rng.random() < 0.1:
                size = self._rng.randint(1, size)
            data = bytes(self._received[:size])
            del self._received[:size]
            return data
        if self._broken:
            raise trio.BrokenResourceError("Connection reset by the simulated Redis.")
        return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._sending:
            self._world.report_violation(f"process {self.process.number}: two sends at once")
        self._sending = True
        try:
            rest = bytes(data)
            await trio.lowlevel.checkpoint()
            await self._check_usable()
            while rest:
                if self._broken:
                    raise trio.BrokenResourceError("Connection reset by the simulated Redis.")
                space = self._buffer - self._outgoing.size
                if space > 0:
                    self._outgoing.send(rest[:space])
                    rest = rest[space:]
                else:
                    await self._changed.park()
                    await self._check_usable()
        finally:
            self._sending = False

    async def wait_send_all_might_not_block(self) -> None:
        while self._outgoing.size >= self._buffer and not self._broken:
            await self._changed.park()

    async def aclose(self) -> None:
        """Close; what was sent still arrives at Redis, unless the network prevents it."""
        if not self.closed:
            self.closed = True
            self._received.clear()
            self._outgoing.send(b"")
            self._changed.unpark_all()
        await trio.lowlevel.checkpoint()

    async def _check_usable(self) -> None:
        await self.process.halt_if_dead()
        if self.closed:
            raise trio.ClosedResourceError
