"""A long history is sent in portions, so that the server needs little memory for it."""

import re
import socket
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sharechat.adapters.memory import MemoryBus, MemoryRepository
from sharechat.bootstrap import Stores, build
from sharechat.config import Settings
from sharechat.domain.ids import RoomId, new_member_id, new_process_id, new_room_id
from sharechat.domain.messages import Entry, Identity, RoomInfo, to_json
from tests.harness.deadline import DEADLINE
from tests.harness.drafts import chat, joined
from tests.harness.http import Response, fetch
from tests.harness.memory import resident_memory
from tests.harness.peer import upgrade
from tests.harness.repositories import read_log
from tests.harness.serving import serving as serving_in_process

MESSAGES = 200_000
ALLOWED = 50_000_000
"""Bytes by which memory may grow; the response is several times as large."""

LARGEST = "\x01" * 16 * 1024
"""The largest message, each byte of which takes six in JSON."""


class CountingRepository(MemoryRepository):
    """A MemoryRepository that counts the bytes of JSON that are read."""

    bytes_read = 0

    async def read(self, room_id: RoomId, *, after: int, limit: int, max_bytes: int) -> list[Entry]:
        page = await super().read(room_id, after=after, limit=limit, max_bytes=max_bytes)
        self.bytes_read += sum(len(to_json(entry.message)) for entry in page)
        return page


async def fill(repository: MemoryRepository, *texts: str) -> RoomId:
    """Return a room with a `joined` and these messages."""
    room, who, process = new_room_id(), Identity(new_member_id(), "Teal Creek"), new_process_id()
    await repository.create_room(RoomInfo(room, "Imperfect Seat"), b"")
    await repository.open_lease(process)
    await repository.append([joined(room, who)], process)
    for start in range(0, len(texts), 10_000):
        drafts = [chat(room, who, text) for text in texts[start : start + 10_000]]
        await repository.append(drafts, process)
    return room


def serving(repository: MemoryRepository) -> AbstractAsyncContextManager[tuple[str, int]]:
    """Serve the Repository in this process; gives the address."""
    return serving_in_process(build(Settings(), Stores(repository, MemoryBus().queue())))


async def test_a_long_history_is_sent_in_bounded_memory() -> None:
    repository = MemoryRepository()
    room = await fill(repository, *map(str, range(1, MESSAGES)))
    async with serving(repository) as address, await trio.open_tcp_stream(*address) as stream:
        before = highest = resident_memory()
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
                highest = max(highest, resident_memory())
    assert count == MESSAGES
    assert size > 200 * MESSAGES
    assert highest - before < ALLOWED
    print(f"memory grew by {(highest - before) / 1e6:.1f} MB")


@pytest.mark.parametrize("way", ["all", "page", "after", "websocket"])
async def test_a_history_is_read_no_faster_than_the_client_takes_it(way: str) -> None:
    repository = CountingRepository()
    room = await fill(repository, *[LARGEST] * 600)
    first = (await read_log(repository, room))[0].message.id
    path = f"/api/room/{room}/messages"
    requests = {
        "all": f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
        "page": f"GET {path}?limit=500 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
        "after": f"GET {path}?after={first} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
        "websocket": upgrade(f"/api/serve/{room}?after={first}"),
    }
    async with serving(repository) as address:
        with trio.socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await client.connect(address)
            repository.bytes_read = 0
            await client.send(requests[way])
            with trio.fail_after(DEADLINE):
                assert await client.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 101")
                await wait_all_tasks_blocked(0.1)  # Until the server waits for the client.
    # The kernel buffers some MB.
    assert 0 < repository.bytes_read < 8_000_000


async def test_a_page_is_returned_whole_and_with_its_links_however_large_it_is() -> None:
    repository = MemoryRepository()
    room = await fill(repository, *(f"{number}:{'x' * 3000}" for number in range(1200)))
    log = await read_log(repository, room)
    async with serving(repository) as (host, port):
        base = f"http://{host}:{port}/api/room/{room}/messages"

        async def get(query: str = "") -> Response:
            return await trio.to_thread.run_sync(fetch, base + query)

        def check(response: Response, page: list[Entry], *, prev: bool, following: bool) -> None:
            assert response.status == 200
            assert response.body == b"[" + b",".join(to_json(e.message) for e in page) + b"]"
            header = response.headers["Link"] or ""
            links = dict(re.findall(r'\?(\w+=[\w-]+)&limit=\d+>; rel="(\w+)"', header))
            expected = {f"before={page[0].message.id}": "prev"} if prev else {}
            if following:
                expected[f"after={page[-1].message.id}"] = "next"
            assert links == expected

        id_ = log[100].message.id
        check(await get(), log, prev=False, following=False)
        check(await get(f"?after={id_}"), log[101:], prev=True, following=False)
        check(await get("?limit=1000"), log[-1000:], prev=True, following=False)
        check(await get(f"?after={id_}&limit=900"), log[101:1001], prev=True, following=True)
        end = log[1150].message.id
        check(await get(f"?before={end}&limit=1000"), log[150:1150], prev=True, following=True)
        check(await get(f"?before={end}&limit=2"), log[1148:1150], prev=True, following=True)
        assert "Content-Length" in (await get("?limit=2")).headers
