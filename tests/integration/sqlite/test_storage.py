"""What is stored, what it costs to find it, and what SQLite keeps beside the file."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from sharechat.adapters.sqlite import SqliteRepository
from sharechat.domain.errors import RoomNotFoundError
from sharechat.domain.ids import new_process_id
from sharechat.domain.messages import Entry
from tests.harness.drafts import chat, joined
from tests.harness.repositories import (
    ANY_SIZE,
    KEY_HASH,
    get_head,
    make_room,
    read_log,
    set_up_member,
    somebody,
    store,
)
from tests.harness.sqlite import look_into, open_sqlite


def count(path: Path, table: str) -> int:
    with look_into(path) as file:
        ((rows,),) = file.execute(f"SELECT count(*) FROM {table}")
        return int(rows)


async def test_whoever_was_a_member_in_a_process_that_is_gone_is_an_orphan(path: Path) -> None:
    async with open_sqlite(path) as repository:
        process, room, member = await set_up_member(repository)
        assert await repository.get_orphans() == []
    async with open_sqlite(path) as repository:
        ((room_id, orphan),) = await repository.get_orphans()
        assert (room_id, orphan) == (room, member)
        _, _, _ = await set_up_member(repository)
        assert len(await repository.get_orphans()) == 1
        assert await repository.get_members_of(process) == [(room, member)]
        assert await repository.get_members_of(new_process_id()) == []


async def test_a_commit_is_on_the_disk_before_it_is_answered(repository: SqliteRepository) -> None:
    """What that takes is SQLite's; without power a test cannot see it."""

    def settings(connection: Any) -> list[Any]:
        names = ("journal_mode", "synchronous")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await repository._writer.run(settings, 5) == ["wal", 2]


async def test_deleting_a_room_deletes_its_messages(
    repository: SqliteRepository, path: Path
) -> None:
    process, room, member = await set_up_member(repository)
    await store(repository, process, *(chat(room, member, "x") for _ in range(2500)))
    _, other, _ = await set_up_member(repository)
    await repository.delete_room(room, KEY_HASH)
    assert count(path, "messages") == 1
    assert count(path, "removed_rooms") == 0
    assert len(await read_log(repository, other)) == 1


async def test_messages_that_are_left_are_deleted_with_the_next_stale_rooms(
    repository: SqliteRepository, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, room, member = await set_up_member(repository)
    await store(repository, process, chat(room, member, "x"))
    with monkeypatch.context() as patch:
        patch.setattr("sharechat.adapters.sqlite.repository._SWEEP_TIME", 0)
        await repository.delete_room(room, KEY_HASH)
    assert count(path, "messages") == 2
    # A room that is made meanwhile has nothing of it.
    newer = await make_room(repository)
    assert await read_log(repository, newer) == []
    with pytest.raises(RoomNotFoundError):
        await repository.find(room, chat(room, member, "x").id)
    await repository.remove_stale_rooms(3600)
    assert count(path, "messages") == count(path, "removed_rooms") == 0


async def test_very_many_stale_rooms_are_removed_by_and_by(
    repository: SqliteRepository, path: Path
) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(500):
            nursery.start_soon(make_room, repository)
    kept = await set_up_member(repository)
    removed = await repository.remove_stale_rooms(0)
    while more := await repository.remove_stale_rooms(0):
        removed += more
    assert len(set(removed)) == len(removed) == 500
    assert count(path, "removed_rooms") == 0
    assert await get_head(repository, kept[1]) == 1


async def test_the_write_ahead_log_stays_small(repository: SqliteRepository, path: Path) -> None:
    process, room, member = await set_up_member(repository)
    wal = path.with_name(f"{path.name}-wal")
    largest = 0
    for _ in range(60):
        await store(repository, process, *(chat(room, member, "x" * 10_000) for _ in range(100)))
        largest = max(largest, wal.stat().st_size)
        await repository.read(room, after=0, limit=100, max_bytes=ANY_SIZE)
    assert path.stat().st_size > 40 << 20
    assert largest < 32 << 20


async def test_a_server_that_nobody_uses_does_not_write(
    repository: SqliteRepository, path: Path
) -> None:
    process, _, _ = await set_up_member(repository)
    wal = path.with_name(f"{path.name}-wal")
    before = wal.stat().st_mtime_ns, wal.stat().st_size
    for _ in range(3):
        await repository.renew_lease(process)
        await repository.get_orphans()
        await repository.remove_stale_rooms(3600, 600)
        await repository.check()
    assert (wal.stat().st_mtime_ns, wal.stat().st_size) == before


async def test_no_statement_scans_messages_or_members(repository: SqliteRepository) -> None:
    """Whatever is looked up is looked up by an index, so a large room costs no more."""
    process, room, member = await set_up_member(repository)
    seen: set[str] = set()

    def trace(connection: Any) -> None:
        connection.set_trace_callback(seen.add)

    await repository._writer.run(trace, 5)
    for _ in range(9):
        await repository._readers.run(trace, 5)
    draft = chat(room, member, "x")
    await repository.append([draft, joined(room, somebody())], process)
    for _ in range(9):
        entries = await read_log(repository, room)
        assert isinstance(entries[0], Entry)
        await repository.find(room, draft.id)
        await repository.get_rooms([room])
        await repository.get_orphans()
        await repository.get_members_of(process)
        await repository.get_members(room)
    await repository.delete_room(room, KEY_HASH)
    plans = [
        (statement, detail)
        for statement in seen
        if statement.lstrip().startswith(("SELECT", "DELETE", "UPDATE"))
        for detail in await repository._readers.run(partial(explain, statement=statement), 5)
    ]
    assert len(seen) > 12
    assert not [plan for plan in plans if plan[1].startswith("SCAN m")]


def explain(connection: Any, statement: str) -> list[str]:
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
