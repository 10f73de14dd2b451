"""How many are let in: members in all, and connections of one address, behind proxies or not."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.harness.deadline import DEADLINE, wait_until
from tests.harness.http import fetch, make_room
from tests.harness.peer import upgrade
from tests.harness.process import SharechatProcess

ELSEWHERE = "127.0.0.2"
"""Another address that reaches the server."""


class Door:
    """Opens websockets, blocking, and keeps those that were let in."""

    def __init__(self, server: SharechatProcess, stack: ExitStack) -> None:
        self.server = server
        self.room = make_room(server.url)
        self._stack = stack
        self._inside: list[socket.socket] = []

    def knock(self, *headers: str, source: str = "127.0.0.1") -> str:
        """Try to come in; return the answer's head and, if it is a refusal, its body."""
        sock = socket.create_connection(("127.0.0.1", self.server.port), DEADLINE, (source, 0))
        self._stack.callback(sock.close)
        sock.sendall(upgrade(f"/api/serve/{self.room}", headers))
        answer = b""
        while data := sock.recv(4096):
            answer += data
            if answer.startswith(b"HTTP/1.1 101 ") and b'"joined"' in answer:
                self._inside.append(sock)
                return answer.decode("latin-1")
            if not answer.startswith(b"HTTP/1.1 101 ") and answer.endswith(b"}"):
                break
        sock.close()
        return answer.decode("latin-1")

    def opens(self, *headers: str, source: str = "127.0.0.1") -> bool:
        return self.knock(*headers, source=source).startswith("HTTP/1.1 101 ")

    def leave(self) -> None:
        """Let the first one out."""
        self._inside.pop(0).close()


@pytest.fixture(name="stack")
def _stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def serve(stack: ExitStack, *flags: str) -> Door:
    return Door(stack.enter_context(SharechatProcess("--log-level", "warning", *flags)), stack)


def end(door: Door) -> None:
    assert door.server.stop() == 0
    assert door.server.stderr == ""


def test_max_members(stack: ExitStack) -> None:
    door = serve(stack, "--max-members", "3")
    assert [door.opens() for _ in range(3)] == [True] * 3
    for source in ("127.0.0.1", ELSEWHERE):
        refusal = door.knock(source=source)
        assert refusal.startswith("HTTP/1.1 503 ")
        assert "retry-after:" in refusal.lower()
        assert "application/problem+json" in refusal
        assert "tag:sharechat.dev,2026:full" in refusal
    # All else works.
    assert len(fetch(f"{door.server.url}/api/room/{door.room}").json["members"]) == 3
    door.leave()
    wait_until(door.opens)
    assert not door.opens()
    end(door)


def test_max_per_address(stack: ExitStack) -> None:
    door = serve(stack, "--max-per-address", "3")
    # The connection that made the room may not have been forgotten yet.
    wait_until(lambda: fetch(f"{door.server.url}/api/healthz").status == 200)
    inside = 0
    while inside < 3:
        inside += door.opens()
    refusal = door.knock()
    assert refusal.startswith("HTTP/1.1 429 ")
    assert "Retry-After:" in refusal
    assert "application/problem+json" in refusal
    assert "tag:sharechat.dev,2026:too-many" in refusal
    # Plain requests of that address, too; those of others are none the worse for it.
    assert fetch(f"{door.server.url}/api/healthz").status == 429
    assert door.opens(source=ELSEWHERE)
    # Nobody's header is believed unless it was said whose.
    assert not door.opens("X-Forwarded-For: 1.1.1.1")
    for _ in range(2):
        door.leave()
        wait_until(door.opens)
        assert not door.opens()
    end(door)


def test_clients_of_a_trusted_proxy(stack: ExitStack) -> None:
    flags = ("--trusted-proxy", "127.0.0.1", "--trusted-proxy", "10.0.0.0/8")
    door = serve(stack, "--max-per-address", "2", *flags)
    one = "X-Forwarded-For: 1.1.1.1"
    assert [door.opens(one) for _ in range(3)] == [True, True, False]
    refusal = door.knock(one)
    assert refusal.startswith("HTTP/1.1 429 ")
    assert "tag:sharechat.dev,2026:too-many" in refusal
    # What a client said itself stands to the left of what the proxy saw.
    assert not door.opens("X-Forwarded-For: 2.2.2.2, 1.1.1.1")
    assert not door.opens("X-Forwarded-For: 2.2.2.2", one)
    # Past several proxies.
    assert not door.opens("X-Forwarded-For: 1.1.1.1, 10.0.0.1,10.9.9.9")
    assert not door.opens(one, "X-Forwarded-For: 10.0.0.1")
    # Others come in, and the proxy itself has no limit.
    assert door.opens("X-Forwarded-For: 2.2.2.2")
    assert door.opens("X-Forwarded-For: 1.1.1.1, 3.3.3.3")
    assert fetch(f"{door.server.url}/api/healthz").status == 200
    # An address that is no proxy counts as itself, whatever it says.
    forged = [f"X-Forwarded-For: 4.4.4.{number}" for number in range(3)]
    assert [door.opens(words, source=ELSEWHERE) for words in forged] == [True, True, False]
    door.leave()
    wait_until(lambda: door.opens(one))
    assert not door.opens(one)
    end(door)
