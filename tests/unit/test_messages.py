"""The values: what clients see of a message and of a member."""

import json
from datetime import UTC, datetime

import pytest

from sharechat.domain import ids, messages
from sharechat.domain.messages import Draft, Entry, Identity, Message, MessageType, to_json
from tests.harness import drafts

ROOM = ids.new_room_id()
AUTHOR = Identity(ids.new_member_id(), "Teal Heron")
NOON = datetime(2026, 1, 2, 12, 30, 15, 250000, tzinfo=UTC)


def message(text: str) -> Message:
    return messages.stamp(drafts.chat(ROOM, AUTHOR, text), NOON)


def test_a_message_has_exactly_these_keys() -> None:
    seen = json.loads(to_json(message("hello")))
    assert seen == {
        "id": seen["id"],
        "roomId": ROOM,
        "memberId": AUTHOR.id,
        "memberName": "Teal Heron",
        "type": "chat",
        "message": "hello",
        "sent": "2026-01-02T12:30:15.250000Z",
    }


@pytest.mark.parametrize("text", ["", '"\\/\b\f\n\r\t', "\u2028\x7f", "żółw 🐢", "x" * 70_000])
def test_any_text_survives_json(text: str) -> None:
    assert json.loads(to_json(message(text)))["message"] == text


def test_a_member_has_an_id_and_a_name() -> None:
    assert json.loads(to_json(AUTHOR)) == {"id": AUTHOR.id, "name": "Teal Heron"}


def test_joined_and_left_name_the_member() -> None:
    joined = drafts.joined(ROOM, AUTHOR)
    left = drafts.left(ROOM, AUTHOR)
    assert (joined.type, joined.text) == (MessageType.JOINED, "Teal Heron joined the room.")
    assert (left.type, left.text) == (MessageType.LEFT, "Teal Heron left the room.")
    assert joined.id != left.id


def test_a_failed_message_is_the_draft_with_the_reason_as_its_text() -> None:
    draft = drafts.chat(ROOM, AUTHOR, "hello")
    failed = drafts.failed(draft, "")
    assert (failed.id, failed.member_id, failed.room_id) == (draft.id, AUTHOR.id, ROOM)
    assert (failed.type, failed.text) == (MessageType.FAILED, "")
    assert abs((datetime.now(UTC) - failed.sent).total_seconds()) < 60


def test_a_stamped_draft_keeps_everything_that_was_in_it() -> None:
    draft = Draft(ids.new_message_id(), ROOM, AUTHOR, MessageType.CHAT, "hello")
    stamped = messages.stamp(draft, NOON)
    assert stamped == Message(
        draft.id, ROOM, AUTHOR.id, AUTHOR.name, MessageType.CHAT, "hello", NOON
    )


def test_the_json_of_an_entry_begins_with_its_seq() -> None:
    entry = Entry(7, message("a"))
    assert json.loads(to_json(entry))[0] == 7
