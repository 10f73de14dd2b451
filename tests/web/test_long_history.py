"""A long history is streamed, so that the server needs little memory for it."""

import os
from functools import partial
from pathlib import Path

import trio

from sharechat.adapters.memory import MemoryBus, MemoryRepository
from sharechat.bootstrap import Stores, build
from sharechat.config import Settings
from sharechat.domain.ids import RoomId, new_member_id, new_process_id, new_room_id
from sharechat.domain.messages import Identity, RoomInfo
from sharechat.net import acceptor
from tests.harness.deadline import DEADLINE
from tests.harness.drafts import chat, joined

MESSAGES = 200_000
ALLOWED = 50_000_000
"""Bytes by which memory may grow; the response is several times as large."""


def memory() -> int:
    """Return this process's resident memory, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def fill(repository: MemoryRepository) -> RoomId:
    room, who, process = new_room_id(), Identity(new_member_id(), "Teal Creek"), new_process_id()
    await repository.create_room(RoomInfo(room, "Imperfect Seat"), b"")
    await repository.open_lease(process)
    await repository.append([joined(room, who)], process)
    for start in range(1, MESSAGES, 10_000):
        batch = [chat(room, who, str(n)) for n in range(start, min(start + 10_000, MESSAGES))]
        await repository.append(batch, process)
    return room


async def test_a_long_history_is_sent_in_bounded_memory() -> None:
    repository = MemoryRepository()
    room = await fill(repository)
    server = build(Settings(), Stores(repository, MemoryBus().queue()))
    listener = acceptor.bind("127.0.0.1", 0)
    address = listener.getsockname()
    stop, started = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(
                acceptor.serve,
                server.app,
                server.admission,
                listener,
                until=stop.wait,
                drain=server.controller.stop,
                started=started.set,
            )
        )
        with trio.fail_after(DEADLINE):
            await started.wait()
        stream = await trio.open_tcp_stream(*address)
        async with stream:
            before = highest = memory()
            await stream.send_all(
                f"GET /api/room/{room}/messages HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            )
            count, size, tail, end = 0, 0, b"", b"]\r\n0\r\n\r\n"
            with trio.fail_after(3 * DEADLINE):
                while not tail.endswith(end):
                    data = await stream.receive_some(1 << 16)
                    assert data
                    count += (tail[-5:] + data).count(b'{"id":')
                    size += len(data)
                    tail = (tail + data)[-20:]
                    highest = max(highest, memory())
        assert count == MESSAGES
        assert size > 200 * MESSAGES
        assert highest - before < ALLOWED
        print(f"memory grew by {(highest - before) / 1e6:.1f} MB")
        stop.set()
