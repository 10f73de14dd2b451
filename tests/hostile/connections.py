"""Connections that begin or end in odd ways, by the thousand: none may leave anything open.

    python -m tests.hostile.connections [--count 2000] [--nginx]

Starts a server of its own, makes `--count` connections of each kind, `--at-once` at a time,
and compares the server's open files before and after. With `--nginx` everything goes through
an nginx with the configuration in `deploy/`. Exits with 1 if a file is left open.
"""

import argparse
import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import trio

from tests.harness.deadline import eventually, wait_until
from tests.harness.http import make_room
from tests.harness.peer import frame, text, upgrade
from tests.harness.ports import free_port
from tests.harness.process import SharechatProcess
from tests.harness.sockets import reset_on_close

PATIENCE = 30.0
"""Seconds until the server has closed everything: its own timeouts take up to 16."""

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
_NGINX = Path(__file__).parents[2] / "deploy" / "nginx.conf"

Visit = Callable[[trio.SocketStream, str], Awaitable[None]]


async def _read(stream: trio.SocketStream, seconds: float = 5) -> bytes:
    """Read until the server closes, or has sent nothing for a while."""
    received = b""
    while True:
        with trio.move_on_after(seconds) as patience:
            data = await stream.receive_some()
        if patience.cancelled_caught or not data:
            return received
        received += data


async def _until(stream: trio.SocketStream, end: bytes) -> None:
    received = b""
    while end not in received:
        data = await stream.receive_some()
        if not data:
            return
        received += data


async def _reset(stream: trio.SocketStream) -> None:
    reset_on_close(stream)
    await stream.aclose()


async def early_bytes(stream: trio.SocketStream, path: str) -> None:
    """Garbage right behind the handshake, and the client stays."""
    await stream.send_all(upgrade(path) + b"\r\nabc")
    await _read(stream)


async def early_frames(stream: trio.SocketStream, path: str) -> None:
    """Frames right behind the handshake, without waiting for the answer."""
    await stream.send_all(upgrade(path) + text("early") * 3)
    await _read(stream, 0.5)


async def frames_at_once(stream: trio.SocketStream, path: str) -> None:
    """Frames in a segment of their own, perhaps before the answer."""
    await stream.send_all(upgrade(path))
    await stream.send_all(text("early") * 3)
    await _read(stream, 0.5)


async def body_behind_the_handshake(stream: trio.SocketStream, path: str) -> None:
    """A handshake with a body, and the client closes without reading."""
    await stream.send_all(upgrade(path, ["Content-Length: 3"]) + b"abc")
    await trio.sleep(0.05)


async def chunked_body_behind_the_handshake(stream: trio.SocketStream, path: str) -> None:
    body = b"3\r\nabc\r\n0\r\n\r\n"
    await stream.send_all(upgrade(path, ["Transfer-Encoding: chunked"]) + body)
    await _read(stream, 0.5)


async def body_that_never_ends(stream: trio.SocketStream, _: str) -> None:
    await stream.send_all(
        b"POST /api/room HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\nabc"
    )
    await _read(stream, 0.2)


async def second_request(stream: trio.SocketStream, path: str) -> None:
    """Another handshake, and another request, right behind the first."""
    get = b"GET /api/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    await stream.send_all(upgrade(path) + upgrade(path) + get)
    await _read(stream, 0.5)


async def pipelined_requests(stream: trio.SocketStream, _: str) -> None:
    await stream.send_all(b"GET /api/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5)
    await _until(stream, b"200")


async def half_a_request(stream: trio.SocketStream, _: str) -> None:
    await stream.send_all(b"GET /api/heal")
    await _reset(stream)


async def reset_in_http(stream: trio.SocketStream, _: str) -> None:
    await stream.send_all(b"GET /api/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await _reset(stream)


async def reset_in_handshake(stream: trio.SocketStream, path: str) -> None:
    await stream.send_all(upgrade(path))
    await _reset(stream)


async def reset_when_taken(stream: trio.SocketStream, path: str) -> None:
    await stream.send_all(upgrade(path))
    await _until(stream, b"joined")
    await _reset(stream)


async def reset_when_closing(stream: trio.SocketStream, path: str) -> None:
    await stream.send_all(upgrade(path))
    await _until(stream, b"joined")
    await stream.send_all(frame(0x8, b"\x03\xe8"))
    await _reset(stream)


async def half_closed_when_taken(stream: trio.SocketStream, path: str) -> None:
    await stream.send_all(upgrade(path))
    await _until(stream, b"joined")
    await stream.send_eof()
    await _read(stream)


async def refused(stream: trio.SocketStream, _: str) -> None:
    await stream.send_all(upgrade("/api/serve/00000000-0000-4000-8000-000000000000"))
    await _read(stream, 0.5)


async def no_key(stream: trio.SocketStream, path: str) -> None:
    await stream.send_all(upgrade(path, key=False))
    await _read(stream, 0.5)


KINDS: dict[str, Visit] = {
    visit.__name__.replace("_", " "): visit
    for visit in (
        early_bytes,
        early_frames,
        frames_at_once,
        body_behind_the_handshake,
        chunked_body_behind_the_handshake,
        body_that_never_ends,
        second_request,
        pipelined_requests,
        half_a_request,
        reset_in_http,
        reset_in_handshake,
        reset_when_taken,
        reset_when_closing,
        half_closed_when_taken,
        refused,
        no_key,
    )
}


async def visit_often(
    visit: Visit, port: int, path: str, count: int, at_once: int, seconds: float = 120
) -> None:
    """Make `count` connections of a kind, `at_once` at a time. Raises TooSlowError."""
    limiter = trio.CapacityLimiter(at_once)

    async def one() -> None:
        async with limiter:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                async with stream:
                    await visit(stream, path)
            except (*_GONE, OSError):
                pass  # Being refused is an answer.

    with trio.fail_after(seconds):
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(one)


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@contextmanager
def nginx(port: int) -> Iterator[int]:
    """Run nginx as `deploy/nginx.conf` has it, in front of a server; yield its port."""
    own_port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nginx.conf"
        config = _NGINX.read_text()
        config = config.replace("listen 8080", f"listen 127.0.0.1:{own_port}")
        path.write_text(config.replace("sharechat:8080", f"127.0.0.1:{port}"))
        binary = shutil.which("nginx")
        assert binary, "nginx is not installed"
        command = [binary, "-c", str(path), "-p", folder, "-g", "daemon off; pid nginx.pid;"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            wait_until(partial(_listens, own_port))
            yield own_port
        finally:
            process.terminate()
            process.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


async def _try_all(server: SharechatProcess, port: int, count: int, at_once: int) -> int:
    """Try every kind; print a line for each; return how many left something open."""
    path = f"/api/serve/{make_room(server.url)}"
    leaks = 0
    for name, visit in KINDS.items():
        before = open_files(server.pid)
        began = trio.current_time()
        await visit_often(visit, port, path, count, at_once, seconds=600)
        try:
            await eventually(partial(_no_more_than, server.pid, before), PATIENCE)
        except TimeoutError:
            leaks += 1
        took = trio.current_time() - began
        print(f"{name:<36}{count:>6} in {took:>6.1f} s, open files {before}, ", end="")
        print(f"then {open_files(server.pid)}", flush=True)
    return leaks


def _no_more_than(pid: int, files: int) -> bool:
    return open_files(pid) <= files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=200)
    parser.add_argument("--nginx", action="store_true", help="go through nginx")
    words = parser.parse_args()
    unlimited = ("--room-rate", "0", "--join-rate", "0", "--trusted-proxy", "127.0.0.1")
    with SharechatProcess("--log-level", "error", *unlimited) as server:
        through = nginx(server.port) if words.nginx else contextlib.nullcontext(server.port)
        with through as port:
            leaks = trio.run(_try_all, server, port, words.count, words.at_once)
        if server.stop() != 0 or server.stderr:
            print(server.stderr[-2000:])
            leaks += 1
    sys.exit(leaks > 0)


if __name__ == "__main__":
    main()
