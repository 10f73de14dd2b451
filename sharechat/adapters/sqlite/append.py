"""Appending drafts to the logs of their rooms: judged one by one, written together."""

import sqlite3
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from sharechat.adapters.sqlite.rows import (
    ENTRY_COLUMNS,
    check_text,
    to_blob,
    to_datetime,
    to_entry,
)
from sharechat.adapters.sqlite.space import Space
from sharechat.domain.errors import (
    LeaseLostError,
    NoSpaceError,
    NotAMemberError,
    RoomNotFoundError,
)
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Draft, Entry, MessageType, stamp
from sharechat.domain.ports import Refusal

_OLD = f"SELECT {ENTRY_COLUMNS} FROM messages m WHERE m.id = ? AND m.rid = ?"  # noqa: S608

# CROSS: each draft is looked up by the index, and the index never searched for all drafts.
_WHICH_ARE_STORED = """
SELECT m.id, m.rid FROM d CROSS JOIN messages m ON m.id = d.id AND m.rid = d.rid
"""

_IDS_AT_ONCE = 512
"""Ids that are looked up by one statement: far fewer steps than one statement for each."""

_ROOM = """
SELECT r.rid, r.created_at, r.active_at, m.seq, m.sent FROM rooms r LEFT JOIN messages m
ON m.rid = r.rid AND m.seq = (SELECT max(seq) FROM messages l WHERE l.rid = r.rid)
WHERE r.id = ?
"""

_ACTIVE_EVERY = 60_000_000
"""Microseconds of talk after which a room's row says so again."""

_INSERT = """
INSERT INTO messages (rid, seq, id, member_id, member_name, type, text, sent)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""

_COME = "INSERT OR REPLACE INTO members (rid, id, name, process_id, joined) VALUES (?, ?, ?, ?, ?)"


class _Room:
    """A room as it becomes in the course of the call."""

    __slots__ = ("active_at", "entries", "head", "last_sent", "members", "rid")

    def __init__(
        self,
        rid: int,
        created_at: int,
        active_at: int | None,
        head: int | None,
        last_sent: int | None,
    ) -> None:
        self.rid = rid
        self.active_at = active_at
        self.head = head or 0
        self.last_sent = created_at if last_sent is None else last_sent
        self.members: dict[str, bool] = {}
        """Whether those who have been looked up are members."""
        self.entries: dict[str, Entry] = {}
        """What has been added, by the ids of the messages."""

    @property
    def woke(self) -> bool:
        """Whether something has been added that the room's row has to tell of."""
        since = self.active_at
        return bool(self.entries) and (since is None or self.last_sent >= since + _ACTIVE_EVERY)


class Append:
    """One call of `append`, within a transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        process_id: str,
        lives: Callable[[], bool],
        now: int,
        max_bytes: float,
    ) -> None:
        self._connection = connection
        self._process_id = to_blob(process_id)
        self._lives = lives
        self._now = now
        self._space = Space(connection, max_bytes)
        # Which of the drafts are stored already, by id and room.
        self._stored: set[tuple[bytes, int]] = set()
        self._rooms: dict[RoomId, _Room | None] = {}
        self._messages: list[tuple[Any, ...]] = []
        # By room and member, what is to become of the membership; None ends it.
        self._memberships: dict[tuple[int, bytes], tuple[Any, ...] | None] = {}

    def run(self, drafts: Sequence[Draft]) -> list[Entry | Refusal]:
        """Raises sqlite3.Error, and then some of the drafts may have been stored."""
        self._look_up(drafts)
        outcomes = list(map(self._judge, drafts))
        self._write()
        return outcomes

    def _look_up(self, drafts: Sequence[Draft]) -> None:
        rooms = ((draft, self._find_room(draft.room_id)) for draft in drafts)
        keys = [(to_blob(draft.id), room.rid) for draft, room in rooms if room]
        for start in range(0, len(keys), _IDS_AT_ONCE):
            some = keys[start : start + _IDS_AT_ONCE]
            # A power of two, so that there are few statements to prepare.
            size = 1 << (len(some) - 1).bit_length()
            some += some[-1:] * (size - len(some))
            places = ", ".join(["(?, ?)"] * size)
            self._stored.update(
                self._connection.execute(
                    f"WITH d (id, rid) AS (VALUES {places}) {_WHICH_ARE_STORED}",
                    list(chain.from_iterable(some)),
                )
            )

    def _judge(self, draft: Draft) -> Entry | Refusal:
        room = self._find_room(draft.room_id)
        if room is None:
            return RoomNotFoundError()
        if old := self._find_entry(room, draft):
            return old
        refusal = check_text(draft) or self._find_objection(room, draft)
        return self._add(room, draft) if refusal is None else refusal

    def _find_room(self, room_id: RoomId) -> _Room | None:
        if room_id not in self._rooms:
            row = self._connection.execute(_ROOM, (to_blob(room_id),)).fetchone()
            self._rooms[room_id] = row and _Room(*row)
        return self._rooms[room_id]

    def _find_entry(self, room: _Room, draft: Draft) -> Entry | None:
        """Return the entry that the draft became before."""
        if draft.id in room.entries:
            return room.entries[draft.id]
        id_ = to_blob(draft.id)
        if (id_, room.rid) not in self._stored:
            return None
        row = self._connection.execute(_OLD, (id_, room.rid)).fetchone()
        return row and to_entry(draft.room_id, row)

    def _find_objection(self, room: _Room, draft: Draft) -> Refusal | None:
        """Return why the draft, whose text can be stored, is not stored."""
        if draft.type is MessageType.JOINED:
            if not self._lives():
                return LeaseLostError()
            has_space = self._space.take_for_member(draft.text)
        elif not self._is_member(room, draft):
            return NotAMemberError()
        else:
            has_space = draft.type is MessageType.LEFT or self._space.take_for_talk(draft.text)
        if has_space:
            return None
        return NoSpaceError()

    def _is_member(self, room: _Room, draft: Draft) -> bool:
        id_ = draft.member.id
        if id_ not in room.members:
            row = self._connection.execute(
                "SELECT 1 FROM members WHERE rid = ? AND id = ?", (room.rid, to_blob(id_))
            ).fetchone()
            room.members[id_] = row is not None
        return room.members[id_]

    def _add(self, room: _Room, draft: Draft) -> Entry:
        room.head += 1
        room.last_sent = max(room.last_sent, self._now)
        member, member_id = draft.member, to_blob(draft.member.id)
        row = (room.rid, room.head, to_blob(draft.id), member_id, member.name)
        self._messages.append((*row, draft.type.value, draft.text, room.last_sent))
        if draft.type is not MessageType.CHAT:
            joins = draft.type is MessageType.JOINED
            room.members[member.id] = joins
            self._memberships[room.rid, member_id] = (
                (room.rid, member_id, member.name, self._process_id, room.head) if joins else None
            )
        entry = Entry(room.head, stamp(draft, to_datetime(room.last_sent)))
        room.entries[draft.id] = entry
        return entry

    def _write(self) -> None:
        execute_many = self._connection.executemany
        # In the order of the table, so that neighbours go to the same page one after the other.
        execute_many(_INSERT, sorted(self._messages))
        execute_many(
            "UPDATE rooms SET active_at = ? WHERE rid = ?",
            [(room.last_sent, room.rid) for room in self._rooms.values() if room and room.woke],
        )
        memberships = self._memberships
        gone = [who for who, membership in memberships.items() if membership is None]
        come = [membership for membership in memberships.values() if membership is not None]
        execute_many("DELETE FROM members WHERE rid = ? AND id = ?", gone)
        execute_many(_COME, come)
