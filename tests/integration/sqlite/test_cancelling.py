"""Calls that are cancelled or take too long, and the end of the threads."""

import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from sharechat.adapters.sqlite import SqliteRepository, jobs, writer
from sharechat.domain.errors import UnavailableError
from tests.harness.deadline import DEADLINE, eventually
from tests.harness.drafts import chat
from tests.harness.repositories import get_head, make_room, set_up_member, store
from tests.harness.sqlite import open_sqlite

_ENDLESS = """
WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT count(*) FROM n
"""


def our_threads() -> set[threading.Thread]:
    """Return the threads of all repositories, also of those that other tests have left behind."""
    return {thread for thread in threading.enumerate() if "sqlite" in thread.name}


@asynccontextmanager
async def held_up(repository: SqliteRepository) -> AsyncIterator[None]:
    """Keep the writer busy with a change of its own, so that all others wait."""
    begun, released = threading.Event(), threading.Event()

    def hold(_: sqlite3.Connection) -> None:
        begun.set()
        released.wait(DEADLINE)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(repository._writer.run, hold, DEADLINE)
        await eventually(begun.is_set)
        yield
        released.set()


async def test_a_read_that_takes_too_long_is_interrupted(repository: SqliteRepository) -> None:
    read = repository._readers.run
    for _ in range(9):  # More than there are readers.
        with pytest.raises(UnavailableError, match="in time"):
            await read(lambda c: c.execute(_ENDLESS).fetchall(), 0.01)
    room = await make_room(repository)
    assert await get_head(repository, room) == 0


async def test_so_is_a_read_that_is_cancelled(repository: SqliteRepository) -> None:
    for _ in range(9):
        with trio.move_on_after(0.01) as scope:
            await repository._readers.run(lambda c: c.execute(_ENDLESS).fetchall(), DEADLINE)
        assert scope.cancelled_caught
    await repository.check()


async def test_a_read_does_not_wait_for_the_writer(repository: SqliteRepository) -> None:
    room = await make_room(repository)
    async with held_up(repository):
        await repository.get_rooms([room])


async def test_a_change_that_nobody_waits_for_any_more_is_not_begun(
    repository: SqliteRepository,
) -> None:
    process, room, member = await set_up_member(repository)
    async with held_up(repository):
        with trio.move_on_after(0.01):
            await repository.append([chat(room, member, "a")], process)
    await store(repository, process, chat(room, member, "b"))
    assert await get_head(repository, room) == 2


async def test_changes_that_wait_share_a_commit(repository: SqliteRepository) -> None:
    process, room, member = await set_up_member(repository)
    commits: list[str] = []

    def trace(statement: str) -> None:
        if statement == "COMMIT":
            commits.append(statement)

    await repository._writer.run(lambda c: c.set_trace_callback(trace), DEADLINE)
    commits.clear()
    async with trio.open_nursery() as nursery, held_up(repository):
        for n in range(10):
            nursery.start_soon(store, repository, process, chat(room, member, str(n)))
        await trio.testing.wait_all_tasks_blocked()
    assert await get_head(repository, room) == 11
    assert len(commits) == 2


async def test_a_change_that_fails_does_not_hold_up_others_of_its_commit(
    repository: SqliteRepository,
) -> None:
    process, room, member = await set_up_member(repository)

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM rooms")
        raise ZeroDivisionError

    async def expect_failure() -> None:
        with pytest.raises(ZeroDivisionError):
            await repository._writer.run(fail, DEADLINE)

    async with trio.open_nursery() as nursery, held_up(repository):
        nursery.start_soon(store, repository, process, chat(room, member, "a"))
        nursery.start_soon(expect_failure)
        nursery.start_soon(store, repository, process, chat(room, member, "b"))
        await trio.testing.wait_all_tasks_blocked()
    assert await get_head(repository, room) == 3


async def test_a_change_too_many_is_unavailable_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_MOST_JOBS", 10)
    async with open_sqlite(path) as repository:
        async with trio.open_nursery() as nursery, held_up(repository):
            for _ in range(9):
                nursery.start_soon(make_room, repository)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(UnavailableError, match="busy"):
                await make_room(repository)
        await make_room(repository)


async def test_closing_does_what_waits_and_leaves_no_thread(path: Path) -> None:
    before = our_threads()
    async with open_sqlite(path) as repository:
        assert our_threads() > before
        process, room, member = await set_up_member(repository)
        async with trio.open_nursery() as nursery:
            for n in range(20):
                nursery.start_soon(store, repository, process, chat(room, member, str(n)))
            await trio.testing.wait_all_tasks_blocked()
            with trio.CancelScope() as scope:
                scope.cancel()
                await repository.aclose()
    assert our_threads() <= before
    with pytest.raises(UnavailableError, match="closed"):
        await repository.get_rooms([room])
    with pytest.raises(UnavailableError, match="closed"):
        await make_room(repository)
    async with open_sqlite(path) as repository:
        assert await get_head(repository, room) == 21


async def test_closing_does_not_wait_for_ever_for_a_disk_that_does_not_answer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sharechat.adapters.sqlite.repository._CLOSE_TIMEOUT", 0.1)
    released = threading.Event()
    before = our_threads()
    async with open_sqlite(path) as repository:
        with trio.move_on_after(0.1):
            await repository._writer.run(lambda _: released.wait(DEADLINE), DEADLINE)
        start = time.monotonic()
        await repository.aclose()
        assert time.monotonic() - start < DEADLINE / 2
        released.set()
        await repository.aclose()
    assert our_threads() <= before


async def test_closing_what_was_never_opened_does_nothing(path: Path) -> None:
    repository = SqliteRepository(path)
    await repository.aclose()
    with pytest.raises(UnavailableError):
        await repository.check()
    assert not path.exists()


async def test_the_answer_to_a_trio_that_has_ended_is_dropped() -> None:
    jobs_ = jobs.Jobs(1)
    await trio.to_thread.run_sync(trio.run, _open, jobs_)
    jobs_.answer([])


async def _open(jobs_: jobs.Jobs) -> None:
    jobs_.open()
