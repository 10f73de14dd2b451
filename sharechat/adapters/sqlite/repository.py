"""The Repository over SQLite. `sharechat.domain.ports` describes each method."""

import os
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from pathlib import Path
from typing import TypeVar

import trio

from sharechat.adapters.sqlite import log, rooms
from sharechat.adapters.sqlite.append import Append
from sharechat.adapters.sqlite.connecting import check_header, create
from sharechat.adapters.sqlite.errors import TIMED_OUT
from sharechat.adapters.sqlite.leases import Leases
from sharechat.adapters.sqlite.lock import acquire_lock
from sharechat.adapters.sqlite.migrate import migrate_file
from sharechat.adapters.sqlite.readers import Readers
from sharechat.adapters.sqlite.rows import to_blob, to_microseconds
from sharechat.adapters.sqlite.space import used_bytes
from sharechat.adapters.sqlite.writer import Writer
from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import MessageId, ProcessId, RoomId
from sharechat.domain.messages import Draft, Entry, Identity, RoomInfo
from sharechat.domain.ports import Present, Refusal
from sharechat.domain.sources import Sources

T = TypeVar("T")

CALL_TIMEOUT = 5.0
"""Seconds that a call takes at most."""

_CHECK_TIMEOUT = 1.25
"""Seconds for `check`."""

_PREPARE_TIMEOUT = 60.0
"""Seconds for opening the file, which may have to be recovered, and all migrations."""

_CLOSE_TIMEOUT = 1.5
"""Seconds for closing it, which comes on top of what the actors take to stop."""

_STALE_ROOMS_AT_ONCE = 200

_SWEEP_TIME = 1.0
"""Seconds that a call spends on deleting messages of removed rooms."""


class SqliteRepository:
    """Rooms, logs and members in one file, which one process at a time uses.

    One thread writes, with one commit for all changes that wait; a few others read. Every call
    ends within `CALL_TIMEOUT` seconds. The file holds about `max_bytes`: past that no rooms are
    made and messages are refused until something has been removed, except for `left`. What
    SQLite keeps beside the file while it is in use is not counted.
    """

    def __init__(
        self, path: Path, sources: Sources | None = None, *, max_bytes: float = inf
    ) -> None:
        """Does no I/O: see `prepare`."""
        # Its locks count for a file, whatever name it is opened by.
        self._path = Path(os.path.realpath(path))
        self._now = (sources or Sources()).now
        self._max_bytes = max_bytes
        self._leases = Leases()
        self._writer = Writer(self._path)
        self._readers = Readers(self._path)
        self._lock: int | None = None
        self.used_bytes = 0
        """Bytes of the file in use, as of `prepare` or the last call of `remove_stale_rooms`."""

    async def prepare(self) -> None:
        """Make the file if there is none, lock it, and bring its schema up to date.

        Called once, before anything else. Whoever is a member from before is an orphan then.
        Raises DataInUseError if another process uses the file, SchemaError, and UnavailableError.
        If the call is cancelled or fails, `aclose` may be called all the same.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_header(self._path)
            self._lock = acquire_lock(self._path)
            create(self._path)
        except OSError as error:
            raise UnavailableError(f"The rooms cannot be kept in {self._path}.") from error
        with trio.move_on_after(_PREPARE_TIMEOUT) as patience:
            await trio.to_thread.run_sync(migrate_file, self._path, abandon_on_cancel=True)
        if patience.cancelled_caught:
            raise UnavailableError(TIMED_OUT)
        self._writer.start()
        self._readers.start()
        # What SQLite needs for reading is made beside the file now, and not on a disk that has
        # become full.
        await self._read(rooms.count_removed)
        self.used_bytes = await self._read(used_bytes)

    async def aclose(self) -> None:
        """Do the changes that wait, and end the threads, even if cancelled. May be called twice.

        Takes at most `_CLOSE_TIMEOUT` seconds. Later calls of other methods raise
        UnavailableError.
        """
        with trio.move_on_after(_CLOSE_TIMEOUT, shield=True) as patience:
            await self._readers.aclose()
            # Last, since it is then alone, and leaves the file complete by itself.
            await self._writer.aclose()
        if self._lock is not None and not patience.cancelled_caught:
            os.close(self._lock)
            self._lock = None
        await trio.lowlevel.checkpoint()

    async def create_room(self, room: RoomInfo, key_hash: bytes) -> None:
        await self._write(
            lambda c: rooms.create_room(c, room, key_hash, self._microseconds(), self._max_bytes)
        )

    async def get_rooms(self, room_ids: Collection[RoomId]) -> dict[RoomId, RoomInfo]:
        return await self._read(lambda c: rooms.get_rooms(c, room_ids))

    async def delete_room(self, room_id: RoomId, key_hash: bytes) -> None:
        """Remove the room; see the port.

        Spends about a second on deleting the messages. `remove_stale_rooms` deletes what is
        left; until then those messages occupy space, but nobody can read them.
        """
        deadline = trio.current_time() + CALL_TIMEOUT
        await self._write(lambda c: rooms.delete_room(c, room_id, key_hash))
        await self._sweep(deadline)

    async def get_members(self, room_id: RoomId) -> list[Identity]:
        return await self._read(lambda c: rooms.get_members(c, room_id))

    async def append(self, drafts: Sequence[Draft], process_id: ProcessId) -> list[Entry | Refusal]:
        if not drafts:
            await trio.lowlevel.checkpoint()
            return []

        def append(connection: sqlite3.Connection) -> list[Entry | Refusal]:
            lives = partial(self._leases.lives, process_id)
            now = self._microseconds()
            return Append(connection, process_id, lives, now, self._max_bytes).run(drafts)

        return await self._write(append)

    async def read(self, room_id: RoomId, *, after: int, limit: int, max_bytes: int) -> list[Entry]:
        return await self._read(lambda c: log.read(c, room_id, after, limit, max_bytes))

    async def find(self, room_id: RoomId, message_id: MessageId) -> int:
        return await self._read(lambda c: log.find(c, room_id, message_id))

    async def remove_stale_rooms(
        self, age: float, unjoined_age: float | None = None
    ) -> list[RoomId]:
        """Remove stale rooms, for half of the time limit of a call; see the port.

        They are looked for without holding up the writer. Then spends about a second on deleting
        messages of removed rooms.
        """
        start = trio.current_time()
        deadline = start + CALL_TIMEOUT
        self.used_bytes = await self._read(used_bytes)
        now = self._microseconds()
        of_unjoined = age if unjoined_age is None else min(age, unjoined_age)
        ages = rooms.Ages(now - _to_microseconds(age), now - _to_microseconds(of_unjoined))
        removed: list[RoomId] = []
        rids = [0]
        while rids and trio.current_time() < start + CALL_TIMEOUT / 2:
            find = partial(
                rooms.find_stale_rooms, ages=ages, after=rids[-1], limit=_STALE_ROOMS_AT_ONCE
            )
            rids = await self._readers.run(find, deadline - trio.current_time())
            if rids:
                remove = partial(rooms.remove_if_stale, ages=ages, rids=rids)
                removed += await self._writer.run(remove, deadline - trio.current_time())
        await self._sweep(deadline)
        return removed

    async def open_lease(self, process_id: ProcessId) -> None:
        await trio.lowlevel.checkpoint()
        self._leases.open(process_id)

    async def renew_lease(self, process_id: ProcessId) -> Mapping[ProcessId, int]:
        await trio.lowlevel.checkpoint()
        return self._leases.renew(process_id)

    async def end_lease(self, process_id: ProcessId, renewal: int | None = None) -> bool:
        await trio.lowlevel.checkpoint()
        return self._leases.end(process_id, renewal)

    async def get_orphans(self) -> list[Present]:
        return await self._read(lambda c: rooms.get_orphans(c, self._leases.lives))

    async def get_members_of(self, process_id: ProcessId) -> list[Present]:
        return await self._read(lambda c: rooms.get_members_of(c, to_blob(process_id)))

    async def check(self) -> None:
        """Return if the Repository works; see the port. After a failure it has to write."""
        deadline = trio.current_time() + _CHECK_TIMEOUT
        await self._readers.run(rooms.count_removed, _CHECK_TIMEOUT)
        await self._writer.check(deadline - trio.current_time())

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._readers.run(work, CALL_TIMEOUT)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._writer.run(work, CALL_TIMEOUT)

    async def _sweep(self, deadline: float) -> None:
        """Delete messages of removed rooms for about a second, and never beyond `deadline`.

        Does not raise UnavailableError: a later call deletes what is left.
        """
        stop_at = trio.current_time() + _SWEEP_TIME
        with suppress(UnavailableError):
            while (now := trio.current_time()) < min(stop_at, deadline):
                if not await self._writer.run(rooms.sweep, deadline - now):
                    return

    def _microseconds(self) -> int:
        return to_microseconds(self._now())


def _to_microseconds(seconds: float) -> int:
    # A century at most, since SQLite's integers have an end.
    return round(min(seconds, 3e9) * 1_000_000)
