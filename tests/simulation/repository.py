"""Each process's bad line to the one Repository."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import trio

from sharechat.domain.errors import SharechatError, UnavailableError
from sharechat.domain.ids import MessageId, ProcessId, RoomId
from sharechat.domain.messages import Draft, Entry, Identity, RoomInfo
from sharechat.domain.ports import Present, Refusal
from tests.simulation.faults import Fault
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.process import SimProcess

T = TypeVar("T")

_CALL_SECONDS = 4.0
"""After which the real adapter gives up on any call."""


class _Fate(NamedTuple):
    before: float
    after: float
    lands: bool = True
    answers: bool = True
    late: float | None = None


_REFUSED = _Fate(0, 0, lands=False, answers=False)
_HANGS = _Fate(_CALL_SECONDS, 0, lands=False, answers=False)


class SimRepository:
    """One process's line to the Truth: slow, cut, or worse, as the faults have it."""

    def __init__(self, world: World, process: "SimProcess") -> None:
        self._world = world
        self._process = process
        self._dice = world.dice(f"repository {process.number}")

    async def _call(self, name: str, effect: Callable[[], Awaitable[T]]) -> T:
        self._world.count_call()
        await self._process.passes()
        fate = self._fate()
        if fate is None:
            result = await effect()
            await self._process.passes()
            return result
        self._world.note(name, self._process.number, fate)
        self._world.late += 1
        try:
            return await self._suffer(fate, effect)
        finally:
            self._world.late -= 1

    async def _suffer(self, fate: _Fate, effect: Callable[[], Awaitable[T]]) -> T:
        await self._wait(fate.before, effect)
        if fate.late is not None:
            self._leave_behind(effect, fate.late)
        elif fate.lands:
            result = await effect()
            await trio.sleep(fate.after)
            if fate.answers:
                await self._process.passes()
                return result
        await self._process.passes()
        raise UnavailableError("The simulated Repository is away.")

    async def _wait(self, seconds: float, effect: Callable[[], Awaitable[object]]) -> None:
        """Wait for the request to get there, which it may also if the caller gives up."""
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            if self._dice.random() < 0.5:
                self._leave_behind(effect, 0)
            raise

    def _leave_behind(self, effect: Callable[[], Awaitable[object]], seconds: float) -> None:
        self._world.faults.begin(Fault.LATE, None, seconds)
        self._world.late += 1
        self._world.nursery.start_soon(self._land_late, effect, seconds)

    async def _land_late(self, effect: Callable[[], Awaitable[object]], seconds: float) -> None:
        await trio.sleep(seconds)
        # Nobody is there to be told.
        with suppress(SharechatError):
            await effect()
        self._world.late -= 1

    def _fate(self) -> _Fate | None:
        faults, number, dice = self._world.faults, self._process.number, self._dice
        if away := faults.now(Fault.OUTAGE, number) or faults.now(Fault.SEVERED, number):
            return self._hang(away.end) if away.strength else _REFUSED
        if slow := faults.now(Fault.SLOW, number):
            share = (0.1, 0.4, 1.0)[slow.strength] * _CALL_SECONDS / 2
            return _Fate(dice.uniform(0, share), dice.uniform(0, share))
        chaos = faults.now(Fault.CHAOS, number)
        if chaos is None or dice.random() > (0.1, 0.3, 0.6)[chaos.strength]:
            return None
        before, after = dice.choice((0.0, 0.004, 0.1, 1.0)), dice.choice((0.0, 0.004, 0.1, 1.0))
        match dice.randrange(4):
            case 0:
                return _Fate(before, after)
            case 1:
                return _Fate(before, after, lands=False, answers=False)
            case 2:
                return _Fate(before, after, answers=False)
            case _:
                late = dice.choice((0.0, 0.01, 0.25, 2.0, 6.0, 15.0))
                return _Fate(before, after, lands=False, answers=False, late=late)

    def _hang(self, until: float) -> _Fate:
        """Time out; what is under way may get there when the line is back."""
        if self._dice.random() < 0.7:
            return _HANGS
        late = max(0.0, until - trio.current_time() - _CALL_SECONDS)
        return _HANGS._replace(late=late + self._dice.choice((0.0, 0.01, 1.0)))

    async def create_room(self, room: RoomInfo, key_hash: bytes) -> None:
        truth = self._world.truth
        await self._call("create_room", partial(truth.create_room, room, key_hash))

    async def get_room(self, room_id: RoomId) -> RoomInfo:
        return await self._call("get_room", partial(self._world.truth.get_room, room_id))

    async def delete_room(self, room_id: RoomId, key_hash: bytes) -> None:
        truth = self._world.truth
        await self._call("delete_room", partial(truth.delete_room, room_id, key_hash))

    async def get_members(self, room_id: RoomId) -> list[Identity]:
        return await self._call("get_members", partial(self._world.truth.get_members, room_id))

    async def append(self, drafts: Sequence[Draft], process_id: ProcessId) -> list[Entry | Refusal]:
        truth = self._world.truth
        return await self._call("append", partial(truth.append, list(drafts), process_id))

    async def read(self, room_id: RoomId, *, after: int, limit: int) -> list[Entry]:
        truth = self._world.truth
        return await self._call("read", partial(truth.read, room_id, after=after, limit=limit))

    async def find(self, room_id: RoomId, message_id: MessageId) -> int:
        return await self._call("find", partial(self._world.truth.find, room_id, message_id))

    async def get_heads(self, room_ids: Collection[RoomId]) -> dict[RoomId, int]:
        truth = self._world.truth
        return await self._call("get_heads", partial(truth.get_heads, list(room_ids)))

    async def remove_stale_rooms(self, age: float) -> list[RoomId]:
        truth = self._world.truth
        return await self._call("remove_stale_rooms", partial(truth.remove_stale_rooms, age))

    async def open_lease(self, process_id: ProcessId) -> None:
        self._world.process_of[process_id] = self._process
        await self._call("open_lease", partial(self._world.truth.open_lease, process_id))

    async def renew_lease(self, process_id: ProcessId) -> Mapping[ProcessId, int]:
        return await self._call("renew_lease", partial(self._world.truth.renew_lease, process_id))

    async def end_lease(self, process_id: ProcessId, renewal: int | None = None) -> bool:
        truth = self._world.truth
        return await self._call("end_lease", partial(truth.end_lease, process_id, renewal))

    async def get_orphans(self) -> list[Present]:
        return await self._call("get_orphans", self._world.truth.get_orphans)

    async def get_members_of(self, process_id: ProcessId) -> list[Present]:
        truth = self._world.truth
        return await self._call("get_members_of", partial(truth.get_members_of, process_id))

    async def check(self) -> None:
        await self._call("check", self._world.truth.check)
