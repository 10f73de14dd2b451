"""The Repository in the process's own memory."""

import hmac
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, islice

import trio

from sharechat.domain.errors import (
    LeaseLostError,
    MessageNotFoundError,
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

_Membership = tuple[RoomId, MemberId]


@dataclass
class _Room:
    name: str
    key_hash: bytes
    last_sent: datetime
    log: list[Entry] = field(default_factory=list)
    seqs: dict[MessageId, int] = field(default_factory=dict)
    members: dict[MemberId, tuple[Identity, ProcessId]] = field(default_factory=dict)
    """In order of joining; each with the process that it joined through."""


class MemoryRepository:
    """A Repository that lasts as long as the process. It is never unavailable."""

    def __init__(self, sources: Sources | None = None) -> None:
        self._now = (sources or Sources()).now
        self._rooms: dict[RoomId, _Room] = {}
        self._leases: dict[ProcessId, int] = {}
        self._dead: set[ProcessId] = set()
        self._members_of: defaultdict[ProcessId, dict[_Membership, Present]] = defaultdict(dict)

    async def create_room(self, room: RoomInfo, key_hash: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self._rooms.setdefault(room.id, _Room(room.name, key_hash, self._now()))

    async def get_room(self, room_id: RoomId) -> RoomInfo:
        await trio.lowlevel.checkpoint()
        room = self._get_room(room_id)
        return RoomInfo(room_id, room.name, len(room.log))

    async def delete_room(self, room_id: RoomId, key_hash: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if not hmac.compare_digest(self._get_room(room_id).key_hash, key_hash):
            raise WrongKeyError
        self._remove(room_id)

    async def get_members(self, room_id: RoomId) -> list[Identity]:
        await trio.lowlevel.checkpoint()
        return [identity for identity, _ in self._get_room(room_id).members.values()]

    async def append(self, drafts: Sequence[Draft], process_id: ProcessId) -> list[Entry | Refusal]:
        await trio.lowlevel.checkpoint()
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
            draft.text.encode()
        except UnicodeEncodeError:
            return RejectedError("A message cannot contain an unpaired surrogate.")
        if draft.type is MessageType.JOINED:
            if process_id not in self._leases:
                return LeaseLostError()
            self._end_membership(room, draft)
            room.members[draft.member.id] = (draft.member, process_id)
            membership = (draft.room_id, draft.member.id)
            self._members_of[process_id][membership] = Present(draft.room_id, draft.member)
        elif draft.member.id not in room.members:
            return NotAMemberError()
        if draft.type is MessageType.LEFT:
            self._end_membership(room, draft)
        room.last_sent = max(room.last_sent, self._now())
        entry = Entry(len(room.log) + 1, stamp(draft, room.last_sent))
        room.log.append(entry)
        room.seqs[draft.id] = entry.seq
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

    async def get_heads(self, room_ids: Collection[RoomId]) -> dict[RoomId, int]:
        await trio.lowlevel.checkpoint()
        return {id_: len(self._rooms[id_].log) for id_ in room_ids if id_ in self._rooms}

    async def remove_stale_rooms(self, age: float) -> list[RoomId]:
        await trio.lowlevel.checkpoint()
        now = self._now()
        stale = [
            room_id
            for room_id, room in self._rooms.items()
            if not room.members and (now - room.last_sent).total_seconds() >= age
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
        _, process_id = room.members.pop(draft.member.id, (None, None))
        if process_id is not None:
            del self._members_of[process_id][draft.room_id, draft.member.id]

    def _remove(self, room_id: RoomId) -> None:
        for member_id, (_, process_id) in self._rooms.pop(room_id).members.items():
            del self._members_of[process_id][room_id, member_id]

    def _get_room(self, room_id: RoomId) -> _Room:
        try:
            return self._rooms[room_id]
        except KeyError:
            raise RoomNotFoundError from None
