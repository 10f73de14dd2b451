"""Cancelling what runs on a TrioConnection, at every step that it takes."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, cast

import psycopg
import pytest
import trio

from sharechat.adapters.postgres.trio_connection import TrioConnection
from sharechat.domain.messages import Draft
from tests.harness.cancelling import cancel_at_every_step
from tests.harness.deadline import DEADLINE
from tests.harness.drafts import chat
from tests.harness.postgres_clients import (
    Connection,
    append_until_stored,
    connect,
    count_waiting,
    fetch_value,
    open_repository,
    until_waiting,
)
from tests.harness.repositories import ANY_SIZE, set_up_member

Work = Callable[[Connection], Awaitable[None]]


async def a_query(connection: Connection) -> None:
    await connection.execute("SELECT pg_sleep(0.002), %s", [random.random()], prepare=True)


async def a_large_query(connection: Connection) -> None:
    await connection.execute("SELECT length(%s)", ["x" * 5_000_000])


async def a_transaction(connection: Connection) -> None:
    async with connection.transaction(), connection.transaction():
        await connection.execute("INSERT INTO work VALUES (1)")
        await connection.execute("DELETE FROM work")


async def a_pipeline(connection: Connection) -> None:
    async with connection.pipeline():
        for n in range(5):
            await connection.execute("SELECT pg_sleep(0.001), %s", [n])


async def an_executemany(connection: Connection) -> None:
    async with connection.cursor() as cursor:
        await cursor.executemany("INSERT INTO work VALUES (%s)", [(n,) for n in range(20)])


async def a_stream(connection: Connection) -> None:
    async with connection.cursor() as cursor:
        stream = cursor.stream("SELECT n FROM generate_series(1, 5) n")
        async with aclosing(cast(AsyncGenerator[Any], stream)) as rows:
            async for _ in rows:
                await trio.lowlevel.checkpoint()


async def a_copy(connection: Connection) -> None:
    async with connection.cursor() as cursor:
        async with cursor.copy("COPY work FROM STDIN") as copy:
            for n in range(5):
                await copy.write_row((n,))


WORK = [a_query, a_large_query, a_transaction, a_pipeline, an_executemany, a_stream, a_copy]


@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
async def test_after_a_cancelled_call_the_connection_is_usable_or_closed(
    url: str, work: Work
) -> None:
    async def connect_with_table() -> Connection:
        connection = await connect(url)
        await connection.execute("CREATE TEMPORARY TABLE work (n int)")
        return connection

    connection, usable = await connect_with_table(), 0

    async def check() -> None:
        nonlocal connection, usable
        if connection.closed:
            connection = await connect_with_table()
            return
        usable += 1
        with trio.fail_after(DEADLINE):
            assert await fetch_value(connection, "SELECT 42") == 42
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE

    async def cancel_at_the_start() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await work(connection)
        assert scope.cancelled_caught

    try:
        with trio.fail_after(2 * DEADLINE):
            await cancel_at_the_start()
            await check()
            await cancel_at_every_step(lambda: work(connection), check)
    finally:
        await connection.close()
    # A transaction or pipeline that is cancelled closes the connection, because rolling back
    # would have to wait. So it is usable only after the last run, which is not cancelled.
    assert usable >= (2 if work in (a_query, a_large_query, a_copy) else 1)


async def test_cancelling_ends_the_query_on_the_server(url: str, connection: Connection) -> None:
    async with await connect(url) as other, trio.open_nursery() as nursery:
        await other.execute("SELECT pg_advisory_lock(1)")
        nursery.start_soon(connection.execute, "SELECT pg_advisory_lock(1)")
        await until_waiting(other)
        nursery.cancel_scope.cancel()
    async with await connect(url) as other:
        assert await count_waiting(other) == 0
    assert await fetch_value(connection, "SELECT 42") == 42


async def test_cancelling_connect_leaves_nothing_open(url: str) -> None:
    # An unclosed connection would cause a ResourceWarning, which is an error.
    async def connect_and_close() -> None:
        await (await TrioConnection.connect(url)).close()

    with trio.fail_after(2 * DEADLINE):
        await cancel_at_every_step(connect_and_close, trio.lowlevel.checkpoint)


async def test_a_draft_whose_append_was_cancelled_is_stored_once_when_repeated(url: str) -> None:
    async with open_repository(url) as repository:
        process, room, member = await set_up_member(repository)
        drafts: list[Draft] = []

        async def append() -> None:
            drafts.append(chat(room, member, str(len(drafts))))
            await repository.append(drafts[-1:], process)

        async def repeat() -> None:
            await append_until_stored(repository, drafts[-1:], process)

        await cancel_at_every_step(append, repeat)
        entries = await repository.read(room, after=1, limit=1000, max_bytes=ANY_SIZE)
        assert [entry.message.id for entry in entries] == [draft.id for draft in drafts]
