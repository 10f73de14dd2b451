"""The bound on the file: what it refuses, what it still stores, and what it counts."""

from pathlib import Path

import pytest

from sharechat.adapters.sqlite import SqliteRepository
from sharechat.domain.errors import FullError, RejectedError
from sharechat.domain.ids import ProcessId, RoomId
from sharechat.domain.messages import Entry, Identity
from tests.harness.drafts import chat, joined, left
from tests.harness.repositories import KEY_HASH, make_room, read_log, set_up_member, somebody
from tests.harness.sqlite import look_into, open_sqlite

LIMIT = 1 << 20


def used(path: Path) -> int:
    """Return how large the file is, with what has yet to be copied to it."""
    with look_into(path) as file:
        ((size,),) = file.execute(
            "SELECT page_size * page_count FROM pragma_page_size, pragma_page_count"
        )
    return int(size)


async def fill(
    repository: SqliteRepository, process: ProcessId, room: RoomId, member: Identity, text: str
) -> int:
    """Store messages until one is refused; return how many were stored."""
    stored = 0
    while True:
        drafts = [chat(room, member, text) for _ in range(100)]
        outcomes = await repository.append(drafts, process)
        entries = [outcome for outcome in outcomes if isinstance(outcome, Entry)]
        stored += len(entries)
        if len(entries) < len(drafts):
            assert isinstance(outcomes[-1], RejectedError)
            return stored


async def fill_with_rooms(repository: SqliteRepository) -> None:
    for _ in range(1000):
        try:
            await make_room(repository)
        except FullError:
            return
    raise AssertionError("there is no end of rooms")


@pytest.mark.parametrize("text", ["x", "x" * 300, "é" * 1000, "x" * 16_000])
async def test_past_the_bound_messages_and_rooms_are_refused_until_something_is_removed(
    path: Path, text: str
) -> None:
    async with open_sqlite(path, max_bytes=LIMIT) as repository:
        process, room, member = await set_up_member(repository)
        stored = await fill(repository, process, room, member, text)
        assert used(path) > 0.8 * LIMIT
        await fill_with_rooms(repository)
        assert len(await read_log(repository, room)) == stored + 1
        await repository.delete_room(room, KEY_HASH)
        process, room, member = await set_up_member(repository)
        again = await fill(repository, process, room, member, text)
        assert again > stored * 0.7
    assert used(path) < 1.05 * LIMIT


async def test_a_message_that_is_stored_already_is_not_refused(path: Path) -> None:
    async with open_sqlite(path, max_bytes=LIMIT) as repository:
        process, room, member = await set_up_member(repository)
        draft = chat(room, member, "hello")
        (entry,) = await repository.append([draft], process)
        await fill(repository, process, room, member, "x" * 300)
        assert await repository.append([draft], process) == [entry]


async def test_a_full_room_can_be_joined_and_always_be_left(path: Path) -> None:
    async with open_sqlite(path, max_bytes=LIMIT) as repository:
        process, room, first = await set_up_member(repository)
        await fill(repository, process, room, first, "x" * 300)
        members = [first]
        while True:
            arrivals = [joined(room, somebody()) for _ in range(20)]
            outcomes = await repository.append(arrivals, process)
            members += [
                draft.member
                for draft, outcome in zip(arrivals, outcomes, strict=True)
                if isinstance(outcome, Entry)
            ]
            if not isinstance(outcomes[-1], Entry):
                break
        assert isinstance(outcomes[-1], RejectedError)
        assert len(members) > 20
        outcomes = await repository.append([left(room, member) for member in members], process)
        assert all(isinstance(outcome, Entry) for outcome in outcomes)
        assert await repository.get_members(room) == []
    assert used(path) < 1.05 * LIMIT
