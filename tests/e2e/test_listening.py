"""Other ways to listen: a Unix socket, and a socket that systemd passes."""

import http.client
import json
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import trio

from tests.harness.deadline import DEADLINE
from tests.harness.http import fetch
from tests.harness.peer import Peer, text, upgrade
from tests.harness.process import BIN, ServerProcess, SharechatProcess, serve_flags


def request(path: Path, target: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Send a POST for a room, or a GET for anything else, over a Unix socket."""
    connection = http.client.HTTPConnection("localhost", timeout=DEADLINE)
    with closing(connection):
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(DEADLINE)
        connection.sock.connect(str(path))
        method = "POST" if target == "/api/room" else "GET"
        connection.request(method, target, headers=dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read()


async def shake_hands(path: Path, room: str, client: str) -> tuple[Peer, str]:
    """Ask to join as a proxy would for this client; return what was answered, too."""
    stream = await trio.open_unix_socket(str(path))
    peer = Peer(stream)
    await peer.send(upgrade(f"/api/serve/{room}", [f"X-Forwarded-For: {client}"]))
    head, _ = await peer.response()
    return peer, head.split()[1]


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "sharechat.sock"


async def test_a_unix_socket_serves_rooms_and_members(path: Path) -> None:
    with SharechatProcess("--unix", str(path)) as server:
        assert server.stdout.startswith(f"sharechat listens on unix:{path}\n")
        _, answer = request(path, "/api/room")
        room = json.loads(answer)["roomId"]
        peer, status = await shake_hands(path, room, "192.0.2.1")
        assert status == "101"
        await peer.send(text("hello"))
        await peer.stream.send_eof()
        while await peer.stream.receive_some():
            pass
        _, log = request(path, f"/api/room/{room}/messages")
        assert [message["type"] for message in json.loads(log)] == ["joined", "chat", "left"]
        assert server.stop() == 0


async def test_whoever_uses_it_is_a_proxy_that_tells_of_its_clients(path: Path) -> None:
    with SharechatProcess("--unix", str(path), "--max-per-address", "1"):
        room = json.loads(request(path, "/api/room")[1])["roomId"]
        asked = ["192.0.2.1", "192.0.2.1", "192.0.2.2"]
        statuses = [(await shake_hands(path, room, client))[1] for client in asked]
        assert statuses == ["101", "429", "101"]


def test_a_socket_that_was_left_behind_is_replaced(path: Path) -> None:
    with SharechatProcess("--unix", str(path)) as server:
        server.kill()
    assert path.is_socket()
    with SharechatProcess("--unix", str(path)):
        assert request(path, "/api/healthz")[0] == 200


def test_a_socket_on_which_another_listens_is_left_alone(path: Path) -> None:
    with SharechatProcess("--unix", str(path)):
        with pytest.raises(RuntimeError, match=f"cannot listen on {path}: Address already in use"):
            SharechatProcess("--unix", str(path)).start()
        assert request(path, "/api/healthz")[0] == 200


def test_so_is_any_other_file(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(RuntimeError, match=f"on {path}: There is a file that is not a socket"):
        SharechatProcess("--unix", str(path)).start()
    assert path.read_text() == "precious"


_EXEC = """
import os, sys
fd, count, *command = sys.argv[1:]
os.dup2(int(fd), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=count)
os.execv(command[0], command)
"""


@contextmanager
def passing(listener: socket.socket, *, count: int = 1) -> Iterator[ServerProcess]:
    """Give a server that is to get a listening socket as systemd passes it."""
    with listener:
        fd = listener.fileno()
        script = [sys.executable, "-c", _EXEC, str(fd), str(count)]
        yield ServerProcess([*script, str(BIN / "sharechat"), *serve_flags(())], pass_fds=[fd])


def test_a_tcp_socket_that_was_passed_is_used() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    with passing(listener) as server, server:
        assert server.port == port
        assert fetch(f"{server.url}/api/healthz").status == 200
        assert server.stop() == 0


def test_so_is_a_unix_socket(path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    with passing(listener) as server, server:
        assert request(path, "/api/healthz")[0] == 200
        assert server.stop() == 0


def test_several_sockets_are_refused() -> None:
    with passing(socket.create_server(("127.0.0.1", 0)), count=2) as server:
        with pytest.raises(RuntimeError, match="exactly one socket"):
            server.start()
