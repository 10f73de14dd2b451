"""Compare the Repositories by themselves, in turns: appending to SQLite and to Postgres.

    python -m benchmarks.stores [--rounds 100]
    python -m benchmarks.stores --stored 5000000 --rooms 100000

With `--stored`, SQLite alone: a file with as many messages in as many rooms against one that has
only the rooms in use, 500 of them at random. Prints medians, and the ratio.
"""

import argparse
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path

import trio

from sharechat.adapters.postgres import PostgresRepository, migrate
from sharechat.adapters.sqlite import SqliteRepository
from sharechat.adapters.sqlite.rows import to_blob
from sharechat.domain import ids
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Draft, Entry, Identity, MessageType, RoomInfo, joined
from sharechat.domain.ports import Repository
from tests.harness.memory import resident_memory
from tests.harness.postgres import PostgresServer

_TEXT = "So what do we make of this, and who is going to tell them?"

_PAGE = 256 << 10
"""Bytes of a page, as the actors read them."""


_IN_USE = 500
"""Rooms that members talk in."""


class Bench:
    """A Repository with members in some rooms."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self._process = ids.new_process_id()
        self._members: list[tuple[RoomId, Identity]] = []

    async def enter(self, rooms: Sequence[RoomId]) -> None:
        """Let a member join each of these rooms."""
        await self.repository.open_lease(self._process)
        self._members = [(room, Identity(ids.new_member_id(), "Blue Fox")) for room in rooms]
        drafts = [joined(ids.new_message_id(), room, member) for room, member in self._members]
        for start in range(0, len(drafts), 500):
            await self.repository.append(drafts[start : start + 500], self._process)

    async def append(self, count: int) -> None:
        drafts = [
            Draft(ids.new_message_id(), room, member, MessageType.CHAT, _TEXT)
            for room, member in random.choices(self._members, k=count)
        ]
        outcomes = await self.repository.append(drafts, self._process)
        assert all(isinstance(outcome, Entry) for outcome in outcomes)

    async def read(self, limit: int) -> None:
        room, _ = random.choice(self._members)
        await self.repository.read(room, after=0, limit=limit, max_bytes=_PAGE)


async def make_rooms(repository: Repository, count: int) -> list[RoomId]:
    rooms = [ids.new_room_id() for _ in range(count)]
    async with trio.open_nursery() as nursery:
        for room in rooms:
            nursery.start_soon(repository.create_room, RoomInfo(room, "Quick Poplar"), b"key")
    return rooms


async def compare(
    what: str, one: Callable[[], Awaitable[None]], other: Callable[[], Awaitable[None]], rounds: int
) -> None:
    """Call both in turn, and print the medians of their times."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, list_ in zip((one, other), times, strict=True):
            start = time.perf_counter()
            await call()
            list_.append(time.perf_counter() - start)
    mine, theirs = (statistics.median(list_) * 1000 for list_ in times)
    print(f"{what:<24}{mine:>9.2f} ms{theirs:>9.2f} ms{theirs / mine:>8.2f}x", flush=True)


def fill(path: Path, rooms: int, messages: int) -> list[RoomId]:
    """Store messages in rooms without going through the Repository; return the rooms' ids."""
    room_ids = [ids.new_room_id() for _ in range(rooms)]
    each, now = messages // rooms, time.time_ns() // 1000
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA synchronous = OFF")
        file.execute("DROP INDEX messages_by_id")
        for start in range(0, rooms, 1000):
            file.execute("BEGIN")
            file.executemany(
                "INSERT INTO rooms (id, name, key_hash, created_at, active_at)"
                " VALUES (?, 'Quick Poplar', x'00', ?, ?)",
                [(to_blob(room), now, now) for room in room_ids[start : start + 1000]],
            )
            file.execute(
                "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < :each)"
                " INSERT INTO messages SELECT rid, n, randomblob(16), zeroblob(16), 'Blue Fox',"
                " 'chat', :text, :now FROM rooms CROSS JOIN n"
                " WHERE rid > :start AND rid <= :start + 1000",
                {"each": each, "text": _TEXT, "now": now, "start": start},
            )
            file.execute("COMMIT")
        file.execute("CREATE UNIQUE INDEX messages_by_id ON messages (id, rid)")
    return room_ids


async def compare_stores(rounds: int, folder: Path) -> None:
    with PostgresServer() as server:
        await migrate(server.url)
        postgres, sqlite = PostgresRepository(server.url), SqliteRepository(folder / "rooms.db")
        async with AsyncExitStack() as stack:
            stack.push_async_callback(postgres.aclose)
            stack.push_async_callback(sqlite.aclose)
            await sqlite.prepare()
            benches = Bench(sqlite), Bench(postgres)
            for bench in benches:
                await bench.enter(await make_rooms(bench.repository, 50))
            print(f"{'':<24}{'SQLite':>12}{'Postgres':>12}")
            for count in (1, 16, 512):
                one, other = (partial(bench.append, count) for bench in benches)
                await compare(f"append {count}", one, other, rounds)
            one, other = (partial(bench.read, 1000) for bench in benches)
            await compare("read a page", one, other, rounds)


async def compare_sizes(rounds: int, folder: Path, rooms: int, messages: int) -> None:
    small, large = SqliteRepository(folder / "small.db"), SqliteRepository(folder / "large.db")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(small.aclose)
        stack.push_async_callback(large.aclose)
        await small.prepare()
        await large.prepare()
        few = await trio.to_thread.run_sync(
            fill, folder / "small.db", _IN_USE, _IN_USE * messages // rooms
        )
        many = await trio.to_thread.run_sync(fill, folder / "large.db", rooms, messages)
        size = (folder / "large.db").stat().st_size >> 20
        print(f"{messages} messages in {rooms} rooms are {size} MiB")
        before = resident_memory()
        # As many rooms are in use in both; in one of them there are very many others.
        benches = Bench(small), Bench(large)
        await benches[0].enter(few)
        await benches[1].enter(random.sample(many, _IN_USE))
        print(f"{'':<24}{'without':>12}{'with':>12}")
        for count in (1, 16, 512):
            one, other = (partial(bench.append, count) for bench in benches)
            await compare(f"append {count}", one, other, rounds)
        one, other = (partial(bench.read, 50) for bench in benches)
        await compare("read 50", one, other, rounds)
        print(f"resident memory grew by {(resident_memory() - before) >> 20} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--stored", type=int, default=0)
    parser.add_argument("--rooms", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.stored:
            sizes = arguments.rooms, arguments.stored
            trio.run(compare_sizes, arguments.rounds, Path(folder), *sizes)
        else:
            trio.run(compare_stores, arguments.rounds, Path(folder))


if __name__ == "__main__":
    main()
