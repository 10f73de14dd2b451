"""Ids: which texts are valid ids, and that new ids are unique."""

import uuid

import pytest

from sharechat.domain.errors import MessageNotFoundError, RoomNotFoundError
from sharechat.domain.ids import (
    new_member_id,
    new_message_id,
    new_process_id,
    new_room_id,
    parse_message_id,
    parse_room_id,
)


def test_an_id_may_be_in_upper_or_lower_case() -> None:
    text = "0F8FAD5B-D9CB-469F-A165-70867728950E"
    assert parse_room_id(text) == text.lower()
    assert parse_message_id(text) == text.lower()


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
def test_nothing_is_found_for_a_text_that_is_not_an_id(text: str) -> None:
    with pytest.raises(RoomNotFoundError):
        parse_room_id(text)
    with pytest.raises(MessageNotFoundError):
        parse_message_id(text)


def test_new_ids_are_unique_uuids_in_their_canonical_form() -> None:
    makers = (
        new_room_id,
        new_member_id,
        new_process_id,
        new_message_id,
    )
    ids = [make() for make in makers for _ in range(100)]
    assert len(set(ids)) == len(ids)
    assert all(str(uuid.UUID(id_)) == id_ for id_ in ids)


def test_message_ids_sort_by_the_time_of_their_creation(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for milliseconds in (1, 2, 1_700_000_000_000, 1_700_000_000_001, 1 << 47):
        monkeypatch.setattr("time.time_ns", lambda ms=milliseconds: ms * 1_000_000)
        ids.append(new_message_id())
    assert ids == sorted(ids)
    assert {uuid.UUID(id_).version for id_ in ids} == {7}
    assert {uuid.UUID(id_).variant for id_ in ids} == {uuid.RFC_4122}
