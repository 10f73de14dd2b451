"""The Repository in the process's own memory."""

import hmac
import sys
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, islice
from math import inf

import trio

from sharechat.domain.errors import (
    FullError,
    LeaseLostError,
    MessageNotFoundError,
    NoSpaceError,
    NotAMemberError,
    RejectedError,
    RoomNotFoundError,
    WrongKeyError,
)
from sharechat.domain.ids import MemberId, MessageId, ProcessId, RoomId
from sharechat.domain.messages import (
    Draft,
    Entry,
    Identity,
    MessageType,
    RoomInfo,
    stamp,
    to_json,
)
from sharechat.domain.ports import Present, Refusal
from sharechat.domain.sources import Sources

_MAX_ORPHANS = 1000
"""How many orphans `get_orphans` returns at most, as the port says."""

# What they cost in bytes, measured and rounded up: the objects, and their share of the
# dictionaries and lists that hold them.
_ROOM_COST = 1100
_MEMBER_COST = 500
_ENTRY_COST = 450
"""Without its text."""

_RESERVED = 1 / 16
"""The part of the memory that only those who join and leave may use.

So a room that can take no more messages can still be joined and read.
"""

_Membership = tuple[RoomId, MemberId]


@dataclass
class _Room:
    name: str
    key_hash: bytes
    last_sent: datetime
    size: int = _ROOM_COST
    log: list[Entry] = field(default_factory=list)
    seqs: dict[MessageId, int] = field(default_factory=dict)
    members: dict[MemberId, tuple[Identity, ProcessId]] = field(default_factory=dict)
    """In order of joining; each with the process that it joined through."""


class MemoryRepository:
    """A Repository that lasts as long as the process. It is never unavailable.

    It holds about `max_bytes` of rooms, members and messages. Past that it takes no more rooms
    or messages until some have been removed. A `left` is always stored, since its place is
    reserved with the `joined`.
    """

    def __init__(self, sources: Sources | None = None, *, max_bytes: float = inf) -> None:
        self._now = (sources or Sources()).now
        self._max_bytes = max_bytes
        self._max_bytes_of_talk = max_bytes * (1 - _RESERVED)
        self.used_bytes = 0
        """About how many bytes rooms, messages and members take."""
        self._rooms: dict[RoomId, _Room] = {}
        self._leases: dict[ProcessId, int] = {}
        self._dead: set[ProcessId] = set()
        self._members_of: defaultdict[ProcessId, dict[_Membership, Present]] = defaultdict(dict)

    async def create_room(self, room: RoomInfo, key_hash: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if room.id in self._rooms:
            return
        if self.used_bytes + _ROOM_COST > self._max_bytes_of_talk:
            raise FullError
        self._rooms[room.id] = _Room(room.name, key_hash, self._now())
        self.used_bytes += _ROOM_COST

    async def get_rooms(self, room_ids: Collection[RoomId]) -> dict[RoomId, RoomInfo]:
        await trio.lowlevel.checkpoint()
        return {
            id_: RoomInfo(id_, room.name, len(room.log))
            for id_ in room_ids
            if (room := self._rooms.get(id_))
        }

    async def delete_room(self, room_id: RoomId, key_hash: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if not hmac.compare_digest(self._get_room(room_id).key_hash, key_hash):
            raise WrongKeyError
        self._remove(room_id)

    async def get_members(self, room_id: RoomId) -> list[Identity]:
        await trio.lowlevel.checkpoint()
        return [identity for identity, _ in self._get_room(room_id).members.values()]

    async def append(self, drafts: Sequence[Draft], process_id: ProcessId) -> list[Entry | Refusal]:
        # No turn of the scheduler, since nothing here waits.
        await trio.lowlevel.checkpoint_if_cancelled()
        return [self._append(draft, process_id) for draft in drafts]

    def _append(self, draft: Draft, process_id: ProcessId) -> Entry | Refusal:
        room = self._rooms.get(draft.room_id)
        if room is None:
            return RoomNotFoundError()
        if draft.id in room.seqs:
            return room.log[room.seqs[draft.id] - 1]
        if "\0" in draft.text:
            return RejectedError("A message cannot contain a NUL character.")
        try:
            cost = _entry_cost(draft.text)
        except UnicodeEncodeError:
            return RejectedError("A message cannot contain an unpaired surrogate.")
        joins = draft.type is MessageType.JOINED
        if joins and process_id not in self._leases:
            return LeaseLostError()
        if not joins and draft.member.id not in room.members:
            return NotAMemberError()
        limit = self._max_bytes_of_talk
        if joins:
            limit = self._max_bytes
            cost += _membership_cost(draft.member)
        if self.used_bytes + cost > limit and draft.type is not MessageType.LEFT:
            return NoSpaceError()
        if joins:
            self._end_membership(room, draft)
            room.members[draft.member.id] = (draft.member, process_id)
            membership = (draft.room_id, draft.member.id)
            self._members_of[process_id][membership] = Present(draft.room_id, draft.member)
        if draft.type is MessageType.LEFT:
            self._end_membership(room, draft)
        room.last_sent = max(room.last_sent, self._now())
        entry = Entry(len(room.log) + 1, stamp(draft, room.last_sent))
        room.log.append(entry)
        room.seqs[draft.id] = entry.seq
        self._grow(room, cost)
        return entry

    async def read(self, room_id: RoomId, *, after: int, limit: int, max_bytes: int) -> list[Entry]:
        await trio.lowlevel.checkpoint()
        page: list[Entry] = []
        size = 0
        for entry in self._get_room(room_id).log[after : after + limit]:
            size += len(to_json(entry.message))
            if page and size > max_bytes:
                break
            page.append(entry)
        return page

    async def find(self, room_id: RoomId, message_id: MessageId) -> int:
        await trio.lowlevel.checkpoint()
        try:
            return self._get_room(room_id).seqs[message_id]
        except KeyError:
            raise MessageNotFoundError from None

    async def remove_stale_rooms(
        self, age: float, unjoined_age: float | None = None
    ) -> list[RoomId]:
        await trio.lowlevel.checkpoint()
        now = self._now()
        of_unjoined = age if unjoined_age is None else min(age, unjoined_age)
        stale = [
            room_id
            for room_id, room in self._rooms.items()
            if not room.members
            and (now - room.last_sent).total_seconds() >= (age if room.log else of_unjoined)
        ]
        for room_id in stale:
            self._remove(room_id)
        return stale

    async def open_lease(self, process_id: ProcessId) -> None:
        await trio.lowlevel.checkpoint()
        if process_id not in self._dead:
            self._leases.setdefault(process_id, 0)

    async def renew_lease(self, process_id: ProcessId) -> Mapping[ProcessId, int]:
        await trio.lowlevel.checkpoint()
        if process_id not in self._leases:
            raise LeaseLostError
        self._leases[process_id] += 1
        return dict(self._leases)

    async def end_lease(self, process_id: ProcessId, renewal: int | None = None) -> bool:
        await trio.lowlevel.checkpoint()
        if renewal is None or self._leases.get(process_id, renewal) == renewal:
            self._leases.pop(process_id, None)
            self._dead.add(process_id)
        return process_id not in self._leases

    async def get_orphans(self) -> list[Present]:
        await trio.lowlevel.checkpoint()
        dead = [id_ for id_ in self._members_of if id_ not in self._leases]
        orphans = chain.from_iterable(self._members_of[id_].values() for id_ in dead)
        return list(islice(orphans, _MAX_ORPHANS))

    async def get_members_of(self, process_id: ProcessId) -> list[Present]:
        await trio.lowlevel.checkpoint()
        return list(self._members_of.get(process_id, {}).values())

    async def check(self) -> None:
        await trio.lowlevel.checkpoint()

    def _end_membership(self, room: _Room, draft: Draft) -> None:
        """End the author's membership; does nothing if the author is not a member."""
        if stored := room.members.pop(draft.member.id, None):
            member, process_id = stored
            self._grow(room, -_membership_cost(member))
            del self._members_of[process_id][draft.room_id, draft.member.id]

    def _remove(self, room_id: RoomId) -> None:
        room = self._rooms.pop(room_id)
        self.used_bytes -= room.size
        for member_id, (_, process_id) in room.members.items():
            del self._members_of[process_id][room_id, member_id]

    def _grow(self, room: _Room, cost: int) -> None:
        room.size += cost
        self.used_bytes += cost

    def _get_room(self, room_id: RoomId) -> _Room:
        try:
            return self._rooms[room_id]
        except KeyError:
            raise RoomNotFoundError from None


def _entry_cost(text: str) -> int:
    """Return what an entry with this text costs. Raises UnicodeEncodeError.

    A text that is not ASCII is kept twice: Python caches its UTF-8 when it is first sent.
    """
    if text.isascii():
        return _ENTRY_COST + len(text)
    return _ENTRY_COST + sys.getsizeof(text) + len(text.encode())


def _membership_cost(member: Identity) -> int:
    """Return what a member costs until it leaves: itself, and the place of its `left`."""
    return _MEMBER_COST + _entry_cost(f"{member.name} left the room.")
