"""The scene of an attack: a server, a well-behaved member, and what both go through."""

import multiprocessing
import re
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import trio
from trio_websocket import ConnectionClosed

from tests.harness.cluster import Cluster
from tests.harness.http import make_room
from tests.harness.memory import MIB, MemoryWatch
from tests.harness.process import SharechatProcess
from tests.harness.talker import Talker, join

T = TypeVar("T")

ALLOWED_MEMORY = 100_000_000
"""Bytes by which the server's memory, or the kernel's for sockets, may grow."""

ELSEWHERE = "127.0.0.2"
"""The neighbour's address, so that no limit of the attackers' address concerns it."""


class Neighbour:
    """A well-behaved member of another room, and how long it waits for its own messages."""

    def __init__(self, talker: Talker) -> None:
        self._talker = talker
        self._waits: list[float] = []
        self.gone = False
        """Whether its connection has ended, or it had no answer for DEADLINE seconds."""

    @classmethod
    async def join(cls, nursery: trio.Nursery, server: SharechatProcess) -> Self:
        """Talk in a new room until the nursery ends."""
        url = server.ws_url(make_room(server.url))
        neighbour = cls(await join(nursery, url, local_address=ELSEWHERE))
        nursery.start_soon(neighbour._run)
        return neighbour

    async def _run(self) -> None:
        try:
            while True:
                started = time.monotonic()
                await self._talker.say("hello")
                await self._talker.hear_chat()
                self._waits.append(time.monotonic() - started)
                await trio.sleep(0.05)
        except (ConnectionClosed, trio.TooSlowError):
            self.gone = True

    def report(self) -> str:
        """Return what it went through since the last report."""
        waits, self._waits = self._waits, []
        if self.gone:
            return "cut off"
        if len(waits) < 2:
            return "heard nothing"
        p99 = statistics.quantiles(waits, n=100, method="inclusive")[-1]
        return f"{p99 * 1000:.0f} ms (p99), {max(waits) * 1000:.0f} ms (worst)"


class Cost(NamedTuple):
    """What an attack cost."""

    memory: int
    """Bytes by which the server's resident memory grew."""
    sockets: int
    """Bytes by which the kernel's memory for all TCP sockets grew, the attackers' included."""
    neighbour: str

    @property
    def bearable(self) -> bool:
        return max(self.memory, self.sockets) <= ALLOWED_MEMORY

    def __str__(self) -> str:
        return (
            f"memory +{self.memory / MIB:.0f} MiB, the kernel's sockets "
            f"+{self.sockets / MIB:.0f} MiB; a neighbour waited {self.neighbour}"
        )


class Scene:
    """The server under attack, and its neighbour."""

    def __init__(self, server: SharechatProcess, neighbour: Neighbour) -> None:
        self.server = server
        self.neighbour = neighbour

    @classmethod
    @asynccontextmanager
    async def set_up(cls, server: SharechatProcess) -> AsyncIterator[Self]:
        async with trio.open_nursery() as nursery:
            scene = cls(server, await Neighbour.join(nursery, server))
            await trio.sleep(2)
            print(f"at rest: a neighbour waited {scene.neighbour.report()}", flush=True)
            yield scene
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def attack(self, name: str, verdicts: list[bool]) -> AsyncIterator[None]:
        """Measure during the block, print what it cost, and add whether that is bearable."""
        self.neighbour.report()
        before, most = _socket_memory(), 0

        async def watch_sockets() -> None:
            nonlocal most
            while True:
                most = max(most, _socket_memory() - before)
                await trio.sleep(0.02)

        async with MemoryWatch.during(self.server) as memory, trio.open_nursery() as watching:
            watching.start_soon(watch_sockets)
            yield
            watching.cancel_scope.cancel()
        cost = Cost(memory.growth, most, self.neighbour.report())
        verdicts.append(cost.bearable and not self.neighbour.gone)
        print(f"{name}: {cost}", flush=True)
        await trio.sleep(2)


def _socket_memory() -> int:
    """Return the bytes that the kernel uses for the buffers of all TCP sockets."""
    sockstat = Path("/proc/net/sockstat").read_text()
    pages = re.search(r"^TCP:.* mem (\d+)", sockstat, re.MULTILINE)
    assert pages is not None
    return int(pages[1]) * 4096


@contextmanager
def servers(cluster: bool, *flags: str) -> Iterator[tuple[SharechatProcess, SharechatProcess]]:
    """Start a server alone, or two of one cluster; alone, both are the same."""
    with ExitStack() as stack:
        if cluster:
            machines = Cluster(stack)
            yield machines.serve(*flags), machines.serve(*flags)
        else:
            server = stack.enter_context(SharechatProcess(*flags))
            yield server, server


async def in_process(function: Callable[..., T], *arguments: Any) -> T:
    """Return `function(*arguments)`, called in a process of its own.

    What an attacker does must not cost the neighbour's process any time. Both the function and
    what it returns must be picklable. Cancelling does not end the process.
    """
    return await trio.to_thread.run_sync(_in_process, function, arguments)


def _in_process(function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(function, arguments)
