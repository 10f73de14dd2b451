"""The contract of the Repository port: what `append` stores."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import trio

from sharechat.domain.errors import NotAMemberError, RejectedError, RoomNotFoundError
from sharechat.domain.ids import ProcessId, RoomId, new_member_id, new_message_id, new_room_id
from sharechat.domain.messages import Draft, Identity, MessageType
from sharechat.domain.ports import Repository
from tests.harness.cancelling import cancel_at_every_step
from tests.harness.drafts import chat, joined, left
from tests.harness.repositories import (
    KEY_HASH,
    get_heads,
    is_entry_of,
    join,
    make_room,
    read_log,
    somebody,
    store,
    summarize,
)
from tests.integration.repository.conftest import APPENDING_ADAPTERS, ShiftClock

pytestmark = pytest.mark.parametrize("url", APPENDING_ADAPTERS, indirect=True)


async def test_entries_are_returned_in_the_order_of_the_drafts(
    repository: Repository, process: ProcessId, room: RoomId
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
    assert summarize(entries) == [1, 1, 2, 2, 3]
    assert all(map(is_entry_of, entries, drafts))
    assert await read_log(repository, room) == [entries[0], entries[2], entries[4]]
    assert await read_log(repository, other) == [entries[1], entries[3]]


async def test_the_next_call_continues_the_numbers(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    member = await join(repository, process, room)
    for seq in range(2, 6):
        (entry,) = await store(repository, process, chat(room, member, "hello"))
        assert entry.seq == seq


async def test_appending_nothing_returns_nothing(
    repository: Repository, process: ProcessId
) -> None:
    assert await repository.append([], process) == []


async def test_thousands_of_drafts_are_stored_in_one_call(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    member = await join(repository, process, room)
    drafts = [chat(room, member, str(n)) for n in range(3000)]
    entries = await store(repository, process, *drafts)
    assert [entry.seq for entry in entries] == list(range(2, 3002))
    texts = [entry.message.text for entry in await read_log(repository, room)]
    assert texts[1:] == [str(n) for n in range(3000)]


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
async def test_text_is_stored_unchanged(
    repository: Repository, process: ProcessId, room: RoomId, text: str
) -> None:
    member = Identity(new_member_id(), text)
    draft = chat(room, member, text)
    entries = await store(repository, process, joined(room, member), draft)
    assert is_entry_of(entries[1], draft)
    assert await read_log(repository, room) == entries
    assert await repository.get_members(room) == [member]


async def test_sent_is_the_time_in_utc(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    before = datetime.now(UTC)
    await join(repository, process, room)
    (entry,) = await read_log(repository, room)
    assert abs(entry.message.sent - before) < timedelta(minutes=1)
    assert entry.message.sent.utcoffset() == timedelta(0)


async def test_sent_does_not_go_back_when_the_clock_does(
    repository: Repository, process: ProcessId, room: RoomId, shift_clock: ShiftClock
) -> None:
    member = await join(repository, process, room)
    await shift_clock(-3600)
    for _ in range(2):
        await store(repository, process, chat(room, member, "a"), chat(room, member, "b"))
    # Once the clock has caught up, it counts again.
    await shift_clock(2 * 3600)
    await store(repository, process, chat(room, member, "c"))
    sent = [entry.message.sent for entry in await read_log(repository, room)]
    assert sent == sorted(sent)
    assert sent[-1] > sent[-2]


async def test_a_draft_that_is_appended_again_gets_its_first_entry(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    member = somebody()
    drafts = [joined(room, member), chat(room, member, "a"), left(room, member)]
    entries = await store(repository, process, *drafts)
    assert await repository.append(drafts, process) == entries
    assert await repository.append(drafts[::-1], process) == entries[::-1]
    assert await read_log(repository, room) == entries


async def test_one_call_may_mix_new_drafts_and_stored_ones(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    member = somebody()
    first = [joined(room, member), chat(room, member, "a")]
    entries = await store(repository, process, *first)
    more = [chat(room, member, "b"), *first, chat(room, member, "c")]
    outcomes = await repository.append(more, process)
    assert summarize(outcomes) == [3, 1, 2, 4]
    assert outcomes[1:3] == entries


async def test_an_id_that_one_call_has_twice_is_stored_once(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    """A client says something again over a second connection while the first one is still there."""
    first, second = somebody(), somebody()
    said = chat(room, first, "a")
    again = msgspec.structs.replace(said, member=second)
    drafts = [
        joined(room, first),
        joined(room, second),
        said,
        chat(room, first, "b"),
        again,
        chat(room, second, "c"),
    ]
    outcomes = await repository.append(drafts, process)
    assert summarize(outcomes) == [1, 2, 3, 4, 3, 5]
    assert outcomes[4] == outcomes[2]
    assert len(await read_log(repository, room)) == 5


async def test_drafts_that_one_call_repeats_get_their_first_entries(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    member = somebody()
    drafts = [joined(room, member), chat(room, member, "a"), left(room, member)]
    outcomes = await repository.append([*drafts, *drafts[::-1], *drafts], process)
    assert summarize(outcomes) == [1, 2, 3, 3, 2, 1, 1, 2, 3]
    assert outcomes[6:] == outcomes[:3]
    assert await read_log(repository, room) == outcomes[:3]
    assert await repository.get_members(room) == []


async def test_an_id_that_was_refused_can_be_stored_later_in_the_same_call(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    """A client says again, as a new member, what came too late from the one that has left."""
    gone, back = somebody(), somebody()
    said = chat(room, gone, "a")
    again = msgspec.structs.replace(said, member=back)
    drafts = [joined(room, back), said, again, chat(room, back, "b"), said]
    outcomes = await repository.append(drafts, process)
    assert summarize(outcomes) == [1, NotAMemberError, 2, 3, 2]
    assert is_entry_of(outcomes[2], again)
    assert outcomes[4] == outcomes[2]


async def test_the_same_id_can_be_stored_in_two_rooms(
    repository: Repository, process: ProcessId, room: RoomId
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
        assert is_entry_of(entry, draft)


async def test_a_refused_draft_does_not_hold_up_the_others(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    member, deleted = await join(repository, process, room), await make_room(repository)
    await repository.delete_room(deleted, KEY_HASH)
    drafts = [
        chat(room, member, "one"),
        chat(new_room_id(), member, "no such room"),
        joined(deleted, member),
        chat(room, member, "a\0b"),
        chat(room, somebody(), "a stranger"),
        chat(room, member, "two"),
    ]
    outcomes = await repository.append(drafts, process)
    assert summarize(outcomes) == [
        2,
        RoomNotFoundError,
        RoomNotFoundError,
        RejectedError,
        NotAMemberError,
        3,
    ]
    assert len(await read_log(repository, room)) == 3


async def test_no_reader_sees_a_gap_while_several_tasks_write(
    repository: Repository, process: ProcessId
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
            seqs = [entry.seq for entry in await read_log(repository, room)]
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
    assert await get_heads(repository, rooms) == dict.fromkeys(rooms, 48)


async def test_the_repository_stays_usable_after_cancelled_calls(
    repository: Repository, process: ProcessId, room: RoomId
) -> None:
    member = somebody()
    draft = joined(room, member)

    async def change() -> None:
        await repository.append([draft], process)
        await repository.renew_lease(process)

    async def check() -> None:
        await repository.get_rooms([room])

    await cancel_at_every_step(change, check)
    (entry,) = await store(repository, process, draft)
    assert await read_log(repository, room) == [entry]
    assert await repository.get_members(room) == [member]
