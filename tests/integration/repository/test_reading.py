"""The contract of the Repository port: reading a log and finding messages in it."""

from collections.abc import Sequence

import pytest

from sharechat.domain.errors import MessageNotFoundError
from sharechat.domain.ids import ProcessId, RoomId, new_message_id
from sharechat.domain.messages import Entry, to_json
from sharechat.domain.ports import Repository
from tests.harness.drafts import chat
from tests.harness.repositories import ANY_SIZE, join, make_room, read_log, store


async def test_a_page_contains_the_entries_after_a_seq(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    member = await join(repository, process, room)
    await store(repository, process, *(chat(room, member, str(n)) for n in range(2, 11)))
    entries = await read_log(repository, room)
    assert [entry.seq for entry in entries] == list(range(1, 11))
    assert await repository.read(room, after=0, limit=3, max_bytes=ANY_SIZE) == entries[:3]
    assert await repository.read(room, after=3, limit=3, max_bytes=ANY_SIZE) == entries[3:6]
    assert await repository.read(room, after=8, limit=100, max_bytes=ANY_SIZE) == entries[8:]
    assert await repository.read(room, after=10, limit=100, max_bytes=ANY_SIZE) == []
    assert await repository.read(room, after=99, limit=100, max_bytes=ANY_SIZE) == []


@pytest.mark.parametrize("filler", ["x", "\x01", "\n", '"', "\\", "é", "€", "😀", "\x7f", "\u2028"])
@pytest.mark.parametrize("max_bytes", [0, 1000, 20_000, 60_000])
async def test_a_page_contains_as_many_entries_as_are_sure_to_fit_and_at_least_one(
    repository: Repository, process: ProcessId, room: RoomId, filler: str, max_bytes: int
) -> None:
    member = await join(repository, process, room)
    lengths = (0, 0, 300, 9_000, 0, 1, 2_000, 2_000, 2_000, 9_000, 9_000, 0)
    await store(repository, process, *(chat(room, member, filler * n) for n in lengths))
    log = await read_log(repository, room)
    assert len(log) == 1 + len(lengths)
    walked: list[Entry] = []
    while page := await repository.read(room, after=len(walked), limit=100, max_bytes=max_bytes):
        walked += page
        assert len(page) == 1 or json_size(page) <= max_bytes
        following = log[len(walked) : len(walked) + 1]
        most = sum(300 + 6 * len(entry.message.text.encode()) for entry in [*page, *following])
        assert not following or most > max_bytes
    assert walked == log


async def test_a_page_is_bounded_in_bytes_and_in_entries(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    member = await join(repository, process, room)
    await store(repository, process, *(chat(room, member, "\x01" * 200) for _ in range(10)))
    assert len(await repository.read(room, after=0, limit=3, max_bytes=5000)) == 3
    assert len(await repository.read(room, after=0, limit=9, max_bytes=5000)) == 4
    assert len(await repository.read(room, after=10, limit=9, max_bytes=0)) == 1
    assert await repository.read(room, after=11, limit=9, max_bytes=0) == []


def json_size(page: Sequence[Entry]) -> int:
    return sum(len(to_json(entry.message)) for entry in page)


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
