"""The bus between the processes: it may lose, repeat, delay and reorder anything."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import trio

from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry
from sharechat.domain.ports import Listener
from tests.simulation.faults import Disturbance, Fault
from tests.simulation.schedule import Schedule
from tests.simulation.state import ProcessState
from tests.simulation.world import World

_LATENCY = 0.001
"""Seconds that anything takes on a working bus."""

_NOTICED_AFTER = 6.0
"""Seconds until the real adapter misses the answer to its probe."""


def noticed_at(cut: Disturbance) -> float:
    """Return when the real adapter would notice a cut, if that lasts so long."""
    return cut.start + (0 if cut.strength else _NOTICED_AFTER)


class Bus:
    """Carries what the processes publish to each other."""

    def __init__(self, world: World) -> None:
        self.queues: list[SimQueue] = []
        """The queues that run now."""
        self.world = world
        self.schedule = Schedule()
        self._rng = world.rng("bus")

    def connect(self, process: ProcessState) -> "SimQueue":
        return SimQueue(self, process)

    async def run(self) -> None:
        await self.schedule.run()

    def cut(self, cut: Disturbance) -> None:
        """Let a cut begin, which each queue asks for itself."""

    def restore(self) -> None:
        """Go on after a fault has ended."""
        for queue in self.queues:
            queue.thaw()
            queue.restore()

    def disturb(self, process: ProcessState, kind: int, seconds: float) -> None:
        """Do nothing: this bus has no server that could fail."""

    def publish(self, sender: "SimQueue", room_id: RoomId, entries: Sequence[Entry] | None) -> None:
        """Carry entries, or a look if `entries` is None."""
        if any(cut.outgoing for cut in sender.cuts()):
            return
        for queue in self.queues:
            if room_id in queue.heard:
                for delay in self._delays(queue):
                    self.schedule.after(delay, queue.delivery(room_id, entries))

    def _delays(self, queue: "SimQueue") -> Sequence[float]:
        """Return after how many seconds each copy arrives."""
        if queue.deaf:
            return ()
        noise = self.world.faults.now(Fault.NOISE, queue.process.number)
        if noise is None or self._rng.random() > (0.2, 0.5, 0.9)[noise.strength]:
            return (_LATENCY,)
        match self._rng.randrange(3):
            case 0:
                return ()
            case 1:
                return (_LATENCY, self._delay())
            case _:
                return (self._delay(),)

    def _delay(self) -> float:
        return self._rng.choice((_LATENCY, 0.002, 0.004, 0.006, 0.05, 0.4))


class SimQueue:
    """One process's connection to the bus: the port `Queue`."""

    def __init__(self, bus: Bus, process: ProcessState) -> None:
        self.process = process
        self.wanted: dict[RoomId, None] = {}
        """The rooms that the process is subscribed to."""
        self.heard: dict[RoomId, None] = {}
        """Those of them that the bus has confirmed, as it does unless it is cut."""
        self._bus = bus
        self._listener: Listener | None = None
        self._backlog: deque[Callable[[], None]] = deque()
        self._restored_at = 0.0

    def cuts(self) -> Iterator[Disturbance]:
        """Yield what separates this process from the bus now, in one direction or both."""
        return self._bus.world.faults.active(Fault.CUT, self.process.number)

    @property
    def deaf(self) -> bool:
        """Whether nothing that the bus carries reaches this process."""
        return any(cut.incoming for cut in self.cuts())

    def publish(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        self._bus.publish(self, room_id, tuple(entries))

    def publish_look(self, room_id: RoomId) -> None:
        self._bus.publish(self, room_id, None)

    def subscribe(self, room_id: RoomId) -> None:
        self.wanted[room_id] = None
        self._bus.schedule.after(_LATENCY, lambda: self._confirm(room_id))

    def unsubscribe(self, room_id: RoomId) -> None:
        self.wanted.pop(room_id, None)
        self.heard.pop(room_id, None)

    def _confirm(self, room_id: RoomId) -> None:
        if room_id in self.wanted and not self.deaf:
            self.heard[room_id] = None
            self.misses(room_id)

    def misses(self, room_id: RoomId) -> None:
        """Tell the listener that it may have missed something."""
        self._tell(lambda listener: listener.missed({room_id}))

    def delivery(self, room_id: RoomId, entries: Sequence[Entry] | None) -> Callable[[], None]:
        """Return what delivers entries to the listener, or a look if `entries` is None."""

        def deliver() -> None:
            if room_id not in self.wanted:
                return
            if entries is None:
                self.misses(room_id)
            else:
                self._tell(lambda listener: listener.heard(room_id, entries))

        return deliver

    def _tell(self, call: Callable[[Listener], None]) -> None:
        """Call the listener; while the process is frozen, its socket keeps this for later."""

        def call_if_running() -> None:
            if self._listener is not None:
                call(self._listener)

        if self.process.frozen:
            self._backlog.append(call_if_running)
        else:
            call_if_running()

    def thaw(self) -> None:
        """Deliver what the socket received while the process was frozen."""
        while self._backlog and not self.process.frozen:
            self._backlog.popleft()()

    def restore(self) -> None:
        """Reconnect after a cut, unless another cut goes on."""
        cuts = [
            d
            for d in self._bus.world.faults.all
            if d.fault is Fault.CUT and d.affects(self.process.number) and d.end > self._restored_at
        ]
        if any(self.cuts()) or not cuts:
            return
        self._restored_at = trio.current_time()
        rooms = [room_id for room_id in self.wanted if room_id not in self.heard]
        self.heard = dict(self.wanted)
        # After a short silent cut, only subscriptions that were not confirmed are told.
        if any(cut.end >= noticed_at(cut) for cut in cuts):
            rooms = list(self.heard)
        for room_id in rooms:
            self.misses(room_id)

    def check(self) -> None:
        now = trio.current_time()
        if any(now >= noticed_at(cut) for cut in self.cuts()):
            raise UnavailableError("The simulated Queue is away.")

    async def run(
        self,
        listener: Listener,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        self._listener = listener
        self._bus.queues.append(self)
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self._bus.queues.remove(self)
            self._listener = None
