"""Members that stop reading are closed, and cost the others neither time nor memory."""

import itertools
import statistics
import time
from collections.abc import Sequence
from functools import partial

import pytest
import trio

from sharechat.net.acceptor import KERNEL_BUFFER
from tests.harness.deadline import eventually
from tests.harness.http import Json, history, make_room, members
from tests.harness.memory import MIB, MemoryWatch
from tests.harness.peer import Peer, text
from tests.harness.process import SharechatProcess
from tests.harness.reader import PATIENCE, Reader
from tests.harness.sockets import held_by_kernel, shrink_receive_buffer
from tests.harness.stalled import StalledMembers
from tests.harness.talker import join

pytestmark = [pytest.mark.usefixtures("many_files"), pytest.mark.time_limit(180)]

_END = b"this is the end"


async def join_readers(
    server: SharechatProcess, room: str, count: int, nursery: trio.Nursery
) -> list[Reader]:
    return [await Reader.open(server.ws_url(room), nursery) for _ in range(count)]


async def talk(reader: Reader, name: str, latencies: list[float], times: int | None = None) -> None:
    """Say one message after another, each once the one before was heard; forever by default."""
    for number in itertools.count() if times is None else range(times):
        seconds = await reader.round_trip(f"{name}-{number}")
        latencies.append(seconds)


async def finish(readers: Sequence[Reader]) -> None:
    """Say a last message, and wait until every reader has heard it."""
    await readers[0].peer.send(text(_END))
    for reader in readers:
        await reader.hears(_END)


def assert_all_heard_the_history(
    server: SharechatProcess, room: str, readers: Sequence[Reader]
) -> list[Json]:
    """Assert that each received the same bytes from its joining on; return the history."""
    first = bytes(readers[0].data)
    everything = history(server.url, room)
    assert readers[0].messages() == everything
    for reader in readers:
        assert first.endswith(reader.data)
    return everything


def report(what: str, latencies: Sequence[float]) -> None:
    p99 = statistics.quantiles(latencies, n=100)[98]
    print(
        f"{what}: {len(latencies)} round trips, p50 {1000 * statistics.median(latencies):.1f} ms, "
        f"p99 {1000 * p99:.1f} ms, longest {1000 * max(latencies):.1f} ms"
    )


async def test_one_stalled_member_of_a_hundred_is_closed_and_the_others_do_not_wait(
    own_server: SharechatProcess,
) -> None:
    room = make_room(own_server.url)
    async with trio.open_nursery() as nursery:
        readers = await join_readers(own_server, room, 99, nursery)
        before: list[float] = []
        during: list[float] = []
        async with trio.open_nursery() as talking:
            for number in range(5):
                talking.start_soon(talk, readers[number], f"before-{number}", before, 30)
        left = readers[0].next(b'"type":"left"')
        with StalledMembers() as stalled:
            await trio.to_thread.run_sync(stalled.join, own_server, room, 1)
            started = time.monotonic()
            async with MemoryWatch.during(own_server) as memory, trio.open_nursery() as talking:
                for number in range(5):
                    talking.start_soon(talk, readers[number], f"during-{number}", during)
                with trio.fail_after(PATIENCE):
                    await left.wait()
                left_after = time.monotonic() - started
                talking.cancel_scope.cancel()
            await finish(readers)
        everything = assert_all_heard_the_history(own_server, room, readers)
        assert [message["type"] for message in everything].count("left") == 1
        assert len(members(own_server.url, room)) == 99
        report("before", before)
        report("during", during)
        print(f"left after {left_after:.2f} s; memory grew by {memory.growth / MIB:.1f} MiB")
        # The 1 MiB that may wait, the history (it is stored in memory), and as much again.
        assert memory.growth < 20 * MIB
        assert statistics.median(during) < 1
        nursery.cancel_scope.cancel()


async def test_five_hundred_members_that_stall_at_once_are_closed_in_bounded_memory(
    own_server: SharechatProcess,
) -> None:
    many, talkers = 500, 5
    room = make_room(own_server.url)
    members_reach = partial(_members_reach, own_server.url, room)
    async with trio.open_nursery() as nursery:
        readers = await join_readers(own_server, room, talkers, nursery)
        with StalledMembers() as stalled:
            await trio.to_thread.run_sync(stalled.join, own_server, room, many)
            await members_reach(many + talkers)
            latencies: list[float] = []
            started = time.monotonic()
            async with MemoryWatch.during(own_server) as memory, trio.open_nursery() as talking:
                for number, reader in enumerate(readers):
                    talking.start_soon(talk, reader, str(number), latencies)
                await members_reach(talkers)
                left_after = time.monotonic() - started
                talking.cancel_scope.cancel()
            await finish(readers)
        everything = assert_all_heard_the_history(own_server, room, readers)
        assert [message["type"] for message in everything].count("left") == many
        report("talkers", latencies)
        print(f"all left after {left_after:.2f} s; memory grew by {memory.growth / MIB:.1f} MiB")
        # 500 MiB may wait, but most of it is the same bytes for all members, stored once.
        assert memory.growth < 200 * MIB
        nursery.cancel_scope.cancel()


async def _members_reach(url: str, room: str, count: int) -> None:
    await eventually(lambda: len(members(url, room)) == count, PATIENCE)


async def test_a_slow_member_is_closed_and_nobody_else_waits(
    unlimited: SharechatProcess, nursery: trio.Nursery
) -> None:
    room = make_room(unlimited.url)
    slow = await Peer.open(unlimited.ws_url(room))
    shrink_receive_buffer(slow.stream)
    talker = await join(nursery, unlimited.ws_url(room))
    # More than the kernel may buffer for the slow member and the 1 MiB that may wait.
    for number in range(800):
        await talker.say(f"{number}:".ljust(16_000, "x"))
        assert (await talker.hear_chats(1))[0].startswith(f"{number}:")
    await _members_reach(unlimited.url, room, 1)
    assert unlimited.memory < 200_000_000
    slow.drop()


async def test_the_kernel_holds_little_for_a_member_that_does_not_read(
    unlimited: SharechatProcess, nursery: trio.Nursery
) -> None:
    room = make_room(unlimited.url)
    slow = await Peer.open(unlimited.ws_url(room))
    talker = await join(nursery, unlimited.ws_url(room))
    await _members_reach(unlimited.url, room, 2)
    most = 0
    with trio.fail_after(PATIENCE):
        while len(members(unlimited.url, room)) == 2:
            await talker.say("x" * 16_000)
            await talker.hear_chats(1)
            most = max(most, *held_by_kernel(unlimited.port))
    # The bound holds for what is written next, so a batch may exceed it.
    assert KERNEL_BUFFER <= most < 2 * KERNEL_BUFFER
    slow.drop()


async def test_a_slow_member_is_closed_while_others_talk_in_bursts(
    unlimited: SharechatProcess, nursery: trio.Nursery
) -> None:
    """`tests/web` shows that such a member is sent 1013, which it sees if it reads again."""
    room = make_room(unlimited.url)
    slow = await Peer.open(unlimited.ws_url(room))
    shrink_receive_buffer(slow.stream)
    talker = await join(nursery, unlimited.ws_url(room))
    await _members_reach(unlimited.url, room, 2)
    with trio.fail_after(PATIENCE):
        while len(members(unlimited.url, room)) == 2:
            for _ in range(50):
                await talker.say("x" * 16_000)
            await talker.hear_chats(50)
    types = [message["type"] for message in history(unlimited.url, room)]
    assert types.count("left") == 1
    assert types.count("chat") >= 50
    slow.drop()
