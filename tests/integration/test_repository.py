"""The contract of the Repository port, on every adapter: a test for each of its sentences."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharechat.adapters.memory import MemoryRepository
from sharechat.adapters.postgres import PostgresRepository, migrate
from sharechat.domain.errors import (
    LeaseLostError,
    MessageNotFoundError,
    NotAMemberError,
    RejectedError,
    RoomNotFoundError,
    WrongKeyError,
)
from sharechat.domain.ids import (
    MessageId,
    ProcessId,
    RoomId,
    new_member_id,
    new_message_id,
    new_process_id,
    new_room_id,
)
from sharechat.domain.messages import Draft, Entry, Identity, Message, MessageType, RoomInfo
from sharechat.domain.ports import Present, Refusal, Repository
from tests.harness.drafts import chat, joined, left
from tests.harness.postgres import fresh_database, truncate

KEY = b"hash of the key"


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    with fresh_database() as url:
        trio.run(migrate, url)
        yield url


@pytest.fixture(params=["memory", "postgres"])
def url(request: pytest.FixtureRequest) -> str | None:
    """The URL of an empty database, or None for the adapter that has none."""
    if request.param == "memory":
        return None
    url: str = request.getfixturevalue("database")
    truncate(url)
    return url


@pytest.fixture
async def repository(url: str | None) -> AsyncIterator[Repository]:
    with trio.fail_after(20):
        if url is None:
            yield MemoryRepository()
            return
        postgres = PostgresRepository(url)
        yield postgres
        await postgres.aclose()


@pytest.fixture
async def process(repository: Repository) -> ProcessId:
    process_id = new_process_id()
    await repository.open_lease(process_id)
    return process_id


@pytest.fixture
async def room(repository: Repository) -> RoomId:
    return await make_room(repository)


async def make_room(repository: Repository, name: str = "Imperfect Seat") -> RoomId:
    room_id = new_room_id()
    await repository.create_room(RoomInfo(room_id, name), KEY)
    return room_id


def somebody(name: str = "Blue Fox") -> Identity:
    return Identity(new_member_id(), name)


async def store(repository: Repository, process: ProcessId, *drafts: Draft) -> list[Entry]:
    """Append drafts that must not be refused."""
    outcomes = await repository.append(drafts, process)
    entries = [outcome for outcome in outcomes if isinstance(outcome, Entry)]
    assert len(entries) == len(drafts), outcomes
    return entries


async def join(repository: Repository, process: ProcessId, room: RoomId) -> Identity:
    member = somebody()
    await store(repository, process, joined(room, member))
    return member


async def log(repository: Repository, room: RoomId) -> list[Entry]:
    return await repository.read(room, after=0, limit=10_000)


def same(entry: Entry | Refusal, draft: Draft) -> bool:
    """Whether the entry holds just what the draft did."""
    if not isinstance(entry, Entry):
        return False
    return entry.message == Message(
        draft.id,
        draft.room_id,
        draft.member.id,
        draft.member.name,
        draft.type,
        draft.text,
        entry.message.sent,
    )


def kinds(outcomes: list[Entry | Refusal]) -> list[object]:
    """The seq of what was stored, the class of what was refused."""
    return [o.seq if isinstance(o, Entry) else type(o) for o in outcomes]


class TestRooms:
    async def test_a_room_begins_empty(self, repository: Repository) -> None:
        room = RoomInfo(new_room_id(), "Imperfect Seat")
        await repository.create_room(room, KEY)
        assert await repository.get_room(room.id) == room
        assert await repository.get_members(room.id) == []
        assert await log(repository, room.id) == []

    async def test_making_it_again_changes_nothing(
        self, repository: Repository, process: ProcessId
    ) -> None:
        room = RoomInfo(new_room_id(), "Imperfect Seat")
        await repository.create_room(room, KEY)
        await join(repository, process, room.id)
        await repository.create_room(room, KEY)
        assert (await repository.get_room(room.id)).head == 1

    async def test_a_room_that_was_never_made(self, repository: Repository) -> None:
        room, message = new_room_id(), new_message_id()
        with pytest.raises(RoomNotFoundError):
            await repository.get_room(room)
        with pytest.raises(RoomNotFoundError):
            await repository.get_members(room)
        with pytest.raises(RoomNotFoundError):
            await repository.read(room, after=0, limit=1)
        with pytest.raises(RoomNotFoundError):
            await repository.find(room, message)
        with pytest.raises(RoomNotFoundError):
            await repository.delete_room(room, KEY)

    async def test_deleting_removes_members_and_messages(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        other = await make_room(repository)
        await join(repository, process, room)
        stays = await join(repository, process, other)
        await repository.delete_room(room, KEY)
        with pytest.raises(RoomNotFoundError):
            await repository.read(room, after=0, limit=1)
        with pytest.raises(RoomNotFoundError):
            await repository.get_members(room)
        with pytest.raises(RoomNotFoundError):
            await repository.delete_room(room, KEY)
        assert await repository.get_members_of(process) == [Present(other, stays)]
        assert len(await log(repository, other)) == 1

    async def test_deleting_takes_the_key(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        member = await join(repository, process, room)
        with pytest.raises(WrongKeyError):
            await repository.delete_room(room, b"hash of another")
        assert await repository.get_members(room) == [member]

    async def test_heads(self, repository: Repository, process: ProcessId, room: RoomId) -> None:
        empty = await make_room(repository)
        member = await join(repository, process, room)
        await store(repository, process, chat(room, member, "a"), chat(room, member, "b"))
        heads = await repository.get_heads([room, new_room_id(), empty])
        assert heads == {room: 3, empty: 0}
        assert await repository.get_heads([]) == {}
        assert (await repository.get_room(room)).head == 3

    async def test_members_come_in_order_of_joining(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        other = new_process_id()
        await repository.open_lease(other)
        members = [await join(repository, p, room) for p in (process, other, process)]
        assert await repository.get_members(room) == members


class TestAppend:
    async def test_entries_come_in_order_of_the_drafts(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        other = await make_room(repository)
        here, there = somebody(), somebody("Red Owl")
        drafts = [
            joined(room, here),
            joined(other, there),
            chat(room, here, "one"),
            chat(other, there, "two"),
            chat(room, here, "three"),
        ]
        entries = await repository.append(drafts, process)
        assert kinds(entries) == [1, 1, 2, 2, 3]
        assert all(map(same, entries, drafts))
        assert await log(repository, room) == [entries[0], entries[2], entries[4]]
        assert await log(repository, other) == [entries[1], entries[3]]

    async def test_numbers_go_on_from_call_to_call(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        member = await join(repository, process, room)
        for seq in range(2, 6):
            (entry,) = await store(repository, process, chat(room, member, "hello"))
            assert entry.seq == seq

    async def test_nothing_to_append(self, repository: Repository, process: ProcessId) -> None:
        assert await repository.append([], process) == []

    async def test_any_number_of_drafts(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        member = await join(repository, process, room)
        drafts = [chat(room, member, str(n)) for n in range(3000)]
        entries = await store(repository, process, *drafts)
        assert [e.seq for e in entries] == list(range(2, 3002))
        assert [e.message.text for e in await log(repository, room)][1:] == [
            str(n) for n in range(3000)
        ]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            " ",
            "NULL",
            "{}",
            '{"a,b"}',
            "\\",
            '\\"',
            "%s",
            "'; --",
            "\x01\t\r\n",
            "ä€😀",
            "x" * 16384,
        ],
        ids=lambda text: text[:8].encode("unicode_escape").decode(),
    )
    async def test_text_comes_back_as_it_was(
        self, repository: Repository, process: ProcessId, room: RoomId, text: str
    ) -> None:
        member = Identity(new_member_id(), text)
        draft = chat(room, member, text)
        entries = await store(repository, process, joined(room, member), draft)
        assert same(entries[1], draft)
        assert await log(repository, room) == entries
        assert await repository.get_members(room) == [member]

    async def test_sent_is_the_time_in_utc_and_never_goes_back(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        before = datetime.now(UTC)
        member = await join(repository, process, room)
        for _ in range(5):
            await store(repository, process, *(chat(room, member, "a") for _ in range(3)))
        sent = [entry.message.sent for entry in await log(repository, room)]
        assert sent == sorted(sent)
        assert before - timedelta(minutes=1) < sent[0] <= sent[-1] < before + timedelta(minutes=1)
        assert {time.utcoffset() for time in sent} == {timedelta(0)}

    async def test_storing_again_gives_the_entry_of_then(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        member = somebody()
        drafts = [joined(room, member), chat(room, member, "a"), left(room, member)]
        entries = await store(repository, process, *drafts)
        assert await repository.append(drafts, process) == entries
        assert await repository.append(drafts[::-1], process) == entries[::-1]
        assert await log(repository, room) == entries

    async def test_new_and_stored_drafts_in_one_call(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        member = somebody()
        first = [joined(room, member), chat(room, member, "a")]
        entries = await store(repository, process, *first)
        more = [chat(room, member, "b"), *first, chat(room, member, "c")]
        outcomes = await repository.append(more, process)
        assert kinds(outcomes) == [3, 1, 2, 4]
        assert outcomes[1:3] == entries

    async def test_a_joined_repeated_after_the_left_does_not_join_again(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        member = somebody()
        arrival = joined(room, member)
        entries = await store(repository, process, arrival, left(room, member))
        again = await repository.append([arrival, chat(room, member, "still here?")], process)
        assert again[0] == entries[0]
        assert kinds(again) == [1, NotAMemberError]
        assert await repository.get_members(room) == []
        assert await repository.get_members_of(process) == []

    async def test_an_id_belongs_to_its_room(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        other = await make_room(repository)
        here, there = somebody(), somebody()
        await store(repository, process, joined(room, here), joined(other, there))
        id_ = new_message_id()
        drafts = [
            Draft(id_, room, here, MessageType.CHAT, "here"),
            Draft(id_, other, there, MessageType.CHAT, "there"),
        ]
        for draft in drafts:
            (entry,) = await store(repository, process, draft)
            assert same(entry, draft)

    async def test_joined_makes_a_member_through_the_process(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        member = await join(repository, process, room)
        assert await repository.get_members(room) == [member]
        assert await repository.get_members_of(process) == [Present(room, member)]

    @pytest.mark.parametrize("ended", [False, True])
    async def test_joined_needs_a_lease(
        self, repository: Repository, process: ProcessId, room: RoomId, ended: bool
    ) -> None:
        dead = new_process_id()
        if ended:
            await repository.open_lease(dead)
            await repository.end_lease(dead)
        member, other = somebody(), await join(repository, process, room)
        drafts = [joined(room, member), chat(room, member, "hello"), chat(room, other, "hi")]
        assert kinds(await repository.append(drafts, dead)) == [LeaseLostError, NotAMemberError, 2]
        assert await repository.get_members(room) == [other]

    async def test_a_joined_that_is_stored_is_so_whatever_became_of_the_lease(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        arrival = joined(room, somebody())
        entries = await store(repository, process, arrival)
        await repository.end_lease(process)
        assert await repository.append([arrival], process) == entries

    async def test_left_ends_the_membership(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        gone, stays = [await join(repository, process, room) for _ in range(2)]
        await store(repository, process, left(room, gone))
        assert await repository.get_members(room) == [stays]
        assert await repository.get_members_of(process) == [Present(room, stays)]

    async def test_left_comes_once(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        member = await join(repository, process, room)
        drafts = [left(room, member), left(room, member)]
        assert kinds(await repository.append(drafts, process)) == [2, NotAMemberError]
        assert kinds(await repository.append([left(room, member)], process)) == [NotAMemberError]
        assert (await repository.get_room(room)).head == 2

    async def test_any_process_may_say_that_a_member_left(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        member = await join(repository, process, room)
        await store(repository, new_process_id(), left(room, member))
        assert await repository.get_members(room) == []

    async def test_nobody_talks_before_joining_or_after_leaving(
        self, repository: Repository, process: ProcessId, room: RoomId
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
        assert kinds(await repository.append(drafts, process)) == [
            NotAMemberError,
            NotAMemberError,
            1,
            2,
            3,
            NotAMemberError,
        ]
        assert await repository.get_members(room) == []

    async def test_a_member_of_one_room_is_none_of_another(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        other = await make_room(repository)
        member = await join(repository, process, room)
        outcomes = await repository.append([chat(other, member, "hello")], process)
        assert kinds(outcomes) == [NotAMemberError]

    async def test_a_refused_draft_does_not_hold_up_the_others(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        member, deleted = await join(repository, process, room), await make_room(repository)
        await repository.delete_room(deleted, KEY)
        drafts = [
            chat(room, member, "one"),
            chat(new_room_id(), member, "no such room"),
            joined(deleted, member),
            chat(room, member, "a\0b"),
            chat(room, somebody(), "a stranger"),
            chat(room, member, "two"),
        ]
        outcomes = await repository.append(drafts, process)
        assert kinds(outcomes) == [
            2,
            RoomNotFoundError,
            RoomNotFoundError,
            RejectedError,
            NotAMemberError,
            3,
        ]
        assert len(await log(repository, room)) == 3

    async def test_writers_at_once_leave_no_gap(
        self, repository: Repository, process: ProcessId
    ) -> None:
        rooms = [await make_room(repository) for _ in range(3)]
        gaps: list[RoomId] = []

        async def write(order: list[RoomId]) -> None:
            member = somebody()
            await store(repository, process, *(joined(room, member) for room in order))
            for _ in range(10):
                await store(repository, process, *(chat(room, member, "x") for room in order))
            await store(repository, process, *(left(room, member) for room in order))

        async def watch(room: RoomId) -> None:
            while True:
                seqs = [entry.seq for entry in await log(repository, room)]
                if seqs != list(range(1, len(seqs) + 1)):
                    gaps.append(room)
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as watchers:
            watchers.start_soon(watch, rooms[0])
            async with trio.open_nursery() as writers:
                for n in range(4):
                    writers.start_soon(write, rooms if n % 2 else rooms[::-1])
            watchers.cancel_scope.cancel()
        assert not gaps
        assert await repository.get_heads(rooms) == dict.fromkeys(rooms, 48)


class TestReading:
    async def test_pages_by_arithmetic(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        member = await join(repository, process, room)
        await store(repository, process, *(chat(room, member, str(n)) for n in range(2, 11)))
        entries = await log(repository, room)
        assert [entry.seq for entry in entries] == list(range(1, 11))
        assert await repository.read(room, after=0, limit=3) == entries[:3]
        assert await repository.read(room, after=3, limit=3) == entries[3:6]
        assert await repository.read(room, after=8, limit=100) == entries[8:]
        assert await repository.read(room, after=10, limit=100) == []
        assert await repository.read(room, after=99, limit=100) == []

    async def test_find(self, repository: Repository, process: ProcessId, room: RoomId) -> None:
        member, other = await join(repository, process, room), await make_room(repository)
        entries = await store(repository, process, *(chat(room, member, "a") for _ in range(3)))
        for entry in entries:
            assert await repository.find(room, entry.message.id) == entry.seq
        with pytest.raises(MessageNotFoundError):
            await repository.find(room, new_message_id())
        with pytest.raises(MessageNotFoundError):
            await repository.find(other, entries[0].message.id)


class TestStaleRooms:
    async def test_rooms_that_nobody_has_been_in(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        lived_in, left_behind = [await make_room(repository) for _ in range(2)]
        await join(repository, process, lived_in)
        member = await join(repository, process, left_behind)
        await store(repository, process, left(left_behind, member))
        assert await repository.remove_stale_rooms(60) == []
        assert set(await repository.remove_stale_rooms(0)) == {room, left_behind}
        assert await repository.get_heads([room, lived_in, left_behind]) == {lived_in: 1}
        with pytest.raises(RoomNotFoundError):
            await repository.read(left_behind, after=0, limit=1)
        assert await repository.remove_stale_rooms(0) == []

    async def test_the_time_that_counts_is_that_of_the_last_entry(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        # The only clock here is the database's own, so a little real time has to pass.
        await trio.sleep(0.3)
        member = await join(repository, process, room)
        await store(repository, process, left(room, member))
        assert await repository.remove_stale_rooms(0.25) == []
        await trio.sleep(0.3)
        assert await repository.remove_stale_rooms(0.25) == [room]


class TestLeases:
    async def test_the_number_grows_with_each_renewal(
        self, repository: Repository, process: ProcessId
    ) -> None:
        other = new_process_id()
        await repository.open_lease(other)
        first = await repository.renew_lease(process)
        second = await repository.renew_lease(process)
        assert set(first) == set(second) == {process, other}
        assert second[process] > first[process]
        assert second[other] == first[other]

    async def test_opening_again_changes_nothing(
        self, repository: Repository, process: ProcessId
    ) -> None:
        numbers = await repository.renew_lease(process)
        await repository.open_lease(process)
        assert (await repository.renew_lease(process))[process] > numbers[process]

    async def test_a_process_without_a_lease_cannot_renew_it(self, repository: Repository) -> None:
        with pytest.raises(LeaseLostError):
            await repository.renew_lease(new_process_id())

    async def test_death_is_for_good(self, repository: Repository, process: ProcessId) -> None:
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

    async def test_who_came_back_in_time_stays_alive(
        self, repository: Repository, process: ProcessId
    ) -> None:
        seen = (await repository.renew_lease(process))[process]
        newer = (await repository.renew_lease(process))[process]
        assert not await repository.end_lease(process, seen)
        assert (await repository.renew_lease(process))[process] > newer
        last = (await repository.renew_lease(process))[process]
        assert await repository.end_lease(process, last)
        with pytest.raises(LeaseLostError):
            await repository.renew_lease(process)

    async def test_a_process_that_never_renewed_can_be_declared_dead(
        self, repository: Repository, process: ProcessId
    ) -> None:
        watcher = new_process_id()
        await repository.open_lease(watcher)
        seen = (await repository.renew_lease(watcher))[process]
        assert await repository.end_lease(process, seen)

    async def test_orphans_are_the_members_of_dead_processes(
        self, repository: Repository, process: ProcessId, room: RoomId
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
        await repository.delete_room(other, KEY)
        assert await repository.get_orphans() == []

    async def test_orphans_come_a_thousand_at_most(
        self, repository: Repository, process: ProcessId, room: RoomId
    ) -> None:
        members = [somebody() for _ in range(1100)]
        await store(repository, process, *(joined(room, member) for member in members))
        await repository.end_lease(process)
        orphans = await repository.get_orphans()
        assert len(set(orphans)) == 1000
        await store(repository, process, *(left(p.room_id, p.member) for p in orphans))
        assert len(await repository.get_orphans()) == 100

    async def test_members_of_a_process(self, repository: Repository, process: ProcessId) -> None:
        assert await repository.get_members_of(process) == []
        assert await repository.get_members_of(new_process_id()) == []


async def test_check(repository: Repository) -> None:
    await repository.check()


async def test_it_stays_usable_when_calls_are_cancelled(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    member = somebody()
    draft = joined(room, member)
    for delay in (0, 0.0001, 0.0003, 0.001, 0.01):
        with trio.move_on_after(delay):
            await repository.append([draft], process)
        with trio.move_on_after(delay):
            await repository.renew_lease(process)
    (entry,) = await store(repository, process, draft)
    assert await log(repository, room) == [entry]
    assert await repository.get_members(room) == [member]


class Model:
    """The contract of `append` in its plainest form: one draft after the other."""

    def __init__(self, rooms: list[RoomId]) -> None:
        self.logs: dict[RoomId, list[Draft]] = {room: [] for room in rooms}
        self.members: dict[RoomId, list[Identity]] = {room: [] for room in rooms}

    def append(self, draft: Draft, lives: bool) -> object:
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
            if not lives:
                return LeaseLostError
            members.append(draft.member)
        elif draft.member not in members:
            return NotAMemberError
        if draft.type is MessageType.LEFT:
            members.remove(draft.member)
        log.append(draft)
        return len(log)

    def joins_twice(self, draft: Draft) -> bool:
        """What the contract leaves open: a member who joins without having left."""
        return (
            draft.type is MessageType.JOINED
            and draft not in self.logs.get(draft.room_id, ())
            and draft.member in self.members.get(draft.room_id, ())
        )


WHAT = st.sampled_from(["joined", "joined", "chat", "chat", "chat", "left", "nul", "repeat"])
STEP = st.tuples(WHAT, st.integers(0, 3), st.integers(0, 2), st.integers(0, 30))
BATCH = st.tuples(st.sampled_from([True, True, True, False]), st.lists(STEP, max_size=12))


@settings(
    max_examples=60,
    deadline=None,
    # Each example makes rooms of its own, so they can share a database.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=st.lists(BATCH, max_size=6))
def test_any_history_ends_as_the_contract_says(
    url: str | None, history: list[tuple[bool, list[tuple[str, int, int, int]]]]
) -> None:
    if url is None:
        trio.run(follow, MemoryRepository(), history)
    else:
        trio.run(follow_on_postgres, url, history)


async def follow_on_postgres(
    url: str, history: list[tuple[bool, list[tuple[str, int, int, int]]]]
) -> None:
    repository = PostgresRepository(url)
    try:
        await follow(repository, history)
    finally:
        await repository.aclose()


async def follow(
    repository: Repository, history: list[tuple[bool, list[tuple[str, int, int, int]]]]
) -> None:
    """Append the batches, made of steps, and compare everything with the model."""
    living, dead = new_process_id(), new_process_id()
    await repository.open_lease(living)
    rooms = [await make_room(repository) for _ in range(3)]
    model, members = Model(rooms), [somebody(str(n)) for n in range(3)]
    past: list[Draft] = []
    for lives, steps in history:
        batch: list[Draft] = []
        expected: list[object] = []
        for what, where, who, which in steps:
            # Which refusal comes first, the room's or the text's, is left open.
            place = rooms[where % 3] if what == "nul" else (*rooms, new_room_id())[where]
            member = members[who]
            if what == "repeat" and past:
                draft = past[which % len(past)]
            elif what == "joined":
                draft = joined(place, member)
            elif what == "left":
                draft = left(place, member)
            else:
                draft = chat(place, member, "a\0" if what == "nul" else "a")
            if draft not in batch and not model.joins_twice(draft):
                batch.append(draft)
                expected.append(model.append(draft, lives))
        outcomes = await repository.append(batch, living if lives else dead)
        assert kinds(outcomes) == expected
        past += batch
    for room in rooms:
        entries = await log(repository, room)
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        assert len(entries) == len(model.logs[room])
        assert all(map(same, entries, model.logs[room]))
        assert await repository.get_members(room) == model.members[room]
    assert await repository.get_heads(rooms) == {room: len(model.logs[room]) for room in rooms}
