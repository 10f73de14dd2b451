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
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import trio

from tests.harness.http import fetch, make_room
from tests.harness.peer import upgrade
from tests.harness.process import SharechatProcess
from tests.harness.talker import join
from tests.hostile.scene import Scene, in_process, servers

MESSAGES = 1000
LARGEST = "\x01" * 16 * 1024


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


def read_in_threads(port: int, paths: list[str], seconds: float) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    threads = [
        threading.Thread(target=read_without_end, args=(port, path, seconds, outcomes))
        for path in paths
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


async def attack(server: SharechatProcess, connections: int, seconds: float) -> bool:
    """Run every attack; return whether the server bore all of them."""
    room, first = await fill(server)
    path = f"/api/room/{room}/messages"
    get = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    after = upgrade(f"/api/serve/{room}?after={first}")
    borne: list[bool] = []
    async with Scene.set_up(server) as scene:
        for name, requests in (
            ("1 unread GET", [get]),
            ("1 unread ?after=", [after]),
            (f"{connections} unread GET", [get] * connections),
            (f"{connections} unread ?after=", [after] * connections),
        ):
            async with scene.attack(name, borne):
                with unread(server.port, requests):
                    await trio.sleep(5)
        for name, paths in (
            (f"{connections} read the history", [path]),
            (f"{connections} read pages", [f"{path}?limit=1000", f"{path}?after={first}&limit=9"]),
        ):
            health: Counter[int] = Counter()
            async with scene.attack(name, borne), trio.open_nursery() as during:
                during.start_soon(watch_health, server.url, health)
                chosen = [paths[n % len(paths)] for n in range(connections)]
                outcomes = await in_process(read_in_threads, server.port, chosen, seconds)
                during.cancel_scope.cancel()
            print(f"    answers {dict(outcomes)}; health {dict(health)}")
            borne.append(set(outcomes) == {"200"} and set(health) == {200})
    return all(borne)


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
    with servers(arguments.cluster, "--message-rate", "0") as (server, other):
        borne = trio.run(attack, server, arguments.connections, arguments.seconds)
        dead = other.stderr.count("a process is dead")
        lost = server.stderr.count("lease lost")
        print(f"counted as dead {dead} times, lost its lease {lost} times")
        return 0 if borne and not dead and not lost else 1


if __name__ == "__main__":
    sys.exit(main())
