"""Drafts on their way into the database and entries on their way out."""

from collections.abc import Iterable, Sequence
from typing import Any

from sharechat.errors import (
    LeaseLostError,
    NotAMemberError,
    RejectedError,
    RoomNotFoundError,
)
from sharechat.messages import Draft, Entry, Identity, Message, MessageType, RoomId, stamp
from sharechat.ports import Refusal

_REFUSALS: dict[str, type[RoomNotFoundError | LeaseLostError | NotAMemberError]] = {
    "room": RoomNotFoundError,
    "lease": LeaseLostError,
    "member": NotAMemberError,
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


def to_columns(drafts: Sequence[Draft]) -> list[str]:
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


def _ids(ids: Iterable[str]) -> str:
    return "{" + ",".join(ids) + "}"


def _texts(texts: Iterable[str]) -> str:
    escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return '{"' + '","'.join(escaped) + '"}'


def to_outcome(draft: Draft, row: Sequence[Any]) -> Entry | Refusal:
    """Return what a row that `append` returned says of its draft."""
    outcome, seq, sent, member_id, member_name, type_, text = row
    if outcome == "new":
        return Entry(seq, stamp(draft, sent))
    if outcome == "stored":
        stored = (seq, draft.id, member_id, member_name, type_, text, sent)
        return to_entry(draft.room_id, stored)
    return _REFUSALS[outcome]()


def to_entry(room_id: RoomId, row: Sequence[Any]) -> Entry:
    """Return an entry from the columns that `READ` selects."""
    seq, id_, member_id, member_name, type_, text, sent = row
    return Entry(seq, Message(id_, room_id, member_id, member_name, MessageType(type_), text, sent))


def to_identities(rows: Iterable[Sequence[Any]]) -> list[Identity]:
    return [Identity(id_, name) for id_, name in rows]
