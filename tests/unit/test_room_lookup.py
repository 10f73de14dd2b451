"""Looking up rooms: what is asked for at the same time is one query."""

from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors import room_lookup
from sharechat.actors.room_lookup import RoomLookup
from sharechat.domain.errors import RoomNotFoundError, UnavailableError
from sharechat.domain.ids import RoomId, new_room_id
from tests.harness.repository import ScriptedRepository


class Asker:
    """A task that asks for a room; `answer` is what it got."""

    def __init__(self, lookup: RoomLookup, room_id: RoomId) -> None:
        self.answer: object = None
        self.scope = trio.CancelScope()
        self._ask = partial(lookup.get_room, room_id)

    async def run(self) -> None:
        with self.scope:
            try:
                self.answer = (await self._ask()).id
            except (RoomNotFoundError, UnavailableError, RuntimeError) as error:
                self.answer = type(error)


async def start_askers(nursery: trio.Nursery, lookup: RoomLookup, *room_ids: RoomId) -> list[Asker]:
    """Start a task for each room, and wait until all of them have asked."""
    askers = [Asker(lookup, room_id) for room_id in room_ids]
    for asker in askers:
        nursery.start_soon(asker.run)
    await wait_all_tasks_blocked()
    return askers


async def test_what_is_asked_for_during_a_query_is_one_query() -> None:
    repository = ScriptedRepository()
    lookup = RoomLookup(repository)
    rooms = [await repository.make_room() for _ in range(20)]
    unknown = new_room_id()
    step = repository.at_next("get_rooms", hold=True)
    async with trio.open_nursery() as nursery:
        (first,) = await start_askers(nursery, lookup, rooms[0])
        others = await start_askers(nursery, lookup, *rooms, unknown)
        step.release()
    assert first.answer == rooms[0]
    assert [asker.answer for asker in others] == [*rooms, RoomNotFoundError]
    assert repository.calls["get_rooms"] == 2


async def test_an_answer_is_never_older_than_the_question() -> None:
    repository = ScriptedRepository()
    lookup = RoomLookup(repository)
    room = await repository.make_room()
    step = repository.at_next("get_rooms", hold=True)
    async with trio.open_nursery() as nursery:
        await start_askers(nursery, lookup, room)
        await repository.delete_room(room, b"the hash of a key")
        (late,) = await start_askers(nursery, lookup, room)
        step.release()
    assert late.answer is RoomNotFoundError
    assert repository.calls["get_rooms"] == 2


async def test_all_who_asked_in_one_query_learn_that_it_failed() -> None:
    repository = ScriptedRepository()
    lookup = RoomLookup(repository)
    room = await repository.make_room()
    turn = repository.at_next("get_rooms", hold=True)
    repository.at_next("get_rooms", error=UnavailableError("away"))
    async with trio.open_nursery() as nursery:
        (first,) = await start_askers(nursery, lookup, room)
        askers = await start_askers(nursery, lookup, room, room)
        turn.release()
    assert first.answer == room
    assert [asker.answer for asker in askers] == [UnavailableError] * 2
    assert (await lookup.get_room(room)).id == room


@pytest.mark.parametrize("during", ["its turn", "the query"])
async def test_others_get_their_answers_if_the_one_who_makes_the_query_is_cancelled(
    during: str,
) -> None:
    repository = ScriptedRepository()
    lookup = RoomLookup(repository)
    rooms = [await repository.make_room() for _ in range(5)]
    turn, query = [repository.at_next("get_rooms", hold=True) for _ in range(2)]
    async with trio.open_nursery() as nursery:
        await start_askers(nursery, lookup, rooms[0])
        (maker,) = await start_askers(nursery, lookup, rooms[0])
        others = await start_askers(nursery, lookup, *rooms[1:])
        if during == "the query":
            turn.release()
            await query.reached.wait()
        maker.scope.cancel()
        await wait_all_tasks_blocked()
        turn.release()
        query.release()
    assert maker.answer is None
    assert [asker.answer for asker in others] == rooms[1:]


async def test_others_ask_for_themselves_if_the_one_who_makes_the_query_fails() -> None:
    repository = ScriptedRepository()
    lookup = RoomLookup(repository)
    rooms = [await repository.make_room() for _ in range(3)]
    turn = repository.at_next("get_rooms", hold=True)
    repository.at_next("get_rooms", error=RuntimeError("a bug"))
    async with trio.open_nursery() as nursery:
        await start_askers(nursery, lookup, rooms[0])
        (maker,) = await start_askers(nursery, lookup, rooms[0])
        others = await start_askers(nursery, lookup, *rooms[1:])
        turn.release()
    assert maker.answer is RuntimeError
    assert [asker.answer for asker in others] == rooms[1:]


async def test_a_query_has_a_bounded_number_of_rooms(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_lookup, "_MAX_ROOMS", 10)
    repository = ScriptedRepository()
    lookup = RoomLookup(repository)
    rooms = [await repository.make_room() for _ in range(25)]
    async with trio.open_nursery() as nursery:
        askers = await start_askers(nursery, lookup, *rooms)
    assert [asker.answer for asker in askers] == rooms
    assert repository.calls["get_rooms"] == 3
