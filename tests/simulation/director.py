"""Plays a history: carries out each op, then waits until the world is quiescent."""

import trio

from sharechat.domain.ids import RoomId
from sharechat.domain.messages import RoomInfo
from tests.simulation.conditions import CONDITIONS
from tests.simulation.crowd import Crowd
from tests.simulation.faults import Fault
from tests.simulation.history import DURATIONS, Action, BusKind, History, Op
from tests.simulation.process import SimProcess
from tests.simulation.queue import Bus
from tests.simulation.quiescence import why_not_quiescent
from tests.simulation.redis_server import SimRedis
from tests.simulation.truth import Truth
from tests.simulation.world import ProcessBus, World

_KEY = b"the hash of a key"
_ROOMS = 2
_MAX_PROCESSES = 4
_QUIESCENT_WITHIN = 45
"""Seconds after the last fault: a lease runs out, members are reconciled, and a margin."""
_GIVING_UP = 12
"""Seconds that closing a connection takes whose client does not read."""

_DEAD_WITHIN = 65
"""More seconds that it takes to take a silent client for dead."""

_AFTERWARDS = 5
"""Seconds that it takes from then on."""

_LATENCY = 0.1
"""Seconds after which everything on its way has arrived."""

_STOP_WITHIN = 30
"""Seconds that all processes together may take to stop."""


def _make_bus(world: World, kind: BusKind) -> ProcessBus:
    return Bus(world) if kind is BusKind.FAKE else SimRedis(world, CONDITIONS[kind])


class Director:
    """Plays one history in one world, with the processes that it creates and the Crowd."""

    def __init__(self, world: World, history: History) -> None:
        self._world = world
        self._history = history
        self._bus = _make_bus(world, history.bus)
        self._truth = Truth(world)
        self._processes: list[SimProcess] = []
        self._crowd = Crowd(world)
        self._rooms_made = 0

    async def play(self) -> None:
        """Play the history to its end, and then cancel the nursery of the world."""
        world, history = self._world, self._history
        world.truth = self._truth
        world.bus = self._bus
        async with trio.open_nursery() as bus_nursery:
            bus_nursery.start_soon(self._bus.run)
            await self._set_up()
            for op in history.ops:
                await trio.sleep(op.delay)
                world.note(op.action, op.target, op.variant)
                await self._do(op)
            async with trio.open_nursery() as nursery:
                await self._become_quiescent(nursery)
                nursery.cancel_scope.cancel()
            await self._stop()
            await trio.sleep(_LATENCY)
            bus_nursery.cancel_scope.cancel()
        # Only the clients' timers are left.
        world.nursery.cancel_scope.cancel()

    async def _set_up(self) -> None:
        for _ in range(_ROOMS):
            await self._make_room()
        for _ in range(self._history.processes):
            await self._start()
        await trio.sleep(0.01)
        for number in range(self._history.initial_members):
            # Two processes have members in each room.
            process = self._processes[number % self._history.processes]
            self._crowd.join(process, number // 2, number)

    async def _make_room(self) -> None:
        room_id = RoomId(f"room-{self._rooms_made}")
        self._rooms_made += 1
        await self._truth.create_room(RoomInfo(room_id, "Imperfect Seat"), _KEY)
        if self._history.old_entries:
            await self._truth.fill(room_id, self._history.old_entries)
        self._world.rooms.append(room_id)

    async def _start(self) -> None:
        process = SimProcess(self._world, self._history.policy)
        self._processes.append(process)
        await self._world.nursery.start(process.run)

    async def _do(self, op: Op) -> None:
        faults = self._world.faults
        duration = DURATIONS[op.variant % len(DURATIONS)]
        strength = op.variant // len(DURATIONS)
        alive = [process for process in self._processes if not process.over.is_set()]
        match op.action:
            case Action.START:
                if len(alive) < _MAX_PROCESSES:
                    await self._start()
            case Action.OUTAGE:
                faults.begin(Fault.OUTAGE, None, duration, strength % 2)
            case Action.CHAOS:
                faults.begin(Fault.CHAOS, None, duration, strength % 3)
            case Action.ERRORS:
                faults.begin(Fault.ERRORS, None, duration)
            case Action.SLOW:
                faults.begin(Fault.SLOW, None, duration, strength % 6)
            case Action.CLOCK:
                faults.begin(Fault.CLOCK, None, 0)
                self._world.clock_offset = (-3600.0, -5.0, 0.0, 5.0)[op.variant % 4]
            case Action.NOISE:
                faults.begin(Fault.NOISE, None, duration, strength % 3)
                if op.variant % 2:
                    self._world.nursery.start_soon(self._distract, duration)
            case Action.CUT if op.target >= 4:
                self._cut(None, duration, strength)
            case _ if alive:
                await self._do_to_process(op, alive[op.target % len(alive)], duration, strength)

    async def _do_to_process(
        self, op: Op, process: SimProcess, duration: float, strength: int
    ) -> None:
        match op.action:
            case Action.JOIN:
                self._crowd.join(process, op.variant, op.variant)
            case Action.RETURN:
                self._crowd.come_back(process, op.variant)
            case Action.CATCH_UP:
                self._crowd.catch_up(process, op.variant)
            case Action.DELETE:
                room_id = self._world.rooms.pop(op.variant % _ROOMS)
                process.ask_to_delete(room_id, _KEY)
                await self._make_room()
            case Action.KILL:
                process.kill()
            case Action.STOP:
                process.stop()
            case Action.FREEZE:
                process.freeze(duration)
            case Action.SEVER:
                self._world.faults.begin(Fault.SEVERED, process.number, duration, strength % 2)
            case Action.CUT:
                self._cut(process.number, duration, strength)
            case Action.REDIS:
                self._bus.disturb(process, strength, duration)
            case _:
                self._crowd.act(op, duration)

    async def _distract(self, duration: float) -> None:
        """Keep telling each follower that it may have missed something about an unknown room."""
        with trio.move_on_after(duration):
            while True:
                await trio.sleep(2)
                for process in self._processes:
                    process.queue.missed({RoomId("room-elsewhere")})

    def _cut(self, process: int | None, duration: float, strength: int) -> None:
        cut = self._world.faults.begin(Fault.CUT, process, duration, strength % 2)
        cut.incoming, cut.outgoing = strength // 2 != 1, strength // 2 != 2
        self._bus.cut(cut)
        self._world.later(duration, self._bus.restore)

    async def _become_quiescent(self, nursery: trio.Nursery) -> None:
        """End all faults and wait until nothing more has to happen."""
        world = self._world
        await trio.sleep(self._history.patience)
        world.note("all faults end")
        world.faults.clear()
        for process in self._processes:
            process.thaw()
        self._bus.restore()
        if not any(process.up for process in world.processes):
            await self._start()
        nursery.start_soon(self._crowd.insist, self._processes)
        await trio.sleep(1)
        await self._wait_until_quiescent("not quiescent", _QUIESCENT_WITHIN)
        world.note("quiescent")
        await trio.sleep(self._history.quiet_time)
        # The server may just be giving up on a client that does not read.
        await self._wait_until_quiescent("no longer quiescent", _GIVING_UP)

    async def _wait_until_quiescent(self, otherwise: str, seconds: float) -> None:
        world = self._world
        deadline = trio.current_time() + seconds
        latest = deadline + _DEAD_WITHIN
        while why := why_not_quiescent(world):
            now = trio.current_time()
            if any(c.gone_at is not None and c.closed_at is None for c in world.connections):
                deadline = max(deadline, min(now + _AFTERWARDS, latest))
            if now > deadline + 15 * bool(world.unfinished):
                world.report_violation(f"{otherwise}: {why}")
                return
            await trio.sleep(1)

    async def _stop(self) -> None:
        for process in self._processes:
            process.stop()
        with trio.move_on_after(_STOP_WITHIN):
            for process in self._processes:
                await process.over.wait()
            return
        self._world.report_violation("a process has not ended: some of its tasks still run")
