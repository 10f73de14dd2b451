"""Several processes that change the same rooms at once."""

import random

import trio

from sharechat.domain.messages import Entry
from tests.harness.deadline import DEADLINE
from tests.harness.drafts import chat, joined
from tests.harness.postgres_clients import connect, fetch_value, open_repository
from tests.harness.repositories import (
    KEY_HASH,
    get_heads,
    make_room,
    read_log,
    set_up_member,
    somebody,
)
from tests.harness.waiting import until


async def test_writers_at_once_cause_no_deadlock_no_gap_and_no_error(url: str) -> None:
    """Four processes write to rooms in random order while some of the rooms are deleted."""
    async with open_repository(url) as first:
        process, *_ = await set_up_member(first)
        rooms = [await make_room(first) for _ in range(8)]
        doomed = [await make_room(first) for _ in range(8)]

        written = 0

        async def write(seed: int) -> None:
            nonlocal written
            choice = random.Random(seed)
            member = somebody()
            async with open_repository(url) as repository:
                await repository.append([joined(room, member) for room in rooms], process)
                for _ in range(15):
                    mine = choice.sample(rooms, 6) + choice.sample(doomed, 2)
                    drafts = [
                        joined(room, member) if room in doomed else chat(room, member, "x")
                        for room in mine
                    ]
                    outcomes = await repository.append(drafts, process)
                    assert all(isinstance(outcome, Entry) for outcome in outcomes[:6])
                    written += 1

        async def delete() -> None:
            for number, room in enumerate(doomed):
                await until(lambda: written > 7 * number)  # noqa: B023
                await first.delete_room(room, KEY_HASH)

        with trio.fail_after(2 * DEADLINE):
            async with trio.open_nursery() as nursery:
                for seed in range(4):
                    nursery.start_soon(write, seed)
                nursery.start_soon(delete)
        heads = await get_heads(first, rooms + doomed)
        assert sum(heads.values()) == 4 * (8 + 15 * 6)
        assert not set(doomed) & set(heads)
        for room in rooms:
            seqs = [entry.seq for entry in await read_log(first, room)]
            assert seqs == list(range(1, heads[room] + 1))
    async with await connect(url) as connection:
        messages = await fetch_value(connection, "SELECT count(*) FROM messages")
        assert messages == 1 + sum(heads.values())
