"""No client, slow, silent or hostile, holds a task, a room, the memory or the end of the server."""

import json
import resource
import signal
import socket
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import count
from typing import Self

import pytest
import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Pong, TextMessage
from wsproto.frame_protocol import Opcode

from tests.harness.cluster import cluster
from tests.harness.deadline import DEADLINE, eventually
from tests.harness.http import Json, fetch, history, make_room
from tests.harness.peer import Peer, compressed, frame, text, upgrade
from tests.harness.process import SharechatProcess

MIB = 1 << 20
PADDING = "x" * 4000
"""So that what the kernel holds for who does not read is soon full."""

PATIENCE = 3 * DEADLINE

_END = b"this is the end"


@pytest.fixture(autouse=True, scope="module")
def _files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(name="busy")
def _busy() -> Iterator[SharechatProcess]:
    """A server of this test's own, whose memory tells what the test cost."""
    with SharechatProcess("--message-rate", "0", "--log-level", "warning") as server:
        yield server
        if server.exit_code is None:
            assert server.stop() == 0
        assert server.stderr == ""


class Deaf:
    """Members that never read, for whom the kernel holds as little as it can."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._sockets:
            sock.close()

    def join(self, server: SharechatProcess, room: str, members: int) -> None:
        """Let so many join, blocking."""
        for _ in range(members):
            self._sockets.append(deaf_socket(server, room))


def deaf_socket(server: SharechatProcess, room: str) -> socket.socket:
    """Join, blocking, with a socket that takes very little."""
    sock = socket.socket()
    try:
        sock.settimeout(DEADLINE)
        # Before connecting: shrinking a window later makes the kernel drop what it acknowledges.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        # With the large segments of the loopback the server's end would hold 2.5 MB.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(upgrade(f"/api/serve/{room}"))
        assert sock.recv(12) == b"HTTP/1.1 101"
    except BaseException:
        sock.close()
        raise
    return sock


class Ear:
    """A member that reads all the time, and keeps all that it heard."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.data = bytearray(peer.early)
        self.closed_at = 0.0
        self.closed = trio.Event()
        self._marks: dict[bytes, trio.Event] = {}

    @classmethod
    async def open(cls, server: SharechatProcess, room: str, nursery: trio.Nursery) -> Self:
        """Join, and listen until the nursery ends."""
        ear = cls(await Peer.open(server.ws_url(room)))
        nursery.start_soon(ear._listen)
        await ear.hears(b'"type":"joined"')
        return ear

    async def _listen(self) -> None:
        with suppress(trio.BrokenResourceError):
            while data := await self.peer.stream.receive_some(1 << 18):
                before = max(0, len(self.data) - 200)
                self.data += data
                for mark in [mark for mark in self._marks if self.data.find(mark, before) >= 0]:
                    self._marks.pop(mark).set()
        self.closed_at = time.monotonic()
        self.closed.set()

    def mark(self, mark: bytes) -> trio.Event:
        """Return what is set when these bytes, up to 200, are heard."""
        return self._marks.setdefault(mark, trio.Event())

    async def hears(self, mark: bytes) -> None:
        """Wait until these bytes are heard, or have been."""
        if mark not in self.data:
            with trio.fail_after(PATIENCE):
                await self.mark(mark).wait()

    async def round_trip(self, words: str) -> float:
        """Say something, and return how long it took to hear it."""
        heard = self.mark(f'"{words}:'.encode())
        started = time.monotonic()
        await self.peer.send(text(f"{words}:{PADDING}"))
        with trio.fail_after(PATIENCE):
            await heard.wait()
        return time.monotonic() - started

    def messages(self) -> list[Json]:
        """Return all that was said."""
        return [json.loads(said) for said in events(self.data)[0]]

    def close_code(self) -> int | None:
        return events(self.data)[2]


def events(data: bytes | bytearray) -> tuple[list[str], list[bytes], int | None]:
    """Return the texts, the payloads of the pongs and the close code that the bytes hold."""
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(bytes(data))
    texts, pongs, code = [], [], None
    pieces: list[str] = []
    for event in client.events():
        if isinstance(event, TextMessage):
            pieces.append(event.data)
            if event.message_finished:
                texts.append("".join(pieces))
                pieces = []
        elif isinstance(event, Pong):
            pongs.append(bytes(event.payload))
        elif isinstance(event, CloseConnection):
            code = int(event.code)
    return texts, pongs, code


class Memory:
    """The highest resident memory of a server, since `watch` began, over what it was then."""

    def __init__(self, server: SharechatProcess) -> None:
        self._server = server
        self._before = server.memory
        self.growth = 0

    @classmethod
    @asynccontextmanager
    async def watch(cls, server: SharechatProcess) -> AsyncIterator[Self]:
        memory = cls(server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(memory._look)
            yield memory
            nursery.cancel_scope.cancel()
        memory._note()

    async def _look(self) -> None:
        while True:
            self._note()
            await trio.sleep(0.02)

    def _note(self) -> None:
        self.growth = max(self.growth, self._server.memory - self._before)


async def arrive(
    server: SharechatProcess, room: str, members: int, nursery: trio.Nursery
) -> list[Ear]:
    return [await Ear.open(server, room, nursery) for _ in range(members)]


async def members_are(server: SharechatProcess, room: str, members: int) -> None:
    url = f"{server.url}/api/room/{room}"
    await eventually(lambda: len(fetch(url).json["members"]) == members, PATIENCE)


async def say(ear: Ear, name: str, took: list[float], times: int | None = None) -> None:
    """Talk, each message once the one before has been heard; for ever unless told otherwise."""
    for number in count() if times is None else range(times):
        seconds = await ear.round_trip(f"{name}-{number}")
        took.append(seconds)


async def finish(ears: Sequence[Ear]) -> None:
    """Let everybody hear the end."""
    await ears[0].peer.send(text(_END))
    for ear in ears:
        await ear.hears(_END)


def assert_all_heard_all(server: SharechatProcess, room: str, ears: Sequence[Ear]) -> list[Json]:
    """From its own coming on each heard the same bytes, and those are the history; return it."""
    first = bytes(ears[0].data)
    everything = history(server.url, room)
    assert ears[0].messages() == everything
    for ear in ears:
        assert first.endswith(ear.data)
    return everything


def shown(what: str, took: Sequence[float]) -> None:
    p99 = statistics.quantiles(took, n=100)[98]
    print(
        f"{what}: {len(took)} round trips, p50 {1000 * statistics.median(took):.1f} ms, "
        f"p99 {1000 * p99:.1f} ms, longest {1000 * max(took):.1f} ms"
    )


async def test_one_of_a_hundred_stops_reading(busy: SharechatProcess) -> None:
    room = make_room(busy.url)
    async with trio.open_nursery() as nursery:
        ears = await arrive(busy, room, 99, nursery)
        before: list[float] = []
        during: list[float] = []
        async with trio.open_nursery() as talking:
            for number in range(5):
                talking.start_soon(say, ears[number], f"before-{number}", before, 30)
        left = ears[0].mark(b'"type":"left"')
        with Deaf() as deaf:
            await trio.to_thread.run_sync(deaf.join, busy, room, 1)
            started = time.monotonic()
            async with Memory.watch(busy) as memory, trio.open_nursery() as talking:
                for number in range(5):
                    talking.start_soon(say, ears[number], f"during-{number}", during)
                with trio.fail_after(PATIENCE):
                    await left.wait()
                gone_after = time.monotonic() - started
                talking.cancel_scope.cancel()
            await finish(ears)
        everything = assert_all_heard_all(busy, room, ears)
        assert [message["type"] for message in everything].count("left") == 1
        assert len(fetch(f"{busy.url}/api/room/{room}").json["members"]) == 99
        shown("before", before)
        shown("during", during)
        print(f"it left after {gone_after:.2f} s; memory grew by {memory.growth / MIB:.1f} MiB")
        # The 1 MiB that may wait, what is stored (it is all in memory), and as much again.
        assert memory.growth < 20 * MIB
        assert statistics.median(during) < 1
        nursery.cancel_scope.cancel()


async def test_five_hundred_stop_reading_at_once(busy: SharechatProcess) -> None:
    many, talkers = 500, 5
    room = make_room(busy.url)
    async with trio.open_nursery() as nursery:
        ears = await arrive(busy, room, talkers, nursery)
        with Deaf() as deaf:
            await trio.to_thread.run_sync(deaf.join, busy, room, many)
            await members_are(busy, room, many + talkers)
            took: list[float] = []
            started = time.monotonic()
            async with Memory.watch(busy) as memory, trio.open_nursery() as talking:
                for number, ear in enumerate(ears):
                    talking.start_soon(say, ear, str(number), took)
                await members_are(busy, room, talkers)
                gone_after = time.monotonic() - started
                talking.cancel_scope.cancel()
            await finish(ears)
        everything = assert_all_heard_all(busy, room, ears)
        assert [message["type"] for message in everything].count("left") == many
        shown("talkers", took)
        print(f"all left after {gone_after:.2f} s; memory grew by {memory.growth / MIB:.1f} MiB")
        # 500 MiB may wait; but most of that is the same for all, and kept once.
        assert memory.growth < 200 * MIB
        nursery.cancel_scope.cancel()


async def test_stopping_with_five_hundred_that_never_read() -> None:
    many, readers = 500, 3
    with cluster() as servers, Deaf() as deaf:
        server = servers.serve("--message-rate", "0", "--log-level", "warning")
        other = servers.serve("--log-level", "warning")
        room = make_room(server.url)
        async with trio.open_nursery() as nursery:
            ears = await arrive(server, room, readers, nursery)
            async with trio.open_nursery() as joining:
                for _ in range(4):
                    joining.start_soon(
                        trio.to_thread.run_sync, partial(deaf.join, server, room, many // 4)
                    )
            await members_are(server, room, many + readers)
            # So much that for those who do not read something waits, but not too much of it.
            await say(ears[0], "words", [], 50)
            asked = time.monotonic()
            server.signal(signal.SIGTERM)
            assert await trio.to_thread.run_sync(server.wait) == 0
            took = time.monotonic() - asked
            print(f"stopped after {took:.2f} s")
            assert took < 10
            nursery.cancel_scope.cancel()
        assert [ear.close_code() for ear in ears] == [1012] * readers
        assert server.stderr == ""
        everything = history(other.url, room)
        came, went = (
            {message["memberId"] for message in everything if message["type"] == kind}
            for kind in ("joined", "left")
        )
        assert len(came) == many + readers
        assert went == came
        assert len(everything) == 2 * len(came) + 50
        assert fetch(f"{other.url}/api/room/{room}").json["members"] == []
        assert other.stop() == 0


async def test_stopping_does_not_send_everyone_away_at_once(busy: SharechatProcess) -> None:
    """They would all be back, at some other server, in the same moment."""
    room = make_room(busy.url)
    async with trio.open_nursery() as nursery:
        ears: list[Ear] = []
        gate = trio.CapacityLimiter(20)
        async with trio.open_nursery() as arriving:

            async def come() -> None:
                async with gate:
                    ears.append(await Ear.open(busy, room, nursery))

            for _ in range(300):
                arriving.start_soon(come)
        asked = time.monotonic()
        busy.signal(signal.SIGTERM)
        with trio.fail_after(PATIENCE):
            for ear in ears:
                await ear.closed.wait()
        assert await trio.to_thread.run_sync(busy.wait) == 0
        print(f"300 members: stopped after {time.monotonic() - asked:.2f} s")
    times = sorted(ear.closed_at for ear in ears)
    assert {ear.close_code() for ear in ears[::10]} == {1012}
    # 3 s for a thousand are 0.9 s for these.
    print(f"closes spread over {times[-1] - times[0]:.2f} s")
    assert times[-1] - times[0] > 0.5
    busiest = max(sum(start <= at < start + 0.05 for at in times) for start in times)
    print(f"at most {busiest} within 50 ms")
    assert busiest < 150


@pytest.mark.parametrize("way", ["pings", "texts"])
async def test_a_flood_is_the_flooders_own_affair(way: str) -> None:
    """As many frames as fit, as fast as they are taken, by one that does not listen."""
    flags = ("--message-rate", "20", "--log-level", "warning")
    with SharechatProcess(*flags) as server:
        room = make_room(server.url)
        async with trio.open_nursery() as nursery:
            ears = await arrive(server, room, 3, nursery)
            before = [await ears[0].round_trip(f"before-{number}") for number in range(30)]
            flooder = await Peer.open(server.ws_url(room))
            unit = frame(Opcode.PING, b"") if way == "pings" else text("!")
            sent = 0

            async def flood() -> None:
                nonlocal sent
                while True:
                    await flooder.stream.send_all(unit * 5000)
                    sent += 5000

            async with Memory.watch(server) as memory, trio.open_nursery() as flooding:
                flooding.start_soon(flood)
                during = [await ears[1].round_trip(f"during-{number}") for number in range(40)]
                flooding.cancel_scope.cancel()
            shown("before", before)
            shown("during", during)
            print(f"{sent} {way}; memory grew by {memory.growth / MIB:.1f} MiB")
            assert memory.growth < 32 * MIB
            assert statistics.median(during) < 1
            flooder.drop()
            nursery.cancel_scope.cancel()
        assert server.stop() == 0
        assert server.stderr == ""


async def test_pongs_that_nobody_reads_are_bounded_and_whole(busy: SharechatProcess) -> None:
    room = make_room(busy.url)
    # With a tiny window its kernel would drop what the server acknowledges, and hold it back.
    flooder = await Peer.open(busy.ws_url(room))
    async with Memory.watch(busy) as memory:
        for number in range(30_000):
            await flooder.send(frame(Opcode.PING, b"%0120d" % number) * 10)
    print(f"memory grew by {memory.growth / MIB:.1f} MiB")
    assert memory.growth < 16 * MIB
    # It reads again, and says something: it hears that, and no frame is torn.
    data = bytearray(flooder.early)
    await flooder.send(text("still here"))
    with trio.fail_after(PATIENCE):
        while b"still here" not in data[-5000:] or not data.endswith(b"}"):
            data += await flooder.stream.receive_some(4096)
    texts, pongs, _ = events(data)
    assert json.loads(texts[-1])["message"] == "still here"
    assert pongs == sorted(pongs)
    flooder.drop()


async def test_what_never_ends_is_cut_off(busy: SharechatProcess) -> None:
    """It takes the 12 s of real time after which a connection that gets nothing is cut off."""
    room = make_room(busy.url)
    handshake = upgrade(f"/api/serve/{room}")
    half = handshake[: len(handshake) // 2]
    body = b"POST /api/room HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n"
    chunks = b"POST /api/room HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    lasted: dict[str, float] = {}
    answers: dict[str, bytes] = {}

    async def hold(name: str, begin: bytes, more: bytes, pause: float) -> None:
        """Begin, then send more and more, until the server has had enough."""
        stream = await trio.open_tcp_stream("127.0.0.1", busy.port)
        answer = b""
        started = time.monotonic()

        async def drip() -> None:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(begin)
                while more:
                    await trio.sleep(pause)
                    await stream.send_all(more)

        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
                while data := await stream.receive_some():
                    answer += data
            nursery.cancel_scope.cancel()
        lasted[name] = time.monotonic() - started
        answers[name] = answer

    async with Memory.watch(busy) as memory, trio.open_nursery() as nursery:
        nursery.start_soon(hold, "nothing", b"", b"", 0)
        nursery.start_soon(hold, "half a handshake", half, b"", 0)
        nursery.start_soon(hold, "a header that drips", half, b"x", 0.2)
        nursery.start_soon(hold, "headers without end", half, b"x" * 1000 + b"\r\nX: ", 0)
        nursery.start_soon(hold, "blank lines", b"\r\n", b"\r\n", 0.2)
        nursery.start_soon(hold, "no body", body, b"", 0)
        nursery.start_soon(hold, "a body that drips", body, b"x", 0.2)
        nursery.start_soon(hold, "a body without end", body, b"x" * 10_000, 0)
        nursery.start_soon(hold, "chunks without end", chunks, b"1\r\nx\r\n" * 1000, 0)
        nursery.start_soon(hold, "a response and nothing more", _GET, b"", 0)
    print({name: round(seconds, 1) for name, seconds in sorted(lasted.items())})
    print(f"memory grew by {memory.growth / MIB:.1f} MiB")
    assert answers["headers without end"].startswith(b"HTTP/1.1 431 ")
    assert max(lasted.values()) < 12 + 4, lasted
    assert memory.growth < 32 * MIB
    assert fetch(f"{busy.url}/api/healthz").status == 200


_GET = b"GET /api/healthz HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_fragments_without_end(busy: SharechatProcess) -> None:
    room = make_room(busy.url)
    for size in (0, 1, 100, 60_000):
        peer = await Peer.open(busy.ws_url(room))
        async with trio.open_nursery() as nursery:

            async def send(peer: Peer = peer, size: int = size) -> None:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await peer.stream.send_all(frame(Opcode.TEXT, b"x", flags=0))
                    while True:
                        fragment = frame(Opcode.CONTINUATION, b"x" * size, flags=0)
                        await peer.stream.send_all(fragment * 10)

            nursery.start_soon(send)
            assert (await peer.hear_close()).code == 1009
            nursery.cancel_scope.cancel()
        peer.drop()


async def test_a_bomb(busy: SharechatProcess) -> None:
    room = make_room(busy.url)
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    # 16 MB in 16 KB, which is what one message may hold before it is inflated.
    bomb = compressed(b"\0" * 16_000_000)
    assert len(bomb) < 16_384
    async with Memory.watch(busy) as memory:
        peers = [await Peer.open(busy.ws_url(room), offer) for _ in range(50)]
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(peer.send, bomb)
        for peer in peers:
            assert (await peer.hear_close()).code == 1009
            peer.drop()
    print(f"memory grew by {memory.growth / MIB:.1f} MiB")
    assert memory.growth < 32 * MIB
    await members_are(busy, room, 0)
