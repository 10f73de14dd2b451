"""The contract of the Repository port: who is a member after `joined` and `left`."""

import pytest

from sharechat.domain.errors import LeaseLostError, NotAMemberError
from sharechat.domain.ids import ProcessId, RoomId, new_process_id
from sharechat.domain.ports import Present, Repository
from tests.harness.drafts import chat, joined, left
from tests.harness.repositories import get_head, join, make_room, somebody, store, summarize


async def test_members_are_returned_in_the_order_of_joining(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    other = new_process_id()
    await repository.open_lease(other)
    processes = (process, other, process)
    members = [await join(repository, through, room) for through in processes]
    assert await repository.get_members(room) == members


async def test_joined_makes_its_author_a_member_through_the_process(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    member = await join(repository, process, room)
    assert await repository.get_members(room) == [member]
    assert await repository.get_members_of(process) == [Present(room, member)]


@pytest.mark.parametrize("ended", [False, True])
async def test_joined_is_refused_without_a_lease(
    repository: Repository, process: ProcessId, room: RoomId, ended: bool
) -> None:
    dead = new_process_id()
    if ended:
        await repository.open_lease(dead)
        await repository.end_lease(dead)
    member, other = somebody(), await join(repository, process, room)
    drafts = [joined(room, member), chat(room, member, "hello"), chat(room, other, "hi")]
    assert summarize(await repository.append(drafts, dead)) == [LeaseLostError, NotAMemberError, 2]
    assert await repository.get_members(room) == [other]


async def test_a_joined_that_is_repeated_after_the_lease_has_ended_gets_its_entry(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    arrival = joined(room, somebody())
    entries = await store(repository, process, arrival)
    await repository.end_lease(process)
    assert await repository.append([arrival], process) == entries


async def test_a_joined_that_is_repeated_after_left_does_not_join_again(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    member = somebody()
    arrival = joined(room, member)
    entries = await store(repository, process, arrival, left(room, member))
    again = await repository.append([arrival, chat(room, member, "still here?")], process)
    assert again[0] == entries[0]
    assert summarize(again) == [1, NotAMemberError]
    assert await repository.get_members(room) == []
    assert await repository.get_members_of(process) == []


async def test_left_ends_the_membership(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    gone, stays = [await join(repository, process, room) for _ in range(2)]
    await store(repository, process, left(room, gone))
    assert await repository.get_members(room) == [stays]
    assert await repository.get_members_of(process) == [Present(room, stays)]


async def test_a_second_left_is_refused(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    member = await join(repository, process, room)
    drafts = [left(room, member), left(room, member)]
    assert summarize(await repository.append(drafts, process)) == [2, NotAMemberError]
    assert summarize(await repository.append([left(room, member)], process)) == [NotAMemberError]
    assert await get_head(repository, room) == 2


async def test_any_process_may_append_a_left(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    member = await join(repository, process, room)
    await store(repository, new_process_id(), left(room, member))
    assert await repository.get_members(room) == []


async def test_chat_is_refused_before_joined_and_after_left(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    member = somebody()
    drafts = [
        chat(room, member, "too early"),
        left(room, member),
        joined(room, member),
        chat(room, member, "in time"),
        left(room, member),
        chat(room, member, "too late"),
    ]
    assert summarize(await repository.append(drafts, process)) == [
        NotAMemberError,
        NotAMemberError,
        1,
        2,
        3,
        NotAMemberError,
    ]
    assert await repository.get_members(room) == []


async def test_a_member_of_one_room_is_not_a_member_of_another(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    other = await make_room(repository)
    member = await join(repository, process, room)
    outcomes = await repository.append([chat(other, member, "hello")], process)
    assert summarize(outcomes) == [NotAMemberError]
