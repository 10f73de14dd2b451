"""Reading the log of a room. Each function works within a transaction of its caller's."""

import sqlite3

from sharechat.adapters.sqlite.rows import ENTRY_COLUMNS, to_blob, to_entry
from sharechat.domain.errors import MessageNotFoundError, RoomNotFoundError
from sharechat.domain.ids import MessageId, RoomId
from sharechat.domain.messages import Entry, to_json

# A LEFT JOIN returns one row of nulls for a room without such messages, and no row if there is no
# such room. In one statement, so that a room that is removed meanwhile is read as it was.
_READ = f"""
SELECT {ENTRY_COLUMNS} FROM rooms r LEFT JOIN messages m ON m.rid = r.rid AND m.seq > ?
WHERE r.id = ? ORDER BY m.seq LIMIT ?
"""  # noqa: S608

_FIND = """
SELECT m.seq FROM rooms r LEFT JOIN messages m ON m.id = ? AND m.rid = r.rid WHERE r.id = ?
"""


def read(
    connection: sqlite3.Connection, room_id: RoomId, after: int, limit: int, max_bytes: int
) -> list[Entry]:
    """Raises RoomNotFoundError."""
    cursor = connection.execute(_READ, (after, to_blob(room_id), max(limit, 1)))
    page: list[Entry] = []
    size = 0
    try:
        row = cursor.fetchone()
        if row is None:
            raise RoomNotFoundError
        while row is not None and row[0] is not None and len(page) < limit:
            entry = to_entry(room_id, row)
            size += len(to_json(entry.message))
            if page and size > max_bytes:
                break
            page.append(entry)
            row = cursor.fetchone()
    finally:
        # Until then the connection sees the database as it was.
        cursor.close()
    return page


def find(connection: sqlite3.Connection, room_id: RoomId, message_id: MessageId) -> int:
    """Raises RoomNotFoundError and MessageNotFoundError."""
    row = connection.execute(_FIND, (to_blob(message_id), to_blob(room_id))).fetchone()
    if row is None:
        raise RoomNotFoundError
    seq: int | None = row[0]
    if seq is None:
        raise MessageNotFoundError
    return seq
