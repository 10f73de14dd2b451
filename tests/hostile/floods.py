"""Clients that send as much as they can, or read nothing of what they are sent.

    python -m tests.hostile.floods [--cluster] [--connections 20] [--seconds 10] [--only NAME]

Starts a server of its own, clustered with a second one if asked to, and runs one attack after
another from a process of its own. Prints what each costs: the growth of the server's memory
and of the kernel's memory for sockets, and how long a member of another room, at another
address, waits for its own messages. Exits with 1 if an attack makes either grow by more than
100 MB or cuts the neighbour off.
"""

import argparse
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

import h2.config
import h2.connection
import h2.settings
import trio
from wsproto.frame_protocol import Opcode

from tests.harness.http import make_room
from tests.harness.peer import compressed, frame, text, upgrade
from tests.harness.process import SharechatProcess
from tests.harness.sockets import reset_on_close
from tests.hostile.scene import Scene, in_process, servers

LARGEST = b"\x01" * 16 * 1024
"""The message that is largest as JSON: 98 KB."""

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"

Attacker = Callable[[int, str], Awaitable[None]]
"""What one connection does, again and again until cancelled, to a port and a room."""


async def _connect(port: int, request: bytes) -> trio.SocketStream:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.send_all(request)
    return stream


async def _flood(port: int, room: str, unit: bytes, *headers: str, read: bool = False) -> None:
    """Join, and send `unit` as fast as the server takes it."""
    stream = await _connect(port, upgrade(f"/api/serve/{room}", headers))
    # So that every connection is a member before the first one floods.
    await trio.sleep(1)
    async with stream, trio.open_nursery() as nursery:
        if read:
            nursery.start_soon(_read, stream)
        while True:
            await stream.send_all(unit)


async def _read(stream: trio.SocketStream) -> None:
    while await stream.receive_some(1 << 18):
        pass
    raise trio.BrokenResourceError


async def pings(port: int, room: str) -> None:
    await _flood(port, room, frame(Opcode.PING, b"x" * 125) * 100)


async def empty_fragments(port: int, room: str) -> None:
    fragments = frame(Opcode.TEXT, b"", flags=0) + frame(Opcode.CONTINUATION, b"", flags=0) * 500
    await _flood(port, room, fragments + frame(Opcode.CONTINUATION, b""))


async def empty_texts(port: int, room: str) -> None:
    await _flood(port, room, text("") * 500)


async def tiny_texts(port: int, room: str) -> None:
    await _flood(port, room, text("!") * 500, read=True)


async def large_texts(port: int, room: str) -> None:
    await _flood(port, room, text(LARGEST), read=True)


async def large_texts_unread(port: int, room: str) -> None:
    await _flood(port, room, text(LARGEST))


async def compressed_texts(port: int, room: str) -> None:
    await _flood(port, room, compressed(LARGEST) * 50, DEFLATE, read=True)


async def tiny_texts_and_gone(port: int, room: str) -> None:
    """65 KB of tiny texts at once, and then a reset."""
    stream = await _connect(port, upgrade(f"/api/serve/{room}") + text("!") * 9362)
    await trio.sleep(0.2)
    reset_on_close(stream)
    await stream.aclose()


async def joins(port: int, room: str) -> None:
    stream = await _connect(port, upgrade(f"/api/serve/{room}"))
    await stream.receive_some()
    reset_on_close(stream)
    await stream.aclose()


async def rooms(port: int, _: str) -> None:
    post = b"POST /api/room HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    async with await _connect(port, post) as stream:
        while await stream.receive_some():
            await stream.send_all(post)


async def bad_requests(port: int, _: str) -> None:
    async with await _connect(
        port, b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\r\n: \r\n\r\n"
    ) as stream:
        await stream.receive_some()


async def http2_in_the_clear(port: int, room: str) -> None:
    """100 requests for a history of which nothing is ever read."""
    config = h2.config.H2Configuration(client_side=True)
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    for number in range(100):
        headers = [
            (":method", "GET"),
            (":path", f"/api/room/{room}/messages"),
            (":scheme", "http"),
            (":authority", "localhost"),
        ]
        connection.send_headers(1 + 2 * number, headers, end_stream=True)
    async with await _connect(port, connection.data_to_send()) as stream:
        while await stream.receive_some():
            connection.ping(b"12345678")
            await stream.send_all(connection.data_to_send())


async def silent_readers(port: int, room: str) -> None:
    """Join and read nothing, while others talk."""
    stream = trio.SocketStream(trio.socket.socket())
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await stream.socket.connect(("127.0.0.1", port))
    await stream.send_all(upgrade(f"/api/serve/{room}"))
    async with stream:
        await trio.sleep_forever()


ATTACKS: dict[str, Attacker] = {
    attacker.__name__.replace("_", " "): attacker
    for attacker in (
        pings,
        empty_fragments,
        empty_texts,
        tiny_texts,
        tiny_texts_and_gone,
        large_texts,
        large_texts_unread,
        compressed_texts,
        silent_readers,
        joins,
        rooms,
        bad_requests,
        http2_in_the_clear,
    )
}


def run(name: str, port: int, room: str, connections: int, seconds: float) -> int:
    """Run an attack; return how many connections it took."""
    return trio.run(_run, ATTACKS[name], port, room, connections, seconds)


async def _run(attacker: Attacker, port: int, room: str, connections: int, seconds: float) -> int:
    count = 0

    async def again_and_again(attack: Attacker) -> None:
        nonlocal count
        while True:
            count += 1
            with suppress(OSError), _ends_with_its_connection():
                await attack(port, room)
            await trio.sleep(0.001)

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for _ in range(connections):
                nursery.start_soon(again_and_again, attacker)
            if attacker is silent_readers:
                nursery.start_soon(again_and_again, large_texts)
    return count


class _ends_with_its_connection:  # noqa: N801 - used as a function
    """Suppress what says that the server has ended the connection, in groups too."""

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if isinstance(error, BaseExceptionGroup):
            return error.split(trio.BrokenResourceError)[1] is None
        return isinstance(error, trio.BrokenResourceError)


async def attack(
    server: SharechatProcess, names: list[str], connections: int, seconds: float
) -> bool:
    """Run the attacks; return whether the server bore all of them."""
    borne: list[bool] = []
    async with Scene.set_up(server) as scene:
        for name in names:
            room = make_room(server.url)
            async with scene.attack(f"{name}, {connections} connections", borne):
                count = await in_process(run, name, server.port, room, connections, seconds)
            print(f"    {count} connections were made")
    return all(borne)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--only", choices=ATTACKS, action="append")
    arguments = parser.parse_args()
    with servers(arguments.cluster) as (server, other):
        names = arguments.only or list(ATTACKS)
        borne = trio.run(attack, server, names, arguments.connections, arguments.seconds)
        print(f"the log has {len(server.stderr)} bytes")
        dead = other.stderr.count("a process is dead")
        return 0 if borne and not dead else 1


if __name__ == "__main__":
    sys.exit(main())
