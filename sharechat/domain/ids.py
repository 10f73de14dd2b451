"""Ids: UUIDs in their canonical form of 36 characters, in lower case."""

import re
import time
import uuid
from random import Random, SystemRandom
from typing import NewType

from sharechat.domain.errors import MessageNotFoundError, RoomNotFoundError

RoomId = NewType("RoomId", str)
MemberId = NewType("MemberId", str)
MessageId = NewType("MessageId", str)
ProcessId = NewType("ProcessId", str)

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# Message ids must be unique but need not be secret; the system's generator costs a system call.
_random = Random(SystemRandom().getrandbits(128))  # noqa: S311


def parse_room_id(text: str) -> RoomId:
    """Return `text` as a room id.

    Raises RoomNotFoundError if it is not a UUID: no room can have that id.
    """
    lowered = text.lower()
    if not _UUID.fullmatch(lowered):
        raise RoomNotFoundError
    return RoomId(lowered)


def parse_message_id(text: str) -> MessageId:
    """Return `text` as a message id. Raises MessageNotFoundError if it is not a UUID."""
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


def new_request_id() -> str:
    """Return 16 hexadecimal digits: a request is looked up by it in the log, and nowhere else."""
    return f"{_random.getrandbits(64):016x}"


def new_message_id() -> MessageId:
    """Return a UUIDv7 (RFC 9562, section 5.7), which sorts by the time it was made.

    Database indexes on message ids therefore grow at one end only.
    """
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | _random.getrandbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76  # the version
    value = value & ~(0x3 << 62) | 0x2 << 62  # the variant
    h = f"{value:032x}"
    return MessageId(f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}")
