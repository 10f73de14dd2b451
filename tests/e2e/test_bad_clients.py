"""Clients that speak nonsense: each gets what it deserves, and the server goes on unmoved."""

from collections.abc import Iterator

import pytest
import trio

from tests.harness.deadline import DEADLINE
from tests.harness.http import fetch, make_room
from tests.harness.peer import Peer, text, upgrade
from tests.harness.process import SharechatProcess

ROOM = "ROOM"
"""What stands for the id of a room that exists."""

_PATH = f"/api/serve/{ROOM}"


@pytest.fixture(scope="module", name="target")
def _target() -> Iterator[SharechatProcess]:
    with SharechatProcess() as server:
        yield server
        assert server.stop() == 0


def get(target: str, *headers: str, method: str = "GET") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: x", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


async def exchange(server: SharechatProcess, data: bytes) -> str:
    """Send this, and return the first line of the answer, if there is one before the end."""
    data = data.replace(ROOM.encode(), make_room(server.url).encode())
    peer = Peer(await trio.open_tcp_stream("127.0.0.1", server.port))
    await peer.send(data)
    head, _ = await peer.response()
    peer.drop()
    return head.split("\r\n")[0]


def unmoved(server: SharechatProcess, lines_before: int) -> None:
    assert fetch(f"{server.url}/api/healthz").status == 200
    new = server.stderr[lines_before:]
    assert "[error" not in new, new
    assert "Traceback" not in new, new


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (bytes(range(256)), 400),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1" + b"x" * 100, 400),  # TLS
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET /\r\n\r\n", 400),
        (get("/", "x" * 100_000), 431),
        (get("/api/room", "Content-Length: -1", method="POST"), 400),
        (get("/api/room", "Transfer-Encoding: gzip", method="POST"), 501),
        (get("foo"), 404),
        (get("http://[/api/healthz"), 404),
        (get("http://x/api/healthz"), 200),
        (get("*", method="OPTIONS"), 404),
        (get("a:80", method="CONNECT"), 404),
        (get("/api/healthz", "Cookie: \xff=;;==", "Authorization: Basic !!", "Range: x"), 200),
        (get("/api/room/%00%ff"), 404),
        (get("/api/healthz", "Upgrade: h2c", "HTTP2-Settings: \xff", "Connection: Upgrade"), 101),
        (upgrade(_PATH, key=False), 400),
        (upgrade(_PATH).replace(b"Version: 13", b"Version: 12"), 400),
        (upgrade(_PATH).replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
        (upgrade(_PATH).replace(b"GET", b"POST"), 405),
        (upgrade("/api/room"), 405),
        (upgrade(_PATH, ["Sec-WebSocket-Protocol: chat"]), 101),
        (upgrade(_PATH, ["Sec-WebSocket-Extensions: nonsense; x=y"]), 101),
        (upgrade(f"{_PATH}?after=x"), 400),
    ],
)
async def test_a_request_that_deserves_an_answer(
    target: SharechatProcess, data: bytes, status: int
) -> None:
    before = len(target.stderr)
    assert (await exchange(target, data)).startswith(f"HTTP/1.1 {status} ")
    unmoved(target, before)


@pytest.mark.parametrize(
    "data",
    [
        # Legal offers, however odd: RFC 7692 says to decline what is not understood.
        upgrade(_PATH, ["Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=x"]),
        upgrade(_PATH, ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits="]),
        upgrade(_PATH, ["Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8"]),
        upgrade(_PATH, ["Sec-WebSocket-Extensions: \xff"]),
        upgrade(_PATH, ["Sec-WebSocket-Protocol: \xff"]),
        upgrade(_PATH, ["Sec-WebSocket-Key: \xff"], key=False),
        # A client that does not wait for the answer.
        upgrade(_PATH) + text("hello"),
    ],
)
async def test_a_handshake_that_is_odd(target: SharechatProcess, data: bytes) -> None:
    before = len(target.stderr)
    answer = await exchange(target, data)
    assert not answer.startswith("HTTP/1.1 5"), answer
    unmoved(target, before)


async def test_half_a_request_and_gone(target: SharechatProcess) -> None:
    before = len(target.stderr)
    whole = get("/api/healthz"), get("/api/room", "Content-Length: 9", "", "half", method="POST")
    handshake = upgrade(_PATH.replace(ROOM, make_room(target.url)))
    for request in (*whole, handshake):
        for end in (0, 1, len(request) // 2, len(request) - 1, len(request)):
            for way in ("close", "drop"):
                peer = Peer(await trio.open_tcp_stream("127.0.0.1", target.port))
                await peer.send(request[:end])
                if way == "close":
                    await peer.stream.aclose()
                else:
                    peer.drop()
    unmoved(target, before)


async def test_a_refused_handshake_ends_the_connection(target: SharechatProcess) -> None:
    peer = Peer(await trio.open_tcp_stream("127.0.0.1", target.port))
    await peer.send(upgrade(_PATH.replace(ROOM, "x"), key=False))
    head, rest = await peer.response()
    assert head.startswith("HTTP/1.1 400 ")
    with trio.fail_after(DEADLINE * 3 / 4):
        assert rest + await peer.stream.receive_some() == b""
    await peer.stream.aclose()
