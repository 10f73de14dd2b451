"""What is really stored, and whether it may be."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import trio

from sharechat.adapters.memory import MemoryRepository
from sharechat.domain.ids import MemberId, ProcessId, RoomId
from sharechat.domain.messages import Draft, Entry, MessageType, RoomInfo
from sharechat.domain.ports import Refusal
from tests.simulation.faults import Fault
from tests.simulation.sources import SimSources
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.process import SimProcess


class Commit(NamedTuple):
    """An entry that was stored: when, and through which process."""

    entry: Entry
    at: float
    process: int


class Truth(MemoryRepository):
    """A Repository that remembers all that was ever stored, and judges what is asked of it."""

    def __init__(self, world: World) -> None:
        super().__init__(SimSources(world))
        self._world = world
        self.log: dict[RoomId, list[Commit]] = {}
        self._renewed_at: dict[ProcessId, float] = {}
        self._joined_through: dict[MemberId, ProcessId] = {}

    async def create_room(self, room: RoomInfo, key_hash: bytes) -> None:
        await super().create_room(room, key_hash)
        self.log.setdefault(room.id, [])

    def _append(self, draft: Draft, process_id: ProcessId) -> Entry | Refusal:
        outcome = super()._append(draft, process_id)
        if isinstance(outcome, Entry) and outcome.seq > len(self.log[draft.room_id]):
            process = self._world.process_of[process_id]
            now = trio.current_time()
            self.log[draft.room_id].append(Commit(outcome, now, process.number))
            self._world.note("stored", process.number, outcome.seq, draft.text)
            if draft.type is MessageType.JOINED:
                self._joined_through[draft.member.id] = process_id
            elif draft.type is MessageType.LEFT:
                self._judge_left(draft)
        return outcome

    def _judge_left(self, draft: Draft) -> None:
        connection = self._world.member[draft.member.id]
        lives = self._joined_through[draft.member.id] in self._leases
        if lives and connection.here and connection.process.up:
            self._world.accuse(f"{connection} was made to leave for no reason")

    async def open_lease(self, process_id: ProcessId) -> None:
        await super().open_lease(process_id)
        self._renewed_at[process_id] = trio.current_time()

    async def renew_lease(self, process_id: ProcessId) -> Mapping[ProcessId, int]:
        renewals = await super().renew_lease(process_id)
        self._renewed_at[process_id] = trio.current_time()
        return renewals

    async def end_lease(self, process_id: ProcessId, renewal: int | None = None) -> bool:
        had = process_id in self._leases
        ended = await super().end_lease(process_id, renewal)
        process = self._world.process_of[process_id]
        if renewal is not None and had and ended and process.up:
            if process.lost_lease_at is None:
                process.lost_lease_at = trio.current_time()
            self._judge_lost_lease(process, self._renewed_at[process_id])
        return ended

    def _judge_lost_lease(self, process: "SimProcess", since: float) -> None:
        """Only what befell this process alone may cost it its lease."""
        blame = {Fault.FROZEN, Fault.SEVERED, Fault.CHAOS, Fault.LATE}
        now = trio.current_time()
        self._world.note("lease ended", process.number, now - since)
        if not self._world.faults.between(since, now, blame, process.number):
            self._world.accuse(f"process {process.number} lost its lease for no reason")

    def _remove(self, room_id: RoomId) -> None:
        self._world.note("removed", room_id)
        self._world.dead_rooms[room_id] = trio.current_time()
        super()._remove(room_id)

    @property
    def members(self) -> set[str]:
        return {id_ for room in self._rooms.values() for id_ in room.members}
