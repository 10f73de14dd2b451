"""Disks that are full, files that cannot be written, and what happens once that has passed."""

import resource
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from sharechat.adapters.sqlite import SqliteRepository, connecting
from sharechat.domain.errors import UnavailableError
from sharechat.domain.messages import Draft
from tests.harness.deadline import DEADLINE
from tests.harness.drafts import chat
from tests.harness.repositories import make_room, read_log, set_up_member, store
from tests.harness.sqlite import lock_for_writing, open_sqlite


def execute(connection: sqlite3.Connection, statement: str) -> None:
    connection.execute(statement).close()


@contextmanager
def files_may_not_be_written() -> Iterator[None]:
    """Make every write fail that goes beyond the first few bytes of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk_is_unavailable_until_there_is_space(
    repository: SqliteRepository,
) -> None:
    process, room, member = await set_up_member(repository)
    drafts = [chat(room, member, "x" * 10_000) for _ in range(50)]
    with files_may_not_be_written():
        for _ in range(3):
            with pytest.raises(UnavailableError):
                await repository.append(drafts, process)
        # Reading works, and yet it is not well.
        assert len(await read_log(repository, room)) == 1
        with pytest.raises(UnavailableError):
            await repository.check()
    await repository.check()
    entries = await store(repository, process, *drafts)
    assert (await read_log(repository, room))[1:] == entries


@pytest.mark.parametrize("pages", [16, 40])
async def test_so_is_a_database_that_sqlite_calls_full(
    path: Path, pages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_small(connection: sqlite3.Connection) -> None:
        configure(connection)
        connection.execute(f"PRAGMA max_page_count = {pages}")

    async with open_sqlite(path):
        pass
    configure = connecting.configure_writer
    monkeypatch.setattr(connecting, "configure_writer", make_small)
    async with open_sqlite(path) as repository:
        process, room, member = await set_up_member(repository)
        with pytest.raises(UnavailableError, match="space"):
            await repository.append([chat(room, member, "x" * 200_000)], process)
        # What is smaller finds its place.
        await store(repository, process, chat(room, member, "x"))
        await repository.check()


async def test_a_connection_that_turns_read_only_is_opened_again(
    repository: SqliteRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, room, member = await set_up_member(repository)
    make_read_only = partial(execute, statement="PRAGMA query_only = on")
    await repository._writer.run(make_read_only, DEADLINE)
    with pytest.raises(UnavailableError, match="read-only"):
        await repository.append([chat(room, member, "a")], process)
    await store(repository, process, chat(room, member, "b"))


async def test_another_program_that_writes_delays_a_change_or_makes_it_unavailable(
    repository: SqliteRepository, path: Path
) -> None:
    process, room, member = await set_up_member(repository)
    with lock_for_writing(path):
        with pytest.raises(UnavailableError, match="busy"):
            await repository.append([chat(room, member, "a")], process)
        assert len(await read_log(repository, room)) == 1
        with pytest.raises(UnavailableError):
            await repository.check()
    await store(repository, process, chat(room, member, "a"))
    await repository.check()


async def test_a_file_that_has_been_deleted_is_noticed(
    repository: SqliteRepository, path: Path
) -> None:
    await repository.check()
    path.unlink()
    with pytest.raises(UnavailableError, match="file"):
        await repository.check()


async def test_no_method_lets_an_error_of_sqlite_through(path: Path) -> None:
    """Here all of them fail, since the tables have gone."""
    async with open_sqlite(path) as repository:
        process, room, member = await set_up_member(repository)
        tables = ("rooms", "messages", "members", "removed_rooms")
        for table in tables:
            await repository._writer.run(
                partial(execute, statement=f"DROP TABLE {table}"), DEADLINE
            )
        draft: Draft = chat(room, member, "a")
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: make_room(repository),
            lambda: repository.delete_room(room, b""),
            lambda: repository.get_members(room),
            lambda: repository.append([draft], process),
            lambda: repository.read(room, after=0, limit=1, max_bytes=1),
            lambda: repository.find(room, draft.id),
            lambda: repository.get_rooms([room]),
            lambda: repository.remove_stale_rooms(1),
            lambda: repository.get_orphans(),
            lambda: repository.get_members_of(process),
            lambda: repository.check(),
        ]
        for call in calls:
            with pytest.raises(UnavailableError):
                await call()
        await trio.lowlevel.checkpoint()
