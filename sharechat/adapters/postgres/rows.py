"""Drafts on their way into the database and entries on their way out."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sharechat.domain.errors import (
    LeaseLostError,
    NotAMemberError,
    RejectedError,
    RoomNotFoundError,
)
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Draft, Entry, Identity, Message, MessageType, stamp
from sharechat.domain.ports import Refusal

_REFUSALS: dict[bytes | None, type[RoomNotFoundError | LeaseLostError | NotAMemberError]] = {
    b"room": RoomNotFoundError,
    b"lease": LeaseLostError,
    b"member": NotAMemberError,
}


def unstorable(draft: Draft) -> RejectedError | None:
    """Return why no database could take the draft's text, or None."""
    for text in (draft.text, draft.member.name):
        if "\0" in text:
            return RejectedError("A message cannot hold a NUL character.")
        try:
            text.encode()
        except UnicodeEncodeError:
            return RejectedError("A message cannot hold half a surrogate pair.")
    return None


def to_columns(drafts: Sequence[Draft]) -> list[bytes]:
    """Return the drafts as the arrays that the function `append` takes, after the process.

    As array literals, to be bound like any value: psycopg's conversion of lists, element by
    element, takes longer than the database takes to store them.
    """
    return [
        _ids(draft.room_id for draft in drafts),
        _ids(draft.id for draft in drafts),
        _ids(draft.member.id for draft in drafts),
        _texts(draft.member.name for draft in drafts),
        _texts(draft.type for draft in drafts),
        _texts(draft.text for draft in drafts),
    ]


def _ids(ids: Iterable[str]) -> bytes:
    return ("{" + ",".join(ids) + "}").encode()


def _texts(texts: Iterable[str]) -> bytes:
    escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return ('{"' + '","'.join(escaped) + '"}').encode()


def to_outcome(draft: Draft, row: Sequence[bytes | None]) -> Entry | Refusal:
    """Return what a row that `append` returned, in text form, says of its draft."""
    outcome, seq, sent = row[:3]
    if refusal := _REFUSALS.get(outcome):
        return refusal()
    assert seq is not None
    assert sent is not None
    when = datetime.fromisoformat(sent.decode())
    if outcome == b"new":
        return Entry(int(seq), stamp(draft, when))
    member_id, member_name, type_, text = [value and value.decode() for value in row[3:]]
    stored = (int(seq), draft.id, member_id, member_name, type_, text or "", when)
    return to_entry(draft.room_id, stored)


def to_entry(room_id: RoomId, row: Sequence[Any]) -> Entry:
    """Return an entry from the columns that `READ` selects."""
    seq, id_, member_id, member_name, type_, text, sent = row
    return Entry(seq, Message(id_, room_id, member_id, member_name, MessageType(type_), text, sent))


def to_identities(rows: Iterable[Sequence[Any]]) -> list[Identity]:
    return [Identity(id_, name) for id_, name in rows]
