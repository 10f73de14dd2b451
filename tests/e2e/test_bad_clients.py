"""Clients that break the rules of HTTP: they are answered or dropped, and no error is logged."""

from collections.abc import Iterator

import pytest
import trio

from tests.harness.http import fetch, make_room
from tests.harness.peer import Peer, upgrade
from tests.harness.process import SharechatProcess

ROOM = "ROOM"
"""Replaced by the id of a new room in every request that `exchange` sends."""

_PATH = f"/api/serve/{ROOM}"


@pytest.fixture(scope="module", name="target")
def _target() -> Iterator[SharechatProcess]:
    with SharechatProcess() as server:
        yield server
        assert server.stop() == 0
        assert_no_error_logged(server.stderr)


def get(target: str, *headers: str, method: str = "GET") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


async def exchange(server: SharechatProcess, data: bytes) -> str:
    """Send a request; return the first line of the response, empty if there is none."""
    data = data.replace(ROOM.encode(), make_room(server.url).encode())
    peer = Peer(await trio.open_tcp_stream("127.0.0.1", server.port))
    await peer.send(data)
    head, _ = await peer.response()
    peer.drop()
    return head.split("\r\n")[0]


def assert_no_error_logged(log: str) -> None:
    assert "[error" not in log, log
    assert "Traceback" not in log, log


def assert_unharmed(server: SharechatProcess, log_before: str) -> None:
    assert fetch(f"{server.url}/api/healthz").status == 200
    assert_no_error_logged(server.stderr.removeprefix(log_before))


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
        (get("http://x"), 200),
        (get("*", method="OPTIONS"), 404),
        (get("a:80", method="CONNECT"), 404),
        (get("/api/healthz", "Cookie: \xff=;;==", "Authorization: Basic !!", "Range: x"), 200),
        (get("/api/room/%00%ff"), 404),
        # HTTP/2 without TLS: an upgrade is ignored (RFC 9110, section 7.8), the preface refused.
        (get("/api/healthz", "Upgrade: h2c", "HTTP2-Settings: \xff", "Connection: Upgrade"), 200),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 100, 505),
        (upgrade(_PATH, key=False), 400),
        (upgrade(_PATH).replace(b"Version: 13", b"Version: 12"), 426),
        (upgrade(_PATH).replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
        (upgrade(_PATH).replace(b"GET", b"POST"), 405),
        (upgrade("/api/room"), 405),
        (upgrade(_PATH).replace(b"HTTP/1.1", b"HTTP/1.2"), 400),
        (get("/api/healthz").replace(b"HTTP/1.1", b"HTTP/1.2"), 200),
        (get("/api/healthz").replace(b"HTTP/1.1", b"HTTP/3.0"), 505),
        (upgrade(_PATH, ["Sec-WebSocket-Protocol: chat"]), 101),
        (upgrade(_PATH, ["Sec-WebSocket-Protocol: \xff"]), 101),
        (upgrade(_PATH, ["Sec-WebSocket-Extensions: nonsense; x=y"]), 101),
        (upgrade(_PATH, ["Sec-WebSocket-Extensions: \xff"]), 101),
        (upgrade(_PATH, ["X-Name: \xff", "Cookie: \xff"]), 101),
        (upgrade(_PATH, ["Origin: http://\xff"]), 403),
        (upgrade(f"{_PATH}?after=x"), 400),
    ],
)
async def test_an_invalid_or_odd_request_is_answered(
    target: SharechatProcess, data: bytes, status: int
) -> None:
    before = target.stderr
    assert (await exchange(target, data)).startswith(f"HTTP/1.1 {status} ")
    assert_unharmed(target, before)


async def test_a_client_may_go_away_in_the_middle_of_a_request(target: SharechatProcess) -> None:
    before = target.stderr
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
    assert_unharmed(target, before)


@pytest.mark.parametrize(
    "request_",
    [
        upgrade(_PATH, key=False),
        upgrade(_PATH.replace(ROOM, "x")),
        get("/api/healthz", "Connection: close"),
        b"GET /api/healthz HTTP/1.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"not HTTP at all\r\n\r\n",
    ],
)
async def test_after_a_last_answer_the_connection_is_closed_at_once(
    target: SharechatProcess, request_: bytes
) -> None:
    peer = Peer(await trio.open_tcp_stream("127.0.0.1", target.port))
    await peer.send(request_)
    received = b""
    # Hypercorn closes a connection that has been idle for five seconds.
    with trio.fail_after(4):
        while data := await peer.stream.receive_some():
            received += data
    assert received.startswith(b"HTTP/1.1 ")
    await peer.stream.aclose()
