"""Clients that read old messages: pages in bytes, turns, and one budget for all of them."""

from contextlib import ExitStack

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors.history import History
from sharechat.actors.policy import Policy
from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry, to_json
from tests.harness.house import RemoteMember
from tests.harness.repository import ScriptedRepository

POLICY = Policy(read_limit=50, read_bytes=10_000, history_bytes=160_000)


@pytest.fixture
def repository() -> ScriptedRepository:
    return ScriptedRepository()


@pytest.fixture
async def room(repository: ScriptedRepository) -> RoomId:
    """A room with 300 messages, each of which has some 1,200 bytes of JSON."""
    talker = RemoteMember(repository, await repository.make_room())
    await talker.joins()
    await talker.says(*("x" * 1000 for _ in range(300)))
    return talker.room_id


def size(page: list[Entry]) -> int:
    return sum(len(to_json(entry.message)) for entry in page)


async def test_a_page_is_bounded_in_bytes_and_in_messages(
    repository: ScriptedRepository, room: RoomId
) -> None:
    page = await History(repository, POLICY).read(room, after=0, limit=1000)
    assert 8_000 < size(page) <= 10_000
    large = History(repository, Policy(read_limit=50, read_bytes=1 << 20))
    assert len(await large.read(room, after=0, limit=1000)) == 50
    assert len(await large.read(room, after=0, limit=20)) == 20


async def test_pages_become_smaller_the_more_is_held_but_have_a_message_at_least(
    repository: ScriptedRepository, room: RoomId
) -> None:
    history, sizes = History(repository, POLICY), []
    with ExitStack() as held:
        for _ in range(100):
            page = await history.read(room, after=0, limit=1000)
            sizes.append(size(page))
            held.enter_context(history.holding(sizes[-1]))
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[0] == sizes[7] > 8_000
        assert len(page) == 1
        # What exceeds the budget is a single message for each reader.
        assert sum(n for n in sizes if n != sizes[-1]) < POLICY.history_bytes
    assert size(await history.read(room, after=0, limit=1000)) == sizes[0]


async def test_two_pages_are_read_at_a_time_and_readers_take_turns(
    repository: ScriptedRepository, room: RoomId, autojump_clock: MockClock
) -> None:
    history = History(repository, POLICY)
    steps = [repository.at_next("read", hold=True) for _ in range(5)]
    order: list[int] = []

    async def read(number: int) -> None:
        await history.read(room, after=0, limit=1)
        order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(read, number)
            await wait_all_tasks_blocked()
        assert repository.calls["read"] == 2
        for done, step in enumerate(steps, 1):
            step.release()
            await wait_all_tasks_blocked()
            assert order == list(range(done))


async def test_a_reader_waits_for_its_turn_no_longer_than_its_patience(
    repository: ScriptedRepository, room: RoomId, autojump_clock: MockClock
) -> None:
    history = History(repository, POLICY)
    async with trio.open_nursery() as nursery:
        steps = [repository.at_next("read", hold=True) for _ in range(2)]
        for step in steps:
            nursery.start_soon(history_read, history, room)
            await step.reached.wait()
        started = trio.current_time()
        with pytest.raises(UnavailableError):
            await history.read(room, after=0, limit=1)
        assert trio.current_time() - started == POLICY.history_patience
        for step in steps:
            step.release()
    assert await history.read(room, after=0, limit=1)


async def test_a_read_that_fails_or_is_cancelled_gives_its_turn_back(
    repository: ScriptedRepository, room: RoomId, autojump_clock: MockClock
) -> None:
    history = History(repository, POLICY)
    for _ in range(2):
        repository.at_next("read", error=UnavailableError("away"))
        with pytest.raises(UnavailableError):
            await history.read(room, after=0, limit=1)
        repository.at_next("read", hold=True)
        with trio.move_on_after(1):
            await history.read(room, after=0, limit=1)
    assert await history.read(room, after=0, limit=1)


async def history_read(history: History, room: RoomId) -> None:
    await history.read(room, after=0, limit=1)
