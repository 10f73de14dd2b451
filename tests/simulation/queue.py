"""The bus between the processes, which promises nothing and keeps it."""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import trio

from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry
from sharechat.domain.ports import Listener
from tests.simulation.faults import Fault
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.process import SimProcess

_LATENCY = 0.001
_NOTICED_AFTER = 6.0
"""Seconds until the real adapter's probe, which does not come back, is missed."""


class Bus:
    """Carries everything in one task, in the order in which it is due."""

    def __init__(self, world: World) -> None:
        self.queues: list[SimQueue] = []
        self.world = world
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._wake = trio.Event()
        self._dice = world.dice("bus")

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (trio.current_time() + seconds, self._count, do))
        self._wake.set()

    async def run(self) -> None:
        while True:
            self._wake = trio.Event()
            now = trio.current_time()
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()
            with trio.move_on_at(self._due[0][0] if self._due else float("inf")):
                await self._wake.wait()

    def publish(self, sender: "SimQueue", room_id: RoomId, entries: Sequence[Entry] | None) -> None:
        """Carry entries, or a look if there are none."""
        if sender.cut:
            return
        for queue in self.queues:
            if room_id in queue.heard:
                for delay in self._delays(queue):
                    self.after(delay, queue.brings(room_id, entries))

    def _delays(self, queue: "SimQueue") -> Sequence[float]:
        """Return when each copy comes."""
        if queue.cut:
            return ()
        noise = self.world.faults.now(Fault.NOISE, queue.process.number)
        if noise is None or self._dice.random() > (0.2, 0.5, 0.9)[noise.strength]:
            return (_LATENCY,)
        match self._dice.randrange(3):
            case 0:
                return ()
            case 1:
                return (_LATENCY, self._delay())
            case _:
                return (self._delay(),)

    def _delay(self) -> float:
        return self._dice.choice((_LATENCY, 0.002, 0.004, 0.006, 0.05, 0.4))


class SimQueue:
    """One process's end of the bus."""

    def __init__(self, bus: Bus, process: "SimProcess") -> None:
        self.process = process
        self.wanted: dict[RoomId, None] = {}
        self.heard: dict[RoomId, None] = {}
        """What the bus knows of what is wanted: a little later, or long after."""
        self._bus = bus
        self._listener: Listener | None = None
        self._backlog: deque[Callable[[], None]] = deque()

    @property
    def cut(self) -> bool:
        return self._bus.world.faults.now(Fault.CUT, self.process.number) is not None

    def publish(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        self._bus.publish(self, room_id, tuple(entries))

    def publish_look(self, room_id: RoomId) -> None:
        self._bus.publish(self, room_id, None)

    def subscribe(self, room_id: RoomId) -> None:
        self.wanted[room_id] = None
        self._bus.after(_LATENCY, lambda: self._confirm(room_id))

    def unsubscribe(self, room_id: RoomId) -> None:
        self.wanted.pop(room_id, None)
        self.heard.pop(room_id, None)

    def _confirm(self, room_id: RoomId) -> None:
        if room_id in self.wanted and not self.cut:
            self.heard[room_id] = None
            self.misses(room_id)

    def misses(self, room_id: RoomId) -> None:
        self._do(lambda listener: listener.missed({room_id}))

    def brings(self, room_id: RoomId, entries: Sequence[Entry] | None) -> Callable[[], None]:
        def bring() -> None:
            if room_id not in self.wanted:
                return
            seqs = [entry.seq for entry in entries or ()]
            self._bus.world.note("brings", self.process.number, room_id, *seqs)
            if entries is None:
                self.misses(room_id)
            else:
                self._do(lambda listener: listener.heard(room_id, entries))

        return bring

    def _do(self, tell: Callable[[Listener], None]) -> None:
        """Tell the listener, or have the socket keep it while the process stands still."""

        def told() -> None:
            if self._listener is not None:
                tell(self._listener)

        if self.process.frozen:
            self._backlog.append(told)
        else:
            told()

    def thaw(self) -> None:
        while self._backlog:
            self._backlog.popleft()()

    def restore(self) -> None:
        """A cut may be over, unless another goes on."""
        cuts = [
            d
            for d in self._bus.world.faults.all
            if d.fault is Fault.CUT and d.concerns(self.process.number)
        ]
        if self.cut or not cuts:
            return
        rooms = [room_id for room_id in self.wanted if room_id not in self.heard]
        self.heard = dict(self.wanted)
        # A silent cut that nobody noticed may be over without a word.
        if cuts[-1].strength or cuts[-1].end - cuts[-1].start >= _NOTICED_AFTER:
            rooms = list(self.heard)
        if rooms:
            self._do(lambda listener: listener.missed(set(rooms)))

    def check(self) -> None:
        cut = self._bus.world.faults.now(Fault.CUT, self.process.number)
        if cut and (cut.strength or trio.current_time() - cut.start >= _NOTICED_AFTER):
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
