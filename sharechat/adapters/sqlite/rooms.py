"""Rooms and members. Each function works within a transaction of its caller's."""

import hmac
import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from sharechat.adapters.sqlite.rows import to_blob, to_id, to_identity, to_present
from sharechat.adapters.sqlite.space import Space
from sharechat.domain.errors import FullError, RoomNotFoundError, WrongKeyError
from sharechat.domain.ids import ProcessId, RoomId
from sharechat.domain.messages import Identity, RoomInfo
from sharechat.domain.ports import Present

_MAX_ORPHANS = 1000
"""How many orphans `get_orphans` returns at most, as the port says."""

_IDS_IN_A_STATEMENT = 500

_HEAD = """
ifnull((SELECT seq FROM messages m WHERE m.rid = r.rid ORDER BY seq DESC LIMIT 1), 0)
"""

_SWEPT_AT_ONCE = 1000
"""Messages, or rooms without any, that one call of `sweep` deletes."""


def create_room(
    connection: sqlite3.Connection, room: RoomInfo, key_hash: bytes, now: int, max_bytes: float
) -> None:
    """Raises FullError."""
    id_ = to_blob(room.id)
    if connection.execute("SELECT 1 FROM rooms WHERE id = ?", (id_,)).fetchone():
        return
    if not Space(connection, max_bytes).take_for_room():
        raise FullError
    connection.execute(
        "INSERT INTO rooms (id, name, key_hash, created_at) VALUES (?, ?, ?, ?)",
        (id_, room.name, key_hash, now),
    )


def get_rooms(
    connection: sqlite3.Connection, room_ids: Collection[RoomId]
) -> dict[RoomId, RoomInfo]:
    blobs = list(map(to_blob, room_ids))
    rooms: dict[RoomId, RoomInfo] = {}
    for start in range(0, len(blobs), _IDS_IN_A_STATEMENT):
        some = blobs[start : start + _IDS_IN_A_STATEMENT]
        places = ", ".join("?" * len(some))
        rows = connection.execute(
            f"SELECT id, name, {_HEAD} FROM rooms r WHERE id IN ({places})",  # noqa: S608
            some,
        )
        for id_, name, head in rows:
            room_id = RoomId(to_id(id_))
            rooms[room_id] = RoomInfo(room_id, name, head)
    return rooms


def delete_room(connection: sqlite3.Connection, room_id: RoomId, key_hash: bytes) -> None:
    """Remove a room, and leave its messages to `sweep`.

    Raises RoomNotFoundError and WrongKeyError.
    """
    row = connection.execute(
        "SELECT rid, key_hash FROM rooms WHERE id = ?", (to_blob(room_id),)
    ).fetchone()
    if row is None:
        raise RoomNotFoundError
    rid, stored_hash = row
    if not hmac.compare_digest(stored_hash, key_hash):
        raise WrongKeyError
    _remove(connection, [rid])


def get_members(connection: sqlite3.Connection, room_id: RoomId) -> list[Identity]:
    """Raises RoomNotFoundError."""
    # One row of nulls for a room without members, and no row if there is no such room.
    rows = connection.execute(
        "SELECT m.id, m.name FROM rooms r LEFT JOIN members m ON m.rid = r.rid"
        " WHERE r.id = ? ORDER BY m.joined",
        (to_blob(room_id),),
    ).fetchall()
    if not rows:
        raise RoomNotFoundError
    return [to_identity(id_, name) for id_, name in rows if id_ is not None]


def get_members_of(
    connection: sqlite3.Connection, process_id: bytes, limit: int = -1
) -> list[Present]:
    """Return the members of a process, `limit` at most unless that is negative."""
    rows = connection.execute(
        "SELECT r.id, m.id, m.name FROM members m JOIN rooms r ON r.rid = m.rid"
        " WHERE m.process_id = ? LIMIT ?",
        (process_id, limit),
    )
    return to_present(rows)


def get_orphans(
    connection: sqlite3.Connection, lives: Callable[[ProcessId], bool]
) -> list[Present]:
    """Return the members whose processes are dead."""
    orphans: list[Present] = []
    process_id = b""
    while len(orphans) < _MAX_ORPHANS:
        # The next process in the index, however many members each of them has.
        ((process_id,),) = connection.execute(
            "SELECT min(process_id) FROM members WHERE process_id > ?", (process_id,)
        )
        if process_id is None:
            break
        # Asked after it was found, since a process lives before it has members.
        if not lives(ProcessId(to_id(process_id))):
            orphans += get_members_of(connection, process_id, _MAX_ORPHANS - len(orphans))
    return orphans


class Ages(NamedTuple):
    """Rooms are stale whose last entry, or whose creation, is not later than these times."""

    last_entry: int
    unjoined: int
    """Of rooms that nobody has ever joined."""


# The last entry is looked up only if the room's row shows that it may be old enough.
_STALE = """
CASE WHEN active_at IS NULL THEN created_at <= :unjoined ELSE active_at <= :last_entry
    AND (SELECT sent FROM messages m WHERE m.rid = r.rid ORDER BY seq DESC LIMIT 1) <= :last_entry
END
AND NOT EXISTS (SELECT 1 FROM members m WHERE m.rid = r.rid)
"""


def find_stale_rooms(
    connection: sqlite3.Connection, ages: Ages, after: int, limit: int
) -> list[int]:
    """Return the rids of some stale rooms, in order, from that after `after` on."""
    rows = connection.execute(
        f"SELECT rid FROM rooms r WHERE rid > :after AND {_STALE} ORDER BY rid LIMIT :limit",  # noqa: S608
        {"after": after, "limit": limit, **ages._asdict()},
    )
    return [rid for (rid,) in rows]


def remove_if_stale(
    connection: sqlite3.Connection, ages: Ages, rids: Sequence[int]
) -> list[RoomId]:
    """Remove those of these rooms that are stale, still; return their ids."""
    rows = connection.execute(
        f"SELECT rid, id FROM rooms r WHERE rid IN (SELECT value FROM json_each(:rids)) AND {_STALE}",  # noqa: E501, S608
        {"rids": json.dumps(rids), **ages._asdict()},
    ).fetchall()
    _remove(connection, [rid for rid, _ in rows])
    return [RoomId(to_id(id_)) for _, id_ in rows]


def count_removed(connection: sqlite3.Connection) -> int:
    """Return how many removed rooms have yet to be swept."""
    ((count,),) = connection.execute("SELECT count(*) FROM removed_rooms")
    removed: int = count
    return removed


def _remove(connection: sqlite3.Connection, rids: Sequence[int]) -> None:
    removed = json.dumps(rids)
    for statement in (
        "DELETE FROM rooms WHERE rid IN (SELECT value FROM json_each(?))",
        "DELETE FROM members WHERE rid IN (SELECT value FROM json_each(?))",
        "INSERT INTO removed_rooms (rid) SELECT value FROM json_each(?)",
    ):
        connection.execute(statement, (removed,))


def sweep(connection: sqlite3.Connection) -> bool:
    """Delete some messages of removed rooms; return whether there may be more."""
    swept = 0
    while swept < _SWEPT_AT_ONCE:
        row = connection.execute("SELECT min(rid) FROM removed_rooms").fetchone()
        rid = row[0]
        if rid is None:
            return False
        left = _SWEPT_AT_ONCE - swept
        count = connection.execute(
            "DELETE FROM messages WHERE rid = :rid AND seq <= (SELECT max(seq) FROM"
            " (SELECT seq FROM messages WHERE rid = :rid ORDER BY seq LIMIT :most))",
            {"rid": rid, "most": left},
        ).rowcount
        if count < left:
            connection.execute("DELETE FROM removed_rooms WHERE rid = ?", (rid,))
        swept += max(1, count)
    return True
