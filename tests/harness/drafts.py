"""Drafts and messages with fresh ids, for tests to which the ids do not matter."""

from datetime import UTC, datetime

from sharechat.domain import ids, messages
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Draft, Identity, Message


def chat(room_id: RoomId, member: Identity, text: str) -> Draft:
    return messages.chat(ids.new_message_id(), room_id, member, text)


def joined(room_id: RoomId, member: Identity) -> Draft:
    return messages.joined(ids.new_message_id(), room_id, member)


def left(room_id: RoomId, member: Identity) -> Draft:
    return messages.left(ids.new_message_id(), room_id, member)


def failed(draft: Draft, reason: str) -> Message:
    return messages.failed(draft, reason, datetime.now(UTC))
