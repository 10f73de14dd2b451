"""Clients that read a large history without end, or ask for it and never read it.

    python -m tests.hostile.readers [--cluster] [--connections 20] [--seconds 15]

Starts a server of its own, clustered with a second one if asked to, and makes a room whose
1,000 messages have 98 MB of JSON. Prints what each attack costs: the growth of the server's
memory, what it answers to the attackers and to health checks, and how long a member of
another room waits for its own messages. Exits with 1 if an attack makes memory grow by more
than 100 MB, makes a request fail, or makes a server count as dead.
"""

import argparse
import http.client
import multiprocessing
import socket
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import trio
from trio_websocket import ConnectionClosed

from tests.harness.cluster import Cluster
from tests.harness.http import fetch, make_room
from tests.harness.memory import MIB, MemoryWatch
from tests.harness.peer import upgrade
from tests.harness.process import SharechatProcess
from tests.harness.talker import Talker, join

MESSAGES = 1000
LARGEST = "\x01" * 16 * 1024
ALLOWED = 100_000_000
"""Bytes by which memory may grow."""


async def fill(server: SharechatProcess) -> tuple[str, str]:
    """Return a room with MESSAGES messages of LARGEST, and the id of the entry before them."""
    room = make_room(server.url)
    async with trio.open_nursery() as nursery:
        talker = await join(nursery, server.ws_url(room))
        first = (await talker.hear())["id"]
        for _ in range(MESSAGES):
            await talker.say(LARGEST)
            await talker.hear_chat()
        await talker.close()
        nursery.cancel_scope.cancel()
    return room, first


@contextmanager
def unread(port: int, requests: list[bytes]) -> Iterator[None]:
    """Send each request over a connection of its own, and read none of the answers."""
    with ExitStack() as stack:
        for request in requests:
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", port))
            client.sendall(request)
        yield


def read_without_end(port: int, path: str, seconds: float, outcomes: Counter[str]) -> None:
    """Ask for `path` again and again; count how that ends."""
    stop_at = time.monotonic() + seconds
    while time.monotonic() < stop_at:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            while response.read(1 << 18):
                if time.monotonic() > stop_at:
                    break
            outcomes[str(response.status)] += 1
        except (OSError, http.client.HTTPException) as error:
            outcomes[type(error).__name__] += 1
        finally:
            connection.close()


def read_in_threads(
    port: int,
    paths: list[str],
    seconds: float,
    results: "multiprocessing.SimpleQueue[Counter[str]]",
) -> None:
    outcomes: Counter[str] = Counter()
    threads = [
        threading.Thread(target=read_without_end, args=(port, path, seconds, outcomes))
        for path in paths
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(outcomes)


class Neighbour:
    """A well-behaved member of another room, and what it notices."""

    def __init__(self, talker: Talker) -> None:
        self._talker = talker
        self._waits: list[float] = []
        self.gone = False
        """Whether its connection has ended, or it had no answer for DEADLINE seconds."""

    async def run(self) -> None:
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
        waits, self._waits = self._waits, []
        if self.gone:
            return "a neighbour was cut off"
        if len(waits) < 2:
            return "a neighbour heard nothing"
        p99 = statistics.quantiles(waits, n=100, method="inclusive")[-1]
        return f"a neighbour waited {p99 * 1000:.0f} ms (p99), {max(waits) * 1000:.0f} ms (worst)"


async def attack(server: SharechatProcess, connections: int, seconds: float) -> bool:
    """Run every attack; return whether the server bore all of them."""
    room, first = await fill(server)
    path = f"/api/room/{room}/messages"
    get = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    after = upgrade(f"/api/serve/{room}?after={first}")
    borne = True
    async with trio.open_nursery() as nursery:
        neighbour = Neighbour(await join(nursery, server.ws_url(make_room(server.url))))
        nursery.start_soon(neighbour.run)
        await trio.sleep(2)
        print(f"at rest: {neighbour.report()}")
        for name, requests in (
            ("1 unread GET", [get]),
            ("1 unread ?after=", [after]),
            (f"{connections} unread GET", [get] * connections),
            (f"{connections} unread ?after=", [after] * connections),
        ):
            async with MemoryWatch.during(server) as memory:
                with unread(server.port, requests):
                    await trio.sleep(5)
            borne &= memory.growth <= ALLOWED
            print(f"{name}: memory grew by {memory.growth / MIB:.0f} MiB; {neighbour.report()}")
            await trio.sleep(2)
        for name, paths in (
            (f"{connections} read the history", [path]),
            (f"{connections} read pages", [f"{path}?limit=1000", f"{path}?after={first}&limit=9"]),
        ):
            health: Counter[int] = Counter()
            outcomes: Counter[str] = Counter()
            async with MemoryWatch.during(server) as memory, trio.open_nursery() as during:
                during.start_soon(watch_health, server.url, health)
                outcomes = await trio.to_thread.run_sync(
                    partial(
                        read_in_process,
                        server.port,
                        [paths[n % len(paths)] for n in range(connections)],
                        seconds,
                    )
                )
                during.cancel_scope.cancel()
            borne &= memory.growth <= ALLOWED and set(outcomes) == {"200"} and set(health) == {200}
            print(
                f"{name}: memory grew by {memory.growth / MIB:.0f} MiB; answers {dict(outcomes)}; "
                f"health {dict(health)}; {neighbour.report()}"
            )
        nursery.cancel_scope.cancel()
    return borne and not neighbour.gone


def read_in_process(port: int, paths: list[str], seconds: float) -> Counter[str]:
    """Read from another process, so that the neighbour's waits are the server's doing."""
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    process = context.Process(target=read_in_threads, args=(port, paths, seconds, results))
    process.start()
    outcomes: Counter[str] = results.get()
    process.join()
    return outcomes


async def watch_health(url: str, statuses: Counter[int]) -> None:
    while True:
        with suppress(OSError):
            response = await trio.to_thread.run_sync(
                fetch, f"{url}/api/healthz", abandon_on_cancel=True
            )
            statuses[response.status] += 1
        await trio.sleep(0.2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=15)
    arguments = parser.parse_args()
    flags = ("--message-rate", "0")
    with ExitStack() as stack:
        if arguments.cluster:
            cluster = Cluster(stack)
            server, other = cluster.serve(*flags), cluster.serve(*flags)
        else:
            server = other = stack.enter_context(SharechatProcess(*flags))
        borne = trio.run(attack, server, arguments.connections, arguments.seconds)
        dead = other.stderr.count("a process is dead")
        lost = server.stderr.count("lease lost")
        print(f"counted as dead {dead} times, lost its lease {lost} times")
        return 0 if borne and not dead and not lost else 1


if __name__ == "__main__":
    sys.exit(main())
