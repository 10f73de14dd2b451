"""The contract of the Repository port: the processes' leases, and what dead processes leave."""

import pytest

from sharechat.domain.errors import LeaseLostError
from sharechat.domain.ids import ProcessId, RoomId, new_process_id
from sharechat.domain.ports import Present, Repository
from tests.harness.drafts import joined, left
from tests.harness.repositories import KEY_HASH, join, make_room, somebody, store


async def test_the_renewal_number_grows_with_each_renewal(
    repository: Repository, process: ProcessId
) -> None:
    other = new_process_id()
    await repository.open_lease(other)
    first = await repository.renew_lease(process)
    second = await repository.renew_lease(process)
    assert set(first) == set(second) == {process, other}
    assert second[process] > first[process]
    assert second[other] == first[other]


async def test_opening_a_lease_again_changes_nothing(
    repository: Repository, process: ProcessId
) -> None:
    numbers = await repository.renew_lease(process)
    await repository.open_lease(process)
    assert (await repository.renew_lease(process))[process] > numbers[process]


async def test_a_process_without_a_lease_cannot_renew_it(repository: Repository) -> None:
    with pytest.raises(LeaseLostError):
        await repository.renew_lease(new_process_id())


async def test_a_lease_that_has_ended_cannot_be_opened_or_renewed(
    repository: Repository, process: ProcessId
) -> None:
    other = new_process_id()
    await repository.open_lease(other)
    assert await repository.end_lease(process)
    assert await repository.end_lease(process)
    assert await repository.end_lease(process, 12345)
    with pytest.raises(LeaseLostError):
        await repository.renew_lease(process)
    await repository.open_lease(process)
    with pytest.raises(LeaseLostError):
        await repository.renew_lease(process)
    assert set(await repository.renew_lease(other)) == {other}


async def test_a_process_that_has_renewed_in_time_is_not_declared_dead(
    repository: Repository, process: ProcessId
) -> None:
    seen = (await repository.renew_lease(process))[process]
    newer = (await repository.renew_lease(process))[process]
    assert not await repository.end_lease(process, seen)
    assert (await repository.renew_lease(process))[process] > newer
    last = (await repository.renew_lease(process))[process]
    assert await repository.end_lease(process, last)
    with pytest.raises(LeaseLostError):
        await repository.renew_lease(process)


@pytest.mark.parametrize("renewal", [None, 3])
async def test_an_unknown_process_can_be_declared_dead(
    repository: Repository, renewal: int | None
) -> None:
    process = new_process_id()
    assert await repository.end_lease(process, renewal)
    await repository.open_lease(process)
    with pytest.raises(LeaseLostError):
        await repository.renew_lease(process)


async def test_a_process_that_never_renewed_can_be_declared_dead(
    repository: Repository, process: ProcessId
) -> None:
    watcher = new_process_id()
    await repository.open_lease(watcher)
    seen = (await repository.renew_lease(watcher))[process]
    assert await repository.end_lease(process, seen)


async def test_orphans_are_the_members_of_dead_processes(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    dead, other = new_process_id(), await make_room(repository)
    await repository.open_lease(dead)
    await join(repository, process, room)
    here, there = await join(repository, dead, room), await join(repository, dead, other)
    assert await repository.get_orphans() == []
    await repository.end_lease(dead)
    assert set(await repository.get_orphans()) == {Present(room, here), Present(other, there)}
    assert set(await repository.get_members_of(dead)) == set(await repository.get_orphans())
    await store(repository, process, left(room, here))
    assert await repository.get_orphans() == [Present(other, there)]
    await repository.delete_room(other, KEY_HASH)
    assert await repository.get_orphans() == []


async def test_at_most_a_thousand_orphans_are_returned(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    members = [somebody() for _ in range(1100)]
    await store(repository, process, *(joined(room, member) for member in members))
    await repository.end_lease(process)
    orphans = await repository.get_orphans()
    assert len(set(orphans)) == 1000
    await store(repository, process, *(left(orphan.room_id, orphan.member) for orphan in orphans))
    assert len(await repository.get_orphans()) == 100


async def test_a_new_process_and_an_unknown_one_have_no_members(
    repository: Repository, process: ProcessId
) -> None:
    assert await repository.get_members_of(process) == []
    assert await repository.get_members_of(new_process_id()) == []
