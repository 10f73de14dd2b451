"""Plays a history: turns each op into what it does to the world, then lets all come to rest."""

import trio

from sharechat.domain.ids import RoomId
from sharechat.domain.messages import RoomInfo
from tests.simulation.client import Reading, SimConnection
from tests.simulation.faults import Fault
from tests.simulation.history import DURATIONS, Do, History, Op
from tests.simulation.process import SimProcess
from tests.simulation.queue import Bus
from tests.simulation.truth import Truth
from tests.simulation.unrest import unrest
from tests.simulation.world import World

_KEY = b"the hash of a key"
_ROOMS = 2
_MOST_PROCESSES = 4
_REST_WITHIN = 45
"""Seconds until all is quiet after the last fault: a lease, a reconciliation and some more."""
_STOP_WITHIN = 30


class Director:
    def __init__(self, world: World, history: History) -> None:
        self._world = world
        self._history = history
        self._made = 0

    async def play(self) -> None:
        world, history = self._world, self._history
        world.truth = Truth(world)
        world.bus = Bus(world)
        async with trio.open_nursery() as bus_nursery:
            bus_nursery.start_soon(world.bus.run)
            await self._open()
            for op in history.ops:
                await trio.sleep(op.after)
                world.note(op.do, op.whom, op.how)
                await self._do(op)
            await self._rest()
            await self._stop()
            bus_nursery.cancel_scope.cancel()
        # What is left are the clients' timers.
        world.nursery.cancel_scope.cancel()

    async def _open(self) -> None:
        for _ in range(_ROOMS):
            await self._make_room()
        for _ in range(self._history.processes):
            await self._start()
        await trio.sleep(0.01)
        for number in range(self._history.crowd):
            self._join(self._world.processes[number % self._history.processes], number // 2)

    async def _make_room(self) -> None:
        room_id = RoomId(f"room-{self._made}")
        self._made += 1
        await self._world.truth.create_room(RoomInfo(room_id, "Imperfect Seat"), _KEY)
        self._world.rooms.append(room_id)

    async def _start(self) -> None:
        await self._world.nursery.start(SimProcess(self._world, self._history.policy).run)

    def _join(self, process: SimProcess, how: int) -> None:
        room_id = self._world.rooms[how % _ROOMS]
        always_waits = how % 8 == 7
        process.visit(SimConnection(self._world, process, room_id, always_waits=always_waits))

    async def _do(self, op: Op) -> None:
        world, faults, how = self._world, self._world.faults, op.how
        lasts = DURATIONS[how % len(DURATIONS)]
        strength = how // len(DURATIONS)
        alive = [process for process in world.processes if not process.over.is_set()]
        match op.do:
            case Do.START:
                if len(alive) < _MOST_PROCESSES:
                    await self._start()
            case Do.OUTAGE:
                faults.begin(Fault.OUTAGE, None, lasts, strength % 2)
            case Do.CHAOS:
                faults.begin(Fault.CHAOS, None, lasts, strength % 3)
            case Do.SLOW:
                faults.begin(Fault.SLOW, None, lasts, strength % 3)
            case Do.NOISE:
                faults.begin(Fault.NOISE, None, lasts, strength % 3)
                if how % 2:
                    world.nursery.start_soon(self._drizzle, lasts)
            case Do.CUT if op.whom >= 4:
                self._cut(None, lasts, strength % 2)
            case _ if alive:
                await self._do_to(op, alive[op.whom % len(alive)], lasts, strength)

    async def _do_to(self, op: Op, process: SimProcess, lasts: float, strength: int) -> None:
        world = self._world
        match op.do:
            case Do.JOIN:
                self._join(process, op.how)
            case Do.RETURN:
                self._return(process, op.how)
            case Do.DELETE:
                room_id = world.rooms.pop(op.how % _ROOMS)
                process.ask_to_delete(room_id, _KEY)
                await self._make_room()
            case Do.KILL:
                process.kill()
            case Do.STOP:
                process.stop()
            case Do.FREEZE:
                process.freeze(lasts)
            case Do.SEVER:
                world.faults.begin(Fault.SEVERED, process.number, lasts, strength % 2)
            case Do.CUT:
                self._cut(process.number, lasts, strength % 2)
            case _:
                here = [c for c in world.connections if c.here]
                if here:
                    self._do_as(op, here[op.whom % len(here)], lasts)

    def _do_as(self, op: Op, client: SimConnection, lasts: float) -> None:
        match op.do:
            case Do.TALK:
                client.says(op.how % 5 + 1)
            case Do.CLOSE:
                client.closes()
            case Do.VANISH:
                client.vanishes(lasts)
            case Do.STALL:
                client.reads_as(Reading.STALLED)
            case Do.DAWDLE:
                client.reads_as(Reading.SLOW)
                self._world.nursery.start_soon(self._dawdle, client, max(0.05, lasts / 20))
            case Do.READ_ON:
                client.reads_as(Reading.EAGER)

    async def _dawdle(self, client: SimConnection, pause: float) -> None:
        while client.here:
            await trio.sleep(pause)
            client.reads_one()

    async def _drizzle(self, lasts: float) -> None:
        """Have rooms elsewhere come and go, which is all that a busy follower ever hears of."""
        with trio.move_on_after(lasts):
            while True:
                await trio.sleep(2)
                for queue in self._world.bus.queues:
                    queue.misses(RoomId("room-elsewhere"))

    def _return(self, process: SimProcess, how: int) -> None:
        """Somebody loses the connection, if it is not gone, and comes back to hear the rest."""
        those = [
            c for c in self._world.connections if c.last_heard and c.room_id in self._world.rooms
        ]
        if not those:
            return
        old = those[how % len(those)]
        old.vanishes(DURATIONS[how % len(DURATIONS)])
        process.visit(SimConnection(self._world, process, old.room_id, after=old.last_heard))

    def _cut(self, whom: int | None, lasts: float, strength: int) -> None:
        self._world.faults.begin(Fault.CUT, whom, lasts, strength)
        self._world.later(lasts, self._restore)

    def _restore(self) -> None:
        for queue in self._world.bus.queues:
            queue.restore()

    async def _rest(self) -> None:
        """End all faults and wait until nothing is left to happen."""
        world = self._world
        world.note("all faults end")
        world.faults.clear()
        for process in world.processes:
            process.thaw()
        self._restore()
        if not any(process.up for process in world.processes):
            await self._start()
        await trio.sleep(1)
        deadline = trio.current_time() + _REST_WITHIN
        while why := unrest(world):
            if trio.current_time() > deadline + 15 * bool(world.late):
                world.accuse(f"no rest: {why}")
                break
            await trio.sleep(1)
        world.note("rest")
        await trio.sleep(self._history.patience)
        if not why and (why := unrest(world)):
            world.accuse(f"unrest again: {why}")

    async def _stop(self) -> None:
        for process in self._world.processes:
            process.stop()
        with trio.move_on_after(_STOP_WITHIN):
            for process in self._world.processes:
                await process.over.wait()
            return
        self._world.accuse("a process has not come to its end, something in it still runs")
