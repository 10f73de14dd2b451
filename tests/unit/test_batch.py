"""Batches: messages that are encoded once, however many members they go to."""

from datetime import UTC, datetime

from sharechat.domain import ids, messages
from sharechat.domain.batch import Batch
from sharechat.domain.messages import Identity, Message, to_json
from tests.harness import drafts

ROOM = ids.new_room_id()
AUTHOR = Identity(ids.new_member_id(), "Teal Heron")


def message(text: str) -> Message:
    return messages.stamp(drafts.chat(ROOM, AUTHOR, text), datetime.now(UTC))


def test_a_batch_has_the_json_of_each_message_and_its_total_size() -> None:
    both = [message("a"), message("żółw")]
    batch = Batch(both)
    assert batch.json == [to_json(m) for m in both]
    assert batch.size == sum(len(to_json(m)) for m in both)


def test_a_batch_is_encoded_once_by_each_encoder() -> None:
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
    messages = [message("a"), message("b"), message("c")]
    batch = Batch(messages)
    assert batch.since(0) is batch
    rest = batch.since(1)
    assert rest.messages == messages[1:]
    assert all(own is first for own, first in zip(rest.json, batch.json[1:], strict=True))


def test_a_batch_up_to_a_size_has_the_first_messages_and_at_least_one() -> None:
    messages = [message("a" * 100) for _ in range(10)]
    size = len(to_json(messages[0]))
    assert Batch.up_to(10 * size, messages).messages == messages
    assert Batch.up_to(3 * size, messages).messages == messages[:3]
    assert Batch.up_to(3 * size - 1, messages).messages == messages[:2]
    assert Batch.up_to(1, messages).messages == messages[:1]
    batch = Batch.up_to(3 * size, messages)
    assert batch.size == 3 * size
    assert batch.json == [to_json(m) for m in messages[:3]]
