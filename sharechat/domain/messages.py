"""The values that the whole system handles: messages, the log they form, members, rooms."""

import enum
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import msgspec

from sharechat.domain.ids import MemberId, MessageId, RoomId


class MessageType(enum.StrEnum):
    CHAT = "chat"
    JOINED = "joined"
    LEFT = "left"
    FAILED = "failed"
    """Sent to the author alone, and never stored."""


UUID = msgspec.Meta(extra_json_schema={"format": "uuid"})
"""For a field of an id: how schemas describe it. What is decoded is not checked for it."""


class Identity(msgspec.Struct, frozen=True, gc=False):
    """Who a member is for as long as its connection lasts."""

    id: Annotated[MemberId, UUID]
    name: str


class RoomInfo(msgspec.Struct, frozen=True, gc=False):
    """A room as the Repository knows it; `head` is the seq of its newest entry, 0 if none."""

    id: RoomId
    name: str
    head: int = 0


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A message before it is stored. It has its id already, so storing it can be retried."""

    id: MessageId
    room_id: RoomId
    member: Identity
    type: MessageType
    text: str


class Message(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={
        "room_id": "roomId",
        "member_id": "memberId",
        "member_name": "memberName",
        "text": "message",
    },
):
    """A message exactly as a client sees it."""

    id: Annotated[MessageId, UUID]
    room_id: Annotated[RoomId, UUID]
    member_id: Annotated[MemberId, UUID]
    member_name: str
    type: Annotated[
        MessageType,
        msgspec.Meta(description="`failed` tells the author alone that a message was not stored."),
    ]
    text: Annotated[
        str, msgspec.Meta(description="What was said; except for `chat`, what happened.")
    ]
    sent: Annotated[
        datetime,
        msgspec.Meta(description="In UTC.", extra_json_schema={"format": "date-time"}),
    ]


class Welcome(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename="camel",
    tag_field="type",
    tag="welcome",
):
    """Tells a client of `sharechat.v1` which room it is in, and who it is."""

    room_id: RoomId
    room_name: str
    member_id: MemberId
    member_name: str


class Entry(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A stored message and its place in the room's log: `seq` counts from 1 without gaps."""

    seq: int
    message: Message


to_json: Callable[[object], bytes] = msgspec.json.Encoder().encode


def joined(id_: MessageId, room_id: RoomId, member: Identity) -> Draft:
    return Draft(id_, room_id, member, MessageType.JOINED, f"{member.name} joined the room.")


def left(id_: MessageId, room_id: RoomId, member: Identity) -> Draft:
    return Draft(id_, room_id, member, MessageType.LEFT, f"{member.name} left the room.")


def chat(id_: MessageId, room_id: RoomId, member: Identity, text: str) -> Draft:
    return Draft(id_, room_id, member, MessageType.CHAT, text)


def failed(draft: Draft, reason: str, when: datetime) -> Message:
    """Return the message that tells the author of `draft` why it could not be stored."""
    return stamp(draft, when, type_=MessageType.FAILED, text=reason)


def stamp(
    draft: Draft, sent: datetime, *, type_: MessageType | None = None, text: str | None = None
) -> Message:
    """Return `draft` as the message that clients see, sent at `sent` (UTC)."""
    return Message(
        draft.id,
        draft.room_id,
        draft.member.id,
        draft.member.name,
        type_ or draft.type,
        draft.text if text is None else text,
        sent,
    )
