"""The contract of the Repository port: creating, deleting and removing rooms."""

import pytest

from sharechat.domain.errors import RoomNotFoundError, WrongKeyError
from sharechat.domain.ids import ProcessId, RoomId, new_message_id, new_room_id
from sharechat.domain.messages import RoomInfo
from sharechat.domain.ports import Present, Repository
from tests.harness.drafts import chat, left
from tests.harness.repositories import (
    ANY_SIZE,
    KEY_HASH,
    get_head,
    get_heads,
    join,
    make_room,
    read_log,
    store,
)
from tests.integration.repository.conftest import ShiftClock


async def test_a_new_room_is_empty(repository: Repository) -> None:
    room = RoomInfo(new_room_id(), "Imperfect Seat")
    await repository.create_room(room, KEY_HASH)
    assert await repository.get_rooms([room.id]) == {room.id: room}
    assert await repository.get_members(room.id) == []
    assert await read_log(repository, room.id) == []


async def test_creating_a_room_again_changes_nothing(
    repository: Repository, process: ProcessId
) -> None:
    room = RoomInfo(new_room_id(), "Imperfect Seat")
    await repository.create_room(room, KEY_HASH)
    await join(repository, process, room.id)
    await repository.create_room(room, KEY_HASH)
    assert await get_head(repository, room.id) == 1


async def test_a_room_that_was_never_created_is_not_found(repository: Repository) -> None:
    room, message = new_room_id(), new_message_id()
    assert not await repository.get_rooms([room])
    with pytest.raises(RoomNotFoundError):
        await repository.get_members(room)
    with pytest.raises(RoomNotFoundError):
        await repository.read(room, after=0, limit=1, max_bytes=ANY_SIZE)
    with pytest.raises(RoomNotFoundError):
        await repository.find(room, message)
    with pytest.raises(RoomNotFoundError):
        await repository.delete_room(room, KEY_HASH)


async def test_deleting_a_room_removes_its_members_and_messages(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    other = await make_room(repository)
    await join(repository, process, room)
    stays = await join(repository, process, other)
    await repository.delete_room(room, KEY_HASH)
    with pytest.raises(RoomNotFoundError):
        await repository.read(room, after=0, limit=1, max_bytes=ANY_SIZE)
    with pytest.raises(RoomNotFoundError):
        await repository.get_members(room)
    with pytest.raises(RoomNotFoundError):
        await repository.delete_room(room, KEY_HASH)
    assert await repository.get_members_of(process) == [Present(other, stays)]
    assert len(await read_log(repository, other)) == 1


async def test_a_room_is_not_deleted_with_another_key(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    member = await join(repository, process, room)
    with pytest.raises(WrongKeyError):
        await repository.delete_room(room, b"hash of another")
    assert await repository.get_members(room) == [member]


async def test_heads_are_returned_for_the_rooms_that_exist(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    empty = await make_room(repository)
    member = await join(repository, process, room)
    await store(repository, process, chat(room, member, "a"), chat(room, member, "b"))
    heads = await get_heads(repository, [room, new_room_id(), empty])
    assert heads == {room: 3, empty: 0}
    assert await get_heads(repository, []) == {}
    assert await get_head(repository, room) == 3


async def test_rooms_without_members_are_removed_once_they_are_old_enough(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    occupied, deserted = [await make_room(repository) for _ in range(2)]
    await join(repository, process, occupied)
    member = await join(repository, process, deserted)
    await store(repository, process, left(deserted, member))
    assert await repository.remove_stale_rooms(60) == []
    assert set(await repository.remove_stale_rooms(0)) == {room, deserted}
    assert await get_heads(repository, [room, occupied, deserted]) == {occupied: 1}
    with pytest.raises(RoomNotFoundError):
        await repository.read(deserted, after=0, limit=1, max_bytes=ANY_SIZE)
    assert await repository.remove_stale_rooms(0) == []


async def test_the_age_of_a_room_counts_from_its_last_entry(
    repository: Repository, process: ProcessId, room: RoomId, shift_clock: ShiftClock
) -> None:
    await shift_clock(100)
    member = await join(repository, process, room)
    await store(repository, process, left(room, member))
    await shift_clock(40)
    assert await repository.remove_stale_rooms(50) == []
    await shift_clock(20)
    assert await repository.remove_stale_rooms(50) == [room]


async def test_every_entry_makes_a_room_young_again(
    repository: Repository, process: ProcessId, room: RoomId, shift_clock: ShiftClock
) -> None:
    member = await join(repository, process, room)
    await shift_clock(50)
    await store(repository, process, left(room, member))
    await shift_clock(40)
    assert await repository.remove_stale_rooms(60) == []
    await shift_clock(30)
    assert await repository.remove_stale_rooms(60) == [room]


async def test_a_room_that_nobody_ever_joined_is_removed_at_an_age_of_its_own(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    occupied, deserted = [await make_room(repository) for _ in range(2)]
    await join(repository, process, occupied)
    member = await join(repository, process, deserted)
    await store(repository, process, left(deserted, member))
    assert await repository.remove_stale_rooms(60, 30) == []
    assert await repository.remove_stale_rooms(60, 0) == [room]
    assert await get_heads(repository, [room, occupied, deserted]) == {occupied: 1, deserted: 2}
    assert not await repository.get_rooms([room])
    unjoined = await make_room(repository)
    assert set(await repository.remove_stale_rooms(0, 60)) == {deserted, unjoined}


async def test_check_passes_while_the_repository_works(repository: Repository) -> None:
    await repository.check()
