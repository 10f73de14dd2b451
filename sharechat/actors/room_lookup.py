"""Looking up rooms: one query for all that are asked for at the same time."""

import trio

from sharechat.domain.errors import RoomNotFoundError, UnavailableError
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import RoomInfo
from sharechat.domain.ports import Repository

_MAX_ROOMS = 1_000
"""Rooms in one query."""


class _Query:
    """A query that one task makes for all that wait for `ended`.

    It has neither rooms nor an error if that task was cancelled or failed.
    """

    __slots__ = ("ended", "error", "room_ids", "rooms")

    def __init__(self) -> None:
        self.room_ids: set[RoomId] = set()
        self.rooms: dict[RoomId, RoomInfo] | None = None
        self.error: UnavailableError | None = None
        self.ended = trio.Event()


class RoomLookup:
    """Makes one query at a time. What is asked for meanwhile is one query again.

    When everybody comes back at once, after a restart, thousands ask within moments. With a
    query for each they would wait longer for a connection than the Repository lets them.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._turn = trio.Lock()
        # The query that more rooms can still be added to.
        self._next: _Query | None = None

    async def get_room(self, room_id: RoomId) -> RoomInfo:
        """Return a room as it is stored, never as it was before the call.

        Raises RoomNotFoundError and UnavailableError. If cancelled, others who asked at the same
        time get their answers all the same.
        """
        while True:
            query = self._next
            if query is None or len(query.room_ids) >= _MAX_ROOMS:
                query = self._next = _Query()
                query.room_ids.add(room_id)
                await self._make(query)
            else:
                query.room_ids.add(room_id)
                await query.ended.wait()
            if query.error is not None:
                raise UnavailableError(str(query.error)) from query.error
            if query.rooms is not None:
                try:
                    return query.rooms[room_id]
                except KeyError:
                    raise RoomNotFoundError from None

    async def _make(self, query: _Query) -> None:
        try:
            async with self._turn:
                self._close(query)
                query.rooms = await self._repository.get_rooms(query.room_ids)
        except UnavailableError as error:
            query.error = error
        finally:
            self._close(query)
            query.ended.set()

    def _close(self, query: _Query) -> None:
        """Let those who ask from now on wait for another query."""
        if self._next is query:
            self._next = None
