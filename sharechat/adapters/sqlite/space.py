"""How much of the file is in use, and what there still is space for."""

import sqlite3
from math import ceil, inf

_ROOM_COST = 400
_MEMBER_COST = 500
"""With the `left` that is to come."""

_ENTRY_COST = 200
"""Without its text. All of these are bytes, rounded up: pages are never quite full."""

_PAGE = 4096
_TEXT_IN_ROW = 700
"""A longer text has pages of its own."""

_RESERVED = 1 / 16
"""The part of the file that only those who join and leave may use.

So a room that can take no more messages can still be joined and read.
"""


class Space:
    """The space that is left in the present transaction, out of `max_bytes`.

    Pages that removed rooms and messages have left are free. A `left` needs no leave.
    """

    def __init__(self, connection: sqlite3.Connection, max_bytes: float) -> None:
        self._joins = inf if max_bytes == inf else max_bytes - used_bytes(connection)
        self._talk = self._joins - max_bytes * _RESERVED if max_bytes < inf else inf

    def take_for_room(self) -> bool:
        """Return whether there is space for a room, which is counted from then on."""
        return self._take(_ROOM_COST, self._talk)

    def take_for_talk(self, text: str) -> bool:
        """The same for a message with this text."""
        return self._take(_entry_cost(text), self._talk)

    def take_for_member(self, text: str) -> bool:
        """The same for a member, whose `joined` has this text."""
        return self._take(_MEMBER_COST + 2 * _entry_cost(text), self._joins)

    def _take(self, cost: int, available: float) -> bool:
        if cost > available:
            return False
        self._talk -= cost
        self._joins -= cost
        return True


def _entry_cost(text: str) -> int:
    size = len(text) if text.isascii() else len(text.encode())
    if size > _TEXT_IN_ROW:
        size = _TEXT_IN_ROW + _PAGE * ceil(size / _PAGE)
    return _ENTRY_COST + size


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return how many bytes of the file are in use."""
    ((size, pages, free),) = connection.execute(
        "SELECT page_size, page_count, freelist_count"
        " FROM pragma_page_size, pragma_page_count, pragma_freelist_count"
    )
    used: int = size * (pages - free)
    return used
