"""The contract of the Repository port: `append` on random histories, compared with a model."""

from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharechat.domain.errors import (
    LeaseLostError,
    NotAMemberError,
    RejectedError,
    RoomNotFoundError,
)
from sharechat.domain.ids import MessageId, RoomId, new_process_id, new_room_id
from sharechat.domain.messages import Draft, Identity, MessageType
from sharechat.domain.ports import Repository
from tests.harness.drafts import chat, joined, left
from tests.harness.repositories import (
    get_heads,
    is_entry_of,
    make_room,
    read_log,
    somebody,
    summarize,
)
from tests.integration.repository.conftest import APPENDING_ADAPTERS, open_repository


class Model:
    """The contract of `append` in its simplest form: one draft after another."""

    def __init__(self, rooms: list[RoomId]) -> None:
        self.logs: dict[RoomId, list[Draft]] = {room: [] for room in rooms}
        self.members: dict[RoomId, list[Identity]] = {room: [] for room in rooms}

    def append(self, draft: Draft, has_lease: bool) -> object:
        """Return the draft's seq, or the class of its refusal."""
        log = self.logs.get(draft.room_id)
        if log is None:
            return RoomNotFoundError
        members = self.members[draft.room_id]
        ids: list[MessageId] = [stored.id for stored in log]
        if draft.id in ids:
            return ids.index(draft.id) + 1
        if "\0" in draft.text:
            return RejectedError
        if draft.type is MessageType.JOINED:
            if not has_lease:
                return LeaseLostError
            members.append(draft.member)
        elif draft.member not in members:
            return NotAMemberError
        if draft.type is MessageType.LEFT:
            members.remove(draft.member)
        log.append(draft)
        return len(log)

    def joins_twice(self, draft: Draft) -> bool:
        """Return whether a member joins again without having left.

        The contract does not say what happens then, so the test leaves it out.
        """
        return (
            draft.type is MessageType.JOINED
            and draft not in self.logs.get(draft.room_id, ())
            and draft.member in self.members.get(draft.room_id, ())
        )


Step = tuple[str, int, int, int]
"""What is appended, and the indexes of the room, of the member and, to repeat it, of a draft."""

History = list[tuple[bool, list[Step]]]
"""Calls of `append`: whether the process has a lease, and the steps that become drafts."""

WHAT = st.sampled_from(["joined", "joined", "chat", "chat", "chat", "left", "nul", "repeat"])
STEP = st.tuples(WHAT, st.integers(0, 3), st.integers(0, 2), st.integers(0, 30))
CALL = st.tuples(st.sampled_from([True, True, True, False]), st.lists(STEP, max_size=12))


@pytest.mark.parametrize("url", APPENDING_ADAPTERS, indirect=True)
@settings(
    max_examples=60,
    # Each example creates its own rooms, so the examples can share a database.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=st.lists(CALL, max_size=6))
def test_every_history_ends_as_in_the_model(url: str | Path | None, history: History) -> None:
    trio.run(open_and_follow, url, history)


async def open_and_follow(url: str | Path | None, history: History) -> None:
    async with open_repository(url) as repository:
        await follow(repository, history)


async def follow(repository: Repository, history: History) -> None:
    """Make the calls of the history; compare each answer and the final state with the model."""
    alive, dead = new_process_id(), new_process_id()
    await repository.open_lease(alive)
    rooms = [await make_room(repository) for _ in range(3)]
    model, members = Model(rooms), [somebody(str(n)) for n in range(3)]
    past: list[Draft] = []
    for has_lease, steps in history:
        batch: list[Draft] = []
        expected: list[object] = []
        for step in steps:
            draft = make_draft(step, rooms, members, past)
            if not model.joins_twice(draft):
                batch.append(draft)
                past.append(draft)
                expected.append(model.append(draft, has_lease))
        outcomes = await repository.append(batch, alive if has_lease else dead)
        assert summarize(outcomes) == expected
    for room in rooms:
        entries = await read_log(repository, room)
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        assert len(entries) == len(model.logs[room])
        assert all(map(is_entry_of, entries, model.logs[room]))
        assert await repository.get_members(room) == model.members[room]
    assert await get_heads(repository, rooms) == {room: len(model.logs[room]) for room in rooms}


def make_draft(
    step: Step, rooms: list[RoomId], members: list[Identity], past: list[Draft]
) -> Draft:
    what, room_index, member_index, past_index = step
    if what == "repeat" and past:
        return past[past_index % len(past)]
    member = members[member_index]
    if what == "nul":
        # Only in rooms that exist: the contract does not say which refusal comes first.
        return chat(rooms[room_index % 3], member, "a\0")
    room = (*rooms, new_room_id())[room_index]
    if what == "joined":
        return joined(room, member)
    if what == "left":
        return left(room, member)
    return chat(room, member, "a")
