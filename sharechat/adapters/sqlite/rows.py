"""Conversion between the domain's values and SQLite's."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sharechat.domain.errors import RejectedError
from sharechat.domain.ids import MemberId, MessageId, RoomId
from sharechat.domain.messages import Draft, Entry, Identity, Message, MessageType
from sharechat.domain.ports import Present

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_TYPES = {type_.value: type_ for type_ in MessageType}

ENTRY_COLUMNS = "m.seq, m.id, m.member_id, m.member_name, m.type, m.text, m.sent"
"""The columns that `to_entry` takes, of `messages` under the name `m`."""


def to_blob(id_: str) -> bytes:
    return bytes.fromhex(id_.replace("-", ""))


def to_id(blob: bytes) -> str:
    h = blob.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def to_microseconds(when: datetime) -> int:
    return (when - _EPOCH) // _MICROSECOND


def to_datetime(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def to_entry(room_id: RoomId, row: Sequence[Any]) -> Entry:
    """Return the entry of a row that has ENTRY_COLUMNS."""
    seq, id_, member_id, member_name, type_, text, sent = row
    message = Message(
        MessageId(to_id(id_)),
        room_id,
        MemberId(to_id(member_id)),
        member_name,
        _TYPES[type_],
        text,
        to_datetime(sent),
    )
    return Entry(seq, message)


def to_identity(id_: bytes, name: str) -> Identity:
    return Identity(MemberId(to_id(id_)), name)


def to_present(rows: Iterable[Sequence[Any]]) -> list[Present]:
    """Return the members of rows that consist of the room's id, the member's id and its name."""
    return [Present(RoomId(to_id(room)), to_identity(id_, name)) for room, id_, name in rows]


def check_text(draft: Draft) -> RejectedError | None:
    """Return why the draft's text cannot be stored, or None if it can."""
    for text in (draft.text, draft.member.name):
        if "\0" in text:
            return RejectedError("A message cannot contain a NUL character.")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                return RejectedError("A message cannot contain an unpaired surrogate.")
    return None
