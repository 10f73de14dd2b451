"""The values: what clients see of a message, ids, and batches that are encoded once."""

import json
import uuid
from datetime import UTC, datetime

import pytest

from sharechat.domain import messages
from sharechat.domain.errors import MessageNotFoundError, RoomNotFoundError
from sharechat.domain.messages import Batch, Draft, Entry, Identity, Message, MessageType, to_json

ROOM = messages.new_room_id()
AUTHOR = Identity(messages.new_member_id(), "Teal Heron")
NOON = datetime(2026, 1, 2, 12, 30, 15, 250000, tzinfo=UTC)


def message(text: str) -> Message:
    return messages.stamp(messages.chat(ROOM, AUTHOR, text), NOON)


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
    joined = messages.joined(ROOM, AUTHOR)
    left = messages.left(ROOM, AUTHOR)
    assert (joined.type, joined.text) == (MessageType.JOINED, "Teal Heron joined the room.")
    assert (left.type, left.text) == (MessageType.LEFT, "Teal Heron left the room.")
    assert joined.id != left.id


def test_failed_is_the_draft_with_the_reason_in_its_place() -> None:
    draft = messages.chat(ROOM, AUTHOR, "hello")
    failed = messages.failed(draft, "")
    assert (failed.id, failed.member_id, failed.room_id) == (draft.id, AUTHOR.id, ROOM)
    assert (failed.type, failed.text) == (MessageType.FAILED, "")
    assert abs((datetime.now(UTC) - failed.sent).total_seconds()) < 60


def test_a_stamped_draft_keeps_all_it_was() -> None:
    draft = Draft(messages.new_message_id(), ROOM, AUTHOR, MessageType.CHAT, "hello")
    stamped = messages.stamp(draft, NOON)
    assert stamped == Message(
        draft.id, ROOM, AUTHOR.id, AUTHOR.name, MessageType.CHAT, "hello", NOON
    )


def test_ids_are_read_whatever_their_case() -> None:
    text = "0F8FAD5B-D9CB-469F-A165-70867728950E"
    assert messages.parse_room_id(text) == text.lower()
    assert messages.parse_message_id(text) == text.lower()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lobby",
        "0f8fad5bd9cb469fa16570867728950e",
        "{0f8fad5b-d9cb-469f-a165-70867728950e}",
        "0f8fad5b-d9cb-469f-a165-70867728950e\n",
        "0f8fad5b-d9cb-469f-a165-70867728950",
        "gf8fad5b-d9cb-469f-a165-70867728950e",
        "\u0660f8fad5b-d9cb-469f-a165-70867728950e",
        "'; drop table rooms; --",
    ],
)
def test_what_is_no_id_cannot_exist(text: str) -> None:
    with pytest.raises(RoomNotFoundError):
        messages.parse_room_id(text)
    with pytest.raises(MessageNotFoundError):
        messages.parse_message_id(text)


def test_new_ids_are_uuids_in_their_canonical_form_and_never_the_same() -> None:
    makers = (
        messages.new_room_id,
        messages.new_member_id,
        messages.new_process_id,
        messages.new_message_id,
    )
    ids = [make() for make in makers for _ in range(100)]
    assert len(set(ids)) == len(ids)
    assert all(str(uuid.UUID(id_)) == id_ for id_ in ids)


def test_message_ids_sort_by_the_time_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for milliseconds in (1, 2, 1_700_000_000_000, 1_700_000_000_001, 1 << 47):
        monkeypatch.setattr("time.time_ns", lambda ms=milliseconds: ms * 1_000_000)
        ids.append(messages.new_message_id())
    assert ids == sorted(ids)
    assert {uuid.UUID(id_).version for id_ in ids} == {7}
    assert {uuid.UUID(id_).variant for id_ in ids} == {uuid.RFC_4122}


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
