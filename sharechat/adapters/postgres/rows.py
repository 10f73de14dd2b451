"""Conversion from drafts to PostgreSQL's parameters, and from its rows to entries."""

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
"""What each refusal that the SQL function `append` returns means."""


def check_text(draft: Draft) -> RejectedError | None:
    """Return why PostgreSQL could not store the draft's text, or None if it could."""
    for text in (draft.text, draft.member.name):
        if "\0" in text:
            return RejectedError("A message cannot contain a NUL character.")
        try:
            text.encode()
        except UnicodeEncodeError:
            return RejectedError("A message cannot contain an unpaired surrogate.")
    return None


def to_arrays(drafts: Sequence[Draft]) -> list[bytes]:
    """Return the array parameters of the SQL function `append`, in its order.

    They follow the process's id. Each is an array literal, to be sent as an ordinary text
    parameter: psycopg's own conversion of lists, element by element, takes longer than the
    database takes to store the drafts.
    """
    return [
        _id_array(draft.room_id for draft in drafts),
        _id_array(draft.id for draft in drafts),
        _id_array(draft.member.id for draft in drafts),
        _text_array(draft.member.name for draft in drafts),
        _text_array(draft.type for draft in drafts),
        _text_array(draft.text for draft in drafts),
    ]


def _id_array(ids: Iterable[str]) -> bytes:
    return ("{" + ",".join(ids) + "}").encode()


def _text_array(texts: Iterable[str]) -> bytes:
    escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return ('{"' + '","'.join(escaped) + '"}').encode()


def to_outcome(draft: Draft, row: Sequence[bytes | None]) -> Entry | Refusal:
    """Return what became of `draft`, given the row of `append` in PostgreSQL's text format."""
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
    """Return the entry of a row that the statement `READ` returned."""
    seq, id_, member_id, member_name, type_, text, sent = row
    return Entry(seq, Message(id_, room_id, member_id, member_name, MessageType(type_), text, sent))


def to_identities(rows: Iterable[Sequence[Any]]) -> list[Identity]:
    """Return the members of rows that consist of an id and a name."""
    return [Identity(id_, name) for id_, name in rows]
