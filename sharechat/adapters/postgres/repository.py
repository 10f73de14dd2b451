"""The Repository over PostgreSQL; `sharechat.domain.ports` says what each method promises."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

import trio

from sharechat.adapters.postgres import statements
from sharechat.adapters.postgres.drafts import (
    to_columns,
    to_entry,
    to_identities,
    to_outcome,
    unstorable,
)
from sharechat.adapters.postgres.pool import CALL_SECONDS, Pool
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

_CHECK_SECONDS = 1.25
_ROOMS_AT_ONCE = 200
_SWEEP_AT_ONCE = 5000
_SWEEP_SECONDS = 1.0


class PostgresRepository:
    """Rooms, logs and members in a PostgreSQL database that `migrate` has set up.

    One connection is kept for `append`, which so never waits behind a reader; the other
    methods share the rest. They are made when needed, by whoever needs them, so making a
    PostgresRepository does no I/O. Every call ends within four seconds.
    """

    def __init__(self, url: str, *, connections: int = 4) -> None:
        if connections < 2:
            raise ValueError("a PostgresRepository needs two connections at least")
        self._appending = Pool(url, 1)
        self._pool = Pool(url, connections - 1)

    async def aclose(self) -> None:
        """Close the connections, also when cancelled. May be called twice.

        What is called afterwards raises UnavailableError.
        """
        self._appending.close()
        self._pool.close()
        await trio.lowlevel.checkpoint()

    async def create_room(self, room: RoomInfo, key_hash: bytes) -> None:
        await self._pool.fetch(statements.CREATE_ROOM, (room.id, room.name, key_hash))

    async def get_room(self, room_id: RoomId) -> RoomInfo:
        for name, head in await self._pool.fetch(statements.GET_ROOM, (room_id,)):
            return RoomInfo(room_id, name, head)
        raise RoomNotFoundError

    async def delete_room(self, room_id: RoomId, key_hash: bytes) -> None:
        """The messages go at once as far as a second suffices, then by `remove_stale_rooms`.

        Nobody can see them any more either way.
        """
        end = trio.current_time() + CALL_SECONDS
        params = {"id": room_id, "key_hash": key_hash}
        for gone, right_key in await self._pool.fetch(statements.DELETE_ROOM, params):
            if gone:
                await self._sweep(end)
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
        outcomes: list[Entry | Refusal | None] = [unstorable(draft) for draft in drafts]
        storable = [draft for draft, why in zip(drafts, outcomes, strict=True) if why is None]
        stored = iter(await self._append(storable, process_id))
        return [next(stored) if outcome is None else outcome for outcome in outcomes]

    async def _append(
        self, drafts: Sequence[Draft], process_id: ProcessId
    ) -> list[Entry | Refusal]:
        if not drafts:
            await trio.lowlevel.checkpoint()
            return []
        params = [process_id.encode(), *to_columns(drafts)]
        try:
            rows = await self._appending.run(
                lambda connection: connection.fetch_prepared(statements.APPEND, params)
            )
        except RejectedError as error:
            if len(drafts) == 1:
                return [error]
            # Something in one of them, such as a character that the database's encoding
            # lacks. Each by itself, so that the others are not refused for its sake.
            return [
                outcome for draft in drafts for outcome in await self._append([draft], process_id)
            ]
        return list(map(to_outcome, drafts, rows))

    async def read(self, room_id: RoomId, *, after: int, limit: int) -> list[Entry]:
        params = {"id": room_id, "after": after, "limit": limit}
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

    async def get_heads(self, room_ids: Collection[RoomId]) -> dict[RoomId, int]:
        return dict(await self._pool.fetch(statements.GET_HEADS, (list(room_ids),)))

    async def remove_stale_rooms(self, age: float) -> list[RoomId]:
        """If there are very many, those for which half of a call's time suffices."""
        removed: list[RoomId] = []
        start = trio.current_time()
        end = start + CALL_SECONDS
        while trio.current_time() < start + CALL_SECONDS / 2:
            rows = await self._pool.fetch(
                statements.REMOVE_STALE_ROOMS,
                (age, _ROOMS_AT_ONCE),
                seconds=end - trio.current_time(),
            )
            removed += [room_id for (room_id,) in rows]
            if len(rows) < _ROOMS_AT_ONCE:
                break
        await self._sweep(end)
        return removed

    async def open_lease(self, process_id: ProcessId) -> None:
        await self._pool.fetch(statements.OPEN_LEASE, (process_id,))

    async def renew_lease(self, process_id: ProcessId) -> Mapping[ProcessId, int]:
        rows = await self._pool.fetch(statements.RENEW_LEASE, {"id": process_id})
        if not rows:
            raise LeaseLostError
        return dict(rows)

    async def end_lease(self, process_id: ProcessId, renewal: int | None = None) -> bool:
        params = {"id": process_id, "renewal": renewal}
        return bool(await self._pool.fetch(statements.END_LEASE, params))

    async def get_orphans(self) -> list[Present]:
        rows = await self._pool.fetch(statements.GET_ORPHANS)
        return [Present(room_id, Identity(id_, name)) for room_id, id_, name in rows]

    async def get_members_of(self, process_id: ProcessId) -> list[Present]:
        rows = await self._pool.fetch(statements.GET_MEMBERS_OF, (process_id,))
        return [Present(room_id, Identity(id_, name)) for room_id, id_, name in rows]

    async def check(self) -> None:
        rows = await self._pool.fetch(statements.CHECK, seconds=_CHECK_SECONDS)
        if rows and rows[0][0]:
            raise UnavailableError("The database takes no changes.")

    async def _sweep(self, end: float) -> None:
        """Delete messages of removed rooms for about a second, and in no case beyond `end`.

        Does not raise UnavailableError: what is left is swept another time.
        """
        until = min(trio.current_time() + _SWEEP_SECONDS, end)
        with suppress(UnavailableError):
            while (now := trio.current_time()) < until:
                params = (_SWEEP_AT_ONCE,)
                ((more,),) = await self._pool.fetch(statements.SWEEP, params, seconds=end - now)
                if not more:
                    return
