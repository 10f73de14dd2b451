"""The values: what clients see of a message, ids, and batches that are encoded once."""

import json
from datetime import UTC, datetime

import pytest

from sharechat.domain import ids, messages
from sharechat.domain.batch import Batch
from sharechat.domain.messages import Draft, Entry, Identity, Message, MessageType, to_json
from tests.harness import drafts

ROOM = ids.new_room_id()
AUTHOR = Identity(ids.new_member_id(), "Teal Heron")
NOON = datetime(2026, 1, 2, 12, 30, 15, 250000, tzinfo=UTC)


def message(text: str) -> Message:
    return messages.stamp(drafts.chat(ROOM, AUTHOR, text), NOON)


def test_a_client_sees_exactly_these_keys() -> None:
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


def test_a_member_is_an_id_and_a_name() -> None:
    assert json.loads(to_json(AUTHOR)) == {"id": AUTHOR.id, "name": "Teal Heron"}


def test_joined_and_left_name_the_member() -> None:
    joined = drafts.joined(ROOM, AUTHOR)
    left = drafts.left(ROOM, AUTHOR)
    assert (joined.type, joined.text) == (MessageType.JOINED, "Teal Heron joined the room.")
    assert (left.type, left.text) == (MessageType.LEFT, "Teal Heron left the room.")
    assert joined.id != left.id


def test_failed_is_the_draft_with_the_reason_in_its_place() -> None:
    draft = drafts.chat(ROOM, AUTHOR, "hello")
    failed = drafts.failed(draft, "")
    assert (failed.id, failed.member_id, failed.room_id) == (draft.id, AUTHOR.id, ROOM)
    assert (failed.type, failed.text) == (MessageType.FAILED, "")
    assert abs((datetime.now(UTC) - failed.sent).total_seconds()) < 60


def test_a_stamped_draft_keeps_all_it_was() -> None:
    draft = Draft(ids.new_message_id(), ROOM, AUTHOR, MessageType.CHAT, "hello")
    stamped = messages.stamp(draft, NOON)
    assert stamped == Message(
        draft.id, ROOM, AUTHOR.id, AUTHOR.name, MessageType.CHAT, "hello", NOON
    )


def test_a_batch_is_the_json_of_each_message_and_knows_its_size() -> None:
    both = [message("a"), message("żółw")]
    batch = Batch(both)
    assert batch.json == [to_json(m) for m in both]
    assert batch.size == sum(len(to_json(m)) for m in both)


def test_a_batch_is_encoded_at_most_once_for_each_way_of_encoding() -> None:
    calls: list[int] = []

    def join(parts: list[bytes]) -> bytes:
        calls.append(len(parts))
        return b"".join(parts)

    batch = Batch([message("a"), message("b")])
    assert batch.once(join) == batch.once(join) == b"".join(batch.json)
    assert calls == [2]
    assert batch.once(len) == 2
    assert batch.json is batch.json


def test_the_rest_of_a_batch_is_not_encoded_again() -> None:
    batch = Batch([message("a"), message("b"), message("c")])
    assert batch.since(0) is batch
    rest = batch.since(1)
    assert [m.text for m in rest.messages] == ["b", "c"]
    assert all(mine is its for mine, its in zip(rest.json, batch.json[1:], strict=True))


def test_an_entry_is_its_place_and_its_message() -> None:
    entry = Entry(7, message("a"))
    assert json.loads(to_json(entry))[0] == 7
