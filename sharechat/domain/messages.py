"""The values that the whole system speaks of: messages, the log they form, members, rooms."""

import enum
import re
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from random import Random, SystemRandom
from typing import NewType, TypeVar, cast

import msgspec

from sharechat.domain.errors import MessageNotFoundError, RoomNotFoundError

T = TypeVar("T")

# Message ids have to differ, not to be secret; the system's randomness takes a system call.
_random = Random(SystemRandom().getrandbits(128))  # noqa: S311

RoomId = NewType("RoomId", str)
MemberId = NewType("MemberId", str)
MessageId = NewType("MessageId", str)
ProcessId = NewType("ProcessId", str)
"""Ids are UUIDs in their canonical form: 36 characters, lower case."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class MessageType(enum.StrEnum):
    CHAT = "chat"
    JOINED = "joined"
    LEFT = "left"
    FAILED = "failed"
    """Told to the sender alone; never stored."""


class Identity(msgspec.Struct, frozen=True, gc=False):
    """Who a member is, for as long as its connection lasts: JSON `{"id", "name"}`."""

    id: MemberId
    name: str


class RoomInfo(msgspec.Struct, frozen=True, gc=False):
    """A room as the Repository knows it; `head` is the seq of its newest entry, 0 if none."""

    id: RoomId
    name: str
    head: int = 0


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A message before it is stored. Its id is chosen here, so that storing can be retried."""

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
    """A message exactly as a client sees it; `sent` is in UTC (RFC 3339 in JSON)."""

    id: MessageId
    room_id: RoomId
    member_id: MemberId
    member_name: str
    type: MessageType
    text: str
    sent: datetime


class Entry(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A stored message and its place in the room's log: `seq` counts from 1 without gaps."""

    seq: int
    message: Message


class Batch:
    """Messages on their way to the members of one room, encoded at most once.

    Every member of the room is handed the same object, so what was encoded for the first
    one serves the others.
    """

    __slots__ = ("_encoded", "_json", "messages")

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self._json: list[bytes] | None = None
        self._encoded: dict[object, object] = {}

    @property
    def json(self) -> list[bytes]:
        """The JSON text of each message, in UTF-8."""
        if self._json is None:
            self._json = [to_json(message) for message in self.messages]
        return self._json

    @property
    def size(self) -> int:
        """How many bytes of JSON the batch holds."""
        return sum(map(len, self.json))

    def since(self, index: int) -> "Batch":
        """Return the batch without its first `index` messages; nothing is encoded again."""
        if index == 0:
            return self
        rest = Batch(self.messages[index:])
        rest._json = self.json[index:]
        return rest

    def once(self, encode: Callable[[list[bytes]], T]) -> T:
        """Return `encode(self.json)`, computed on the first call with this `encode` only."""
        if encode not in self._encoded:
            self._encoded[encode] = encode(self.json)
        return cast(T, self._encoded[encode])


to_json: Callable[[object], bytes] = msgspec.json.Encoder().encode


def parse_room_id(text: str) -> RoomId:
    """Return `text` as a room id.

    Raises RoomNotFoundError if it is no UUID: a room of that id cannot exist.
    """
    lowered = text.lower()
    if not _UUID.fullmatch(lowered):
        raise RoomNotFoundError
    return RoomId(lowered)


def parse_message_id(text: str) -> MessageId:
    """Return `text` as a message id, or raise MessageNotFoundError if it is no UUID."""
    lowered = text.lower()
    if not _UUID.fullmatch(lowered):
        raise MessageNotFoundError
    return MessageId(lowered)


def new_room_id() -> RoomId:
    return RoomId(str(uuid.uuid4()))


def new_member_id() -> MemberId:
    return MemberId(str(uuid.uuid4()))


def new_process_id() -> ProcessId:
    return ProcessId(str(uuid.uuid4()))


def new_message_id() -> MessageId:
    """Return a UUIDv7 (RFC 9562, section 5.7): ids made later sort later.

    The indexes of the messages then grow at one end instead of everywhere.
    """
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | _random.getrandbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76  # the version
    value = value & ~(0x3 << 62) | 0x2 << 62  # the variant
    h = f"{value:032x}"
    return MessageId(f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}")


def joined(room_id: RoomId, member: Identity) -> Draft:
    text = f"{member.name} joined the room."
    return Draft(new_message_id(), room_id, member, MessageType.JOINED, text)


def left(room_id: RoomId, member: Identity) -> Draft:
    text = f"{member.name} left the room."
    return Draft(new_message_id(), room_id, member, MessageType.LEFT, text)


def chat(room_id: RoomId, member: Identity, text: str) -> Draft:
    return Draft(new_message_id(), room_id, member, MessageType.CHAT, text)


def failed(draft: Draft, reason: str) -> Message:
    """Return what the author of `draft` is told when it could not be stored."""
    return stamp(draft, datetime.now(UTC), type_=MessageType.FAILED, text=reason)


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
