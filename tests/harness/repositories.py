"""Helpers for the tests of Repositories: rooms, members, and what is stored."""

import sys
from collections.abc import Collection, Sequence

from sharechat.domain.ids import ProcessId, RoomId, new_member_id, new_process_id, new_room_id
from sharechat.domain.messages import Draft, Entry, Identity, Message, RoomInfo
from sharechat.domain.ports import Refusal, Repository
from tests.harness.drafts import joined

KEY_HASH = b"hash of the key"

ANY_SIZE = sys.maxsize
"""The `max_bytes` of a page whose size does not matter."""


def somebody(name: str = "Blue Fox") -> Identity:
    return Identity(new_member_id(), name)


async def make_room(repository: Repository, name: str = "Imperfect Seat") -> RoomId:
    room_id = new_room_id()
    await repository.create_room(RoomInfo(room_id, name), KEY_HASH)
    return room_id


async def store(repository: Repository, process: ProcessId, *drafts: Draft) -> list[Entry]:
    """Append drafts, none of which may be refused."""
    outcomes = await repository.append(drafts, process)
    entries = [outcome for outcome in outcomes if isinstance(outcome, Entry)]
    assert len(entries) == len(drafts), outcomes
    return entries


async def join(repository: Repository, process: ProcessId, room: RoomId) -> Identity:
    """Make a new member join the room through the process."""
    member = somebody()
    await store(repository, process, joined(room, member))
    return member


async def set_up_member(repository: Repository) -> tuple[ProcessId, RoomId, Identity]:
    """Make a process with a lease, a room, and a member that has joined it."""
    process, room = new_process_id(), await make_room(repository)
    await repository.open_lease(process)
    return process, room, await join(repository, process, room)


async def get_heads(repository: Repository, rooms: Collection[RoomId]) -> dict[RoomId, int]:
    """Return the heads of those of the rooms that exist."""
    return {id_: room.head for id_, room in (await repository.get_rooms(rooms)).items()}


async def get_head(repository: Repository, room: RoomId) -> int:
    return (await repository.get_rooms([room]))[room].head


async def read_log(repository: Repository, room: RoomId) -> list[Entry]:
    """Return the whole log."""
    return await repository.read(room, after=0, limit=10_000, max_bytes=ANY_SIZE)


def is_entry_of(entry: Entry | Refusal, draft: Draft) -> bool:
    """Return whether the entry contains exactly what the draft contained."""
    if not isinstance(entry, Entry):
        return False
    return entry.message == Message(
        draft.id,
        draft.room_id,
        draft.member.id,
        draft.member.name,
        draft.type,
        draft.text,
        entry.message.sent,
    )


def summarize(outcomes: Sequence[Entry | Refusal]) -> list[object]:
    """Return the seq of each entry and the class of each refusal."""
    return [outcome.seq if isinstance(outcome, Entry) else type(outcome) for outcome in outcomes]
