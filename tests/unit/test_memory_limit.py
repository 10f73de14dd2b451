"""The memory Repository's limit: what it refuses, what it still stores, and what it counts."""

import tracemalloc

import pytest

from sharechat.adapters.memory import MemoryRepository
from sharechat.domain.errors import FullError, RejectedError
from sharechat.domain.ids import ProcessId, RoomId
from sharechat.domain.messages import Entry, Identity, to_json
from tests.harness.drafts import chat, joined, left
from tests.harness.repositories import KEY_HASH, join, make_room, read_log, set_up_member, somebody

LIMIT = 1 << 20


async def fill(
    repository: MemoryRepository, process: ProcessId, room: RoomId, member: Identity, text: str
) -> int:
    """Store messages until one is refused; return how many were stored."""
    stored = 0
    while True:
        (outcome,) = await repository.append([chat(room, member, text)], process)
        if not isinstance(outcome, Entry):
            assert isinstance(outcome, RejectedError)
            return stored
        to_json(outcome.message)  # As when it is sent.
        stored += 1


async def fill_with_rooms(repository: MemoryRepository) -> int:
    """Make rooms until one is refused; return how many were made."""
    made = 0
    while True:
        try:
            await make_room(repository)
        except FullError:
            return made
        made += 1


async def test_past_the_limit_messages_and_rooms_are_refused_until_something_is_removed() -> None:
    repository = MemoryRepository(max_bytes=LIMIT)
    process, room, member = await set_up_member(repository)
    other = await make_room(repository)
    stored = await fill(repository, process, room, member, "x" * 1000)
    assert 600 < stored < 1000
    await fill_with_rooms(repository)
    with pytest.raises(FullError):
        await make_room(repository)
    assert len(await read_log(repository, room)) == stored + 1
    await repository.delete_room(room, KEY_HASH)
    member = await join(repository, process, other)
    assert await fill(repository, process, other, member, "x" * 1000) >= stored - 10
    await repository.delete_room(other, KEY_HASH)
    # Nothing is counted that is not there any more.
    again = await make_room(repository)
    member = await join(repository, process, again)
    assert await fill(repository, process, again, member, "x" * 1000) >= stored - 10


async def test_a_message_that_is_stored_already_is_not_refused() -> None:
    repository = MemoryRepository(max_bytes=LIMIT)
    process, room, member = await set_up_member(repository)
    draft = chat(room, member, "hello")
    (entry,) = await repository.append([draft], process)
    await fill(repository, process, room, member, "x")
    assert await repository.append([draft], process) == [entry]


async def test_a_full_room_can_be_joined_and_always_be_left() -> None:
    repository = MemoryRepository(max_bytes=LIMIT)
    process, room, first = await set_up_member(repository)
    await fill(repository, process, room, first, "x")
    members = [first]
    while True:
        member = somebody()
        (outcome,) = await repository.append([joined(room, member)], process)
        if not isinstance(outcome, Entry):
            break
        members.append(member)
    assert isinstance(outcome, RejectedError)
    assert len(members) > 20
    for member in members:
        (outcome,) = await repository.append([left(room, member)], process)
        assert isinstance(outcome, Entry)


@pytest.mark.parametrize("text", ["x", "x" * 16_000, "é" * 1000, "😀" * 1000])
async def test_messages_take_no_more_memory_than_the_limit(text: str) -> None:
    repository = MemoryRepository(max_bytes=4 * LIMIT)
    process, room, member = await set_up_member(repository)
    # A new string each time, as from a client.
    parts = text[:-1], text[-1:]
    tracemalloc.start()
    try:
        while True:
            (outcome,) = await repository.append([chat(room, member, "".join(parts))], process)
            if not isinstance(outcome, Entry):
                break
            to_json(outcome.message)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 2 * LIMIT < size < 4.2 * LIMIT


async def test_rooms_and_members_take_no_more_memory_than_the_limit() -> None:
    tracemalloc.start()
    try:
        repository = MemoryRepository(max_bytes=4 * LIMIT)
        process, _, _ = await set_up_member(repository)
        while True:
            try:
                room = await make_room(repository)
            except FullError:
                break
            await repository.append([joined(room, somebody())], process)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 1.5 * LIMIT < size < 4.2 * LIMIT
