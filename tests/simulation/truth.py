"""What is really stored, and whether it should have been."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count

import trio

from sharechat.adapters.memory import MemoryRepository
from sharechat.domain import messages
from sharechat.domain.ids import MemberId, MessageId, ProcessId, RoomId
from sharechat.domain.messages import Draft, Entry, Identity, MessageType, RoomInfo
from sharechat.domain.ports import Refusal
from tests.simulation.faults import Fault, UnexpectedError
from tests.simulation.sources import SimSources
from tests.simulation.state import AuthorState, ClientState, ProcessState
from tests.simulation.world import Commit, World

POISON = "poison"
"""A text with this makes `append` raise, as a bug in the adapter would."""


class _StoreSources(SimSources):
    """Those of the Repository, whose clock can be set."""

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self._world.clock_offset)


class Truth(MemoryRepository):
    """A Repository that remembers everything ever stored, and checks what it is asked to do."""

    def __init__(self, world: World) -> None:
        super().__init__(_StoreSources(world))
        self._world = world
        self.log: dict[RoomId, list[Commit]] = {}
        self.seqs: dict[MessageId, int] = {}
        self.created_at: dict[RoomId, float] = {}
        self._members: defaultdict[RoomId, set[MemberId]] = defaultdict(set)
        self.left_through: dict[MemberId, int] = {}
        self._joined_through: dict[MemberId, ProcessId] = {}
        self._renewed_at: dict[ProcessId, float] = {}
        # The processes whose leases have ended; they are never opened again.
        self._ended: set[ProcessId] = set()

    @property
    def members(self) -> set[MemberId]:
        return {id_ for members in self._members.values() for id_ in members}

    async def create_room(self, room: RoomInfo, key_hash: bytes) -> None:
        await super().create_room(room, key_hash)
        self.log.setdefault(room.id, [])
        self.created_at.setdefault(room.id, trio.current_time())

    async def fill(self, room_id: RoomId, number: int) -> None:
        """Give a new room a log of `number` entries, of a member that has left again."""
        author = Identity(MemberId(f"author of {room_id}"), "Grey Owl")
        process_id = ProcessId(f"archive of {room_id}")
        client = ClientState(-1, ProcessState(-1), AuthorState(-1, room_id), None)
        client.gone_at = trio.current_time()
        self._world.process_of[process_id] = client.process
        self._world.member[author.id] = client
        client.consumed = [f"old {room_id} {n}" for n in range(number - 2)]
        ids = (MessageId(f"old {room_id} {n}") for n in count())
        drafts = [
            messages.joined(next(ids), room_id, author),
            *(messages.chat(next(ids), room_id, author, text) for text in client.consumed),
            messages.left(next(ids), room_id, author),
        ]
        await self.open_lease(process_id)
        await self.append(drafts, process_id)
        await self.end_lease(process_id)

    async def append(self, drafts: Sequence[Draft], process_id: ProcessId) -> list[Entry | Refusal]:
        if any(POISON in draft.text for draft in drafts):
            raise UnexpectedError("The text is poison.")
        outcomes = await super().append(drafts, process_id)
        for draft, outcome in zip(drafts, outcomes, strict=True):
            if isinstance(outcome, Entry) and outcome.seq > len(self.log[draft.room_id]):
                self._record(draft, outcome, process_id)
        return outcomes

    def _record(self, draft: Draft, entry: Entry, process_id: ProcessId) -> None:
        process = self._world.process_of[process_id]
        self.log[draft.room_id].append(Commit(entry, trio.current_time(), process.number))
        self.seqs.setdefault(draft.id, entry.seq)
        self._world.note("stored", process.number, entry.seq, draft.text)
        if draft.type is MessageType.JOINED:
            self._members[draft.room_id].add(draft.member.id)
            self._joined_through[draft.member.id] = process_id
        elif draft.type is MessageType.LEFT:
            self._members[draft.room_id].discard(draft.member.id)
            self.left_through[draft.member.id] = process.number
            self._check_left(draft)

    def _check_left(self, draft: Draft) -> None:
        connection = self._world.member[draft.member.id]
        leased = self._has_lease(self._joined_through[draft.member.id])
        if leased and connection.here and connection.process.up:
            self._world.report_violation(f"{connection} was made to leave for no reason")

    def _has_lease(self, process_id: ProcessId) -> bool:
        return process_id in self._renewed_at and process_id not in self._ended

    async def open_lease(self, process_id: ProcessId) -> None:
        await super().open_lease(process_id)
        self._renewed_at[process_id] = trio.current_time()

    async def renew_lease(self, process_id: ProcessId) -> Mapping[ProcessId, int]:
        renewals = await super().renew_lease(process_id)
        self._renewed_at[process_id] = trio.current_time()
        return renewals

    async def end_lease(self, process_id: ProcessId, renewal: int | None = None) -> bool:
        had_lease = self._has_lease(process_id)
        ended = await super().end_lease(process_id, renewal)
        if ended:
            self._ended.add(process_id)
        process = self._world.process_of[process_id]
        # One that is stopping may be frozen, and go on with its members afterwards.
        current = process_id == process.lease_id and not process.dead
        if renewal is not None and had_lease and ended and current:
            if process.lost_lease_at is None:
                process.lost_lease_at = trio.current_time()
            if process.up:
                self._check_lost_lease(process, self._renewed_at[process_id])
        return ended

    def _check_lost_lease(self, process: ProcessState, since: float) -> None:
        """Only a fault of this one process may make it lose its lease."""
        causes = {Fault.FROZEN, Fault.SEVERED, Fault.CHAOS, Fault.ERRORS}
        now = trio.current_time()
        self._world.note("lease ended", process.number, now - since)
        if not self._world.faults.between(since, now, causes, process.number):
            self._world.report_violation(f"process {process.number} lost its lease for no reason")

    async def delete_room(self, room_id: RoomId, key_hash: bytes) -> None:
        await super().delete_room(room_id, key_hash)
        self._removed(room_id)

    async def remove_stale_rooms(
        self, age: float, unjoined_age: float | None = None
    ) -> list[RoomId]:
        removed = await super().remove_stale_rooms(age, unjoined_age)
        for room_id in removed:
            self._removed(room_id)
        return removed

    def _removed(self, room_id: RoomId) -> None:
        self._world.note("removed", room_id)
        self._world.dead_rooms[room_id] = trio.current_time()
        self._members.pop(room_id, None)
