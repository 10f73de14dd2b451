"""The Repository over PostgreSQL. `sharechat.domain.ports` describes each method."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

import trio
from psycopg.conninfo import conninfo_to_dict

from sharechat.adapters.postgres import statements
from sharechat.adapters.postgres.health import Health
from sharechat.adapters.postgres.pool import CALL_TIMEOUT, Pool, Row
from sharechat.adapters.postgres.rows import (
    check_text,
    to_arrays,
    to_entry,
    to_identities,
    to_outcome,
)
from sharechat.adapters.postgres.trio_connection import TrioConnection
from sharechat.adapters.postgres.url import check_url
from sharechat.domain.errors import (
    LeaseLostError,
    MessageNotFoundError,
    RejectedError,
    RoomNotFoundError,
    UnavailableError,
    WrongKeyError,
)
from sharechat.domain.ids import MessageId, ProcessId, RoomId
from sharechat.domain.messages import Draft, Entry, Identity, RoomInfo
from sharechat.domain.ports import Present, Refusal

_CHECK_TIMEOUT = 1.25
"""Seconds for `check`."""

_STALE_ROOMS_PER_QUERY = 200
_SWEEP_SIZE = 5000
"""Messages of removed rooms that one query deletes at most."""

_SWEEP_TIME = 1.0
"""Seconds that a call spends on deleting messages of removed rooms."""


class PostgresRepository:
    """Rooms, logs and members in a PostgreSQL database that `migrate` has set up.

    Uses at most `connections` connections. One is reserved for `append`, and two for leases and
    for clearing up, so that neither waits for clients that read, nor a lease for clearing up;
    the other methods share the rest. A call opens the connection that it needs, so creating a
    PostgresRepository does no I/O. Every call waits for a connection for 3 seconds at most, and
    ends within 4 seconds once it has one.
    """

    def __init__(self, url: str, *, connections: int = 6) -> None:
        """Raises ValueError if `url` is not valid, or `connections` is less than 4."""
        check_url(url)
        if connections < 4:
            raise ValueError("a PostgresRepository needs at least four connections")
        self._health = Health(str(conninfo_to_dict(url).get("password") or ""))
        self._append_pool = Pool(url, 1, self._health)
        self._lease_pool = Pool(url, 2, self._health)
        self._pool = Pool(url, connections - 3, self._health)

    async def aclose(self) -> None:
        """Close the connections, even if cancelled. May be called twice.

        Later calls of other methods raise UnavailableError.
        """
        for pool in (self._append_pool, self._lease_pool, self._pool):
            pool.close()
        await trio.lowlevel.checkpoint()

    async def create_room(self, room: RoomInfo, key_hash: bytes) -> None:
        await self._pool.fetch(statements.CREATE_ROOM, (room.id, room.name, key_hash))

    async def get_rooms(self, room_ids: Collection[RoomId]) -> dict[RoomId, RoomInfo]:
        rows = await self._pool.fetch(statements.GET_ROOMS, (list(room_ids),))
        return {room_id: RoomInfo(room_id, name, head) for room_id, name, head in rows}

    async def delete_room(self, room_id: RoomId, key_hash: bytes) -> None:
        """Remove the room; see the port.

        Spends about a second on deleting the messages. `remove_stale_rooms` deletes what is
        left; until then those messages occupy space, but nobody can read them.
        """
        deadline = trio.current_time() + CALL_TIMEOUT
        params = {"id": room_id, "key_hash": key_hash}
        for gone, right_key in await self._pool.fetch(statements.DELETE_ROOM, params):
            if gone:
                await self._sweep(self._pool, deadline)
                return
            if not right_key:
                raise WrongKeyError
        raise RoomNotFoundError

    async def get_members(self, room_id: RoomId) -> list[Identity]:
        rows = await self._pool.fetch(statements.GET_MEMBERS, (room_id,))
        if not rows:
            raise RoomNotFoundError
        return to_identities(row for row in rows if row[0] is not None)

    async def append(self, drafts: Sequence[Draft], process_id: ProcessId) -> list[Entry | Refusal]:
        outcomes: list[Entry | Refusal | None] = [check_text(draft) for draft in drafts]
        storable = [
            draft for draft, refusal in zip(drafts, outcomes, strict=True) if refusal is None
        ]
        stored = iter(await self._append(storable, process_id))
        return [next(stored) if outcome is None else outcome for outcome in outcomes]

    async def _append(
        self, drafts: Sequence[Draft], process_id: ProcessId
    ) -> list[Entry | Refusal]:
        if not drafts:
            await trio.lowlevel.checkpoint()
            return []
        params = [process_id.encode(), *to_arrays(drafts)]
        try:
            rows = await self._append_pool.run(
                lambda connection: connection.fetch_prepared(statements.APPEND, params)
            )
        except RejectedError as error:
            if len(drafts) == 1:
                return [error]
            # At least one draft is at fault, perhaps because of a character that the
            # database's encoding lacks. Halving finds those with few commits: a client can do
            # this on purpose, and others wait meanwhile.
            middle = len(drafts) // 2
            return [
                *await self._append(drafts[:middle], process_id),
                *await self._append(drafts[middle:], process_id),
            ]
        return list(map(to_outcome, drafts, rows))

    async def read(self, room_id: RoomId, *, after: int, limit: int, max_bytes: int) -> list[Entry]:
        params = {"id": room_id, "after": after, "limit": limit, "max_bytes": max_bytes}
        rows = await self._pool.fetch(statements.READ, params)
        if not rows:
            raise RoomNotFoundError
        return [to_entry(room_id, row) for row in rows if row[0] is not None]

    async def find(self, room_id: RoomId, message_id: MessageId) -> int:
        rows = await self._pool.fetch(statements.FIND, (message_id, room_id))
        if not rows:
            raise RoomNotFoundError
        seq: int | None = rows[0][0]
        if seq is None:
            raise MessageNotFoundError
        return seq

    async def remove_stale_rooms(
        self, age: float, unjoined_age: float | None = None
    ) -> list[RoomId]:
        """Remove stale rooms, for half of the time limit of a call; see the port.

        Then spends about a second on deleting messages of removed rooms.
        """
        removed: list[RoomId] = []
        start = trio.current_time()
        deadline = start + CALL_TIMEOUT
        work = [(statements.REMOVE_STALE_ROOMS, age)]
        if unjoined_age is not None:
            work.append((statements.REMOVE_UNJOINED_ROOMS, unjoined_age))
        while work and trio.current_time() < start + CALL_TIMEOUT / 2:
            statement, least_age = work[-1]
            rows = await self._lease_pool.fetch(
                statement,
                (least_age, _STALE_ROOMS_PER_QUERY),
                timeout=deadline - trio.current_time(),
            )
            removed += [room_id for (room_id,) in rows]
            if len(rows) < _STALE_ROOMS_PER_QUERY:
                work.pop()
        await self._sweep(self._lease_pool, deadline)
        return removed

    async def open_lease(self, process_id: ProcessId) -> None:
        await self._lease_pool.fetch(statements.OPEN_LEASE, (process_id,))

    async def renew_lease(self, process_id: ProcessId) -> Mapping[ProcessId, int]:
        rows = await self._lease_pool.fetch(statements.RENEW_LEASE, {"id": process_id})
        if not rows:
            raise LeaseLostError
        return dict(rows)

    async def end_lease(self, process_id: ProcessId, renewal: int | None = None) -> bool:
        params = {"id": process_id, "renewal": renewal}
        return bool(await self._lease_pool.fetch(statements.END_LEASE, params))

    async def get_orphans(self) -> list[Present]:
        rows = await self._lease_pool.fetch(statements.GET_ORPHANS)
        return [Present(room_id, Identity(id_, name)) for room_id, id_, name in rows]

    async def get_members_of(self, process_id: ProcessId) -> list[Present]:
        rows = await self._lease_pool.fetch(statements.GET_MEMBERS_OF, (process_id,))
        return [Present(room_id, Identity(id_, name)) for room_id, id_, name in rows]

    async def check(self) -> None:
        deadline = trio.current_time() + _CHECK_TIMEOUT
        rows = await self._pool.fetch(statements.CHECK, timeout=_CHECK_TIMEOUT)
        if rows and rows[0][0]:
            raise UnavailableError("The database is read-only.")
        if self._health.disk_full:
            # Reading works on a full disk, and so do some changes.
            await self._pool.run(_write_to_disk, timeout=deadline - trio.current_time())
            self._health.disk_full = False

    async def _sweep(self, pool: Pool, deadline: float) -> None:
        """Delete messages of removed rooms for about a second, and never beyond `deadline`.

        Does not raise UnavailableError: a later call deletes what is left.
        """
        # The last query has a second, so that its timeout does not come from having begun late.
        stop_at = min(trio.current_time(), deadline - 2 * _SWEEP_TIME) + _SWEEP_TIME
        with suppress(UnavailableError):
            while (now := trio.current_time()) < stop_at:
                rows = await pool.fetch(statements.SWEEP, (_SWEEP_SIZE,), timeout=deadline - now)
                ((more,),) = rows
                if not more:
                    return


async def _write_to_disk(connection: TrioConnection[Row]) -> None:
    """Make the server write a temporary file. Raises DiskFull if there is no space for it."""
    async with connection.transaction():
        await connection.execute(statements.LIMIT_MEMORY)
        await connection.execute(statements.SORT_ON_DISK)
