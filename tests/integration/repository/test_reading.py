"""The contract of the Repository port: reading a log and finding messages in it."""

import pytest

from sharechat.domain.errors import MessageNotFoundError
from sharechat.domain.ids import ProcessId, RoomId, new_message_id
from sharechat.domain.ports import Repository
from tests.harness.drafts import chat
from tests.harness.repositories import join, make_room, read_log, store


async def test_a_page_contains_the_entries_after_a_seq(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    member = await join(repository, process, room)
    await store(repository, process, *(chat(room, member, str(n)) for n in range(2, 11)))
    entries = await read_log(repository, room)
    assert [entry.seq for entry in entries] == list(range(1, 11))
    assert await repository.read(room, after=0, limit=3) == entries[:3]
    assert await repository.read(room, after=3, limit=3) == entries[3:6]
    assert await repository.read(room, after=8, limit=100) == entries[8:]
    assert await repository.read(room, after=10, limit=100) == []
    assert await repository.read(room, after=99, limit=100) == []


async def test_find_returns_the_seq_of_a_message(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    member, other = await join(repository, process, room), await make_room(repository)
    entries = await store(repository, process, *(chat(room, member, "a") for _ in range(3)))
    for entry in entries:
        assert await repository.find(room, entry.message.id) == entry.seq
    with pytest.raises(MessageNotFoundError):
        await repository.find(room, new_message_id())
    with pytest.raises(MessageNotFoundError):
        await repository.find(other, entries[0].message.id)
