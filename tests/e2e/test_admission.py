"""Limits on members in all and on what one address may do, with and without proxies."""

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import trio

from tests.harness.deadline import DEADLINE, wait_until
from tests.harness.http import fetch, history, make_room, texts
from tests.harness.peer import upgrade
from tests.harness.process import SharechatProcess
from tests.harness.talker import join

ELSEWHERE = "127.0.0.2"
"""Another source address from which the server can be reached."""


class Visitors:
    """Opens websockets to one room, blocking, and keeps those that the server accepts."""

    def __init__(self, server: SharechatProcess, stack: ExitStack) -> None:
        self.server = server
        self.room = make_room(server.url)
        self._stack = stack
        self._accepted: list[socket.socket] = []

    def handshake(self, *headers: str, source: str = "127.0.0.1") -> str:
        """Try to join; return the response's head and, if it is a refusal, its body."""
        sock = socket.create_connection(("127.0.0.1", self.server.port), DEADLINE, (source, 0))
        self._stack.callback(sock.close)
        sock.sendall(upgrade(f"/api/serve/{self.room}", headers))
        answer = b""
        while data := sock.recv(4096):
            answer += data
            if answer.startswith(b"HTTP/1.1 101 ") and b'"joined"' in answer:
                self._accepted.append(sock)
                return answer.decode("latin-1")
            if not answer.startswith(b"HTTP/1.1 101 ") and answer.endswith(b"}"):
                break
        sock.close()
        return answer.decode("latin-1")

    def join(self, *headers: str, source: str = "127.0.0.1") -> bool:
        """Try to join; return whether the server accepted."""
        return self.handshake(*headers, source=source).startswith("HTTP/1.1 101 ")

    def leave(self) -> None:
        """Close the oldest accepted websocket."""
        self._accepted.pop(0).close()

    def leave_all(self) -> None:
        while self._accepted:
            self.leave()


@pytest.fixture(name="stack")
def _stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def serve(stack: ExitStack, *flags: str) -> Visitors:
    return Visitors(stack.enter_context(SharechatProcess("--log-level", "warning", *flags)), stack)


def stop(visitors: Visitors) -> None:
    visitors.leave_all()  # They would not answer the close, for which the server waits.
    assert visitors.server.stop() == 0
    assert visitors.server.stderr == ""


def test_members_over_the_maximum_are_refused_until_one_leaves(stack: ExitStack) -> None:
    visitors = serve(stack, "--max-members", "3")
    assert [visitors.join() for _ in range(3)] == [True] * 3
    for source in ("127.0.0.1", ELSEWHERE):
        refusal = visitors.handshake(source=source)
        assert refusal.startswith("HTTP/1.1 503 ")
        assert "retry-after:" in refusal.lower()
        assert "application/problem+json" in refusal
        assert "tag:sharechat.dev,2026:full" in refusal
    # Everything else still works.
    assert len(fetch(f"{visitors.server.url}/api/room/{visitors.room}").json["members"]) == 3
    visitors.leave()
    wait_until(visitors.join)
    assert not visitors.join()
    stop(visitors)


def test_connections_of_one_address_over_the_maximum_are_refused(stack: ExitStack) -> None:
    visitors = serve(stack, "--max-per-address", "3")
    # The server may still count the connection over which the room was made.
    wait_until(lambda: fetch(f"{visitors.server.url}/api/healthz").status == 200)
    for _ in range(3):
        wait_until(visitors.join)
    refusal = visitors.handshake()
    assert refusal.startswith("HTTP/1.1 429 ")
    assert "Retry-After:" in refusal
    assert "application/problem+json" in refusal
    assert "tag:sharechat.dev,2026:too-many" in refusal
    # Plain requests from that address are refused too; other addresses are unaffected.
    assert fetch(f"{visitors.server.url}/api/healthz").status == 429
    assert visitors.join(source=ELSEWHERE)
    # The header is ignored unless it comes from a trusted proxy.
    assert not visitors.join("X-Forwarded-For: 1.1.1.1")
    for _ in range(2):
        visitors.leave()
        wait_until(visitors.join)
        assert not visitors.join()
    stop(visitors)


def test_clients_of_a_trusted_proxy_are_counted_by_their_forwarded_address(
    stack: ExitStack,
) -> None:
    flags = ("--trusted-proxy", "127.0.0.1", "--trusted-proxy", "10.0.0.0/8")
    visitors = serve(stack, "--max-per-address", "2", *flags)
    one = "X-Forwarded-For: 1.1.1.1"
    assert [visitors.join(one) for _ in range(3)] == [True, True, False]
    refusal = visitors.handshake(one)
    assert refusal.startswith("HTTP/1.1 429 ")
    assert "tag:sharechat.dev,2026:too-many" in refusal
    # A client can forge only what stands to the left of the address that the proxy adds.
    assert not visitors.join("X-Forwarded-For: 2.2.2.2, 1.1.1.1")
    assert not visitors.join("X-Forwarded-For: 2.2.2.2", one)
    # Through several proxies.
    assert not visitors.join("X-Forwarded-For: 1.1.1.1, 10.0.0.1,10.9.9.9")
    assert not visitors.join(one, "X-Forwarded-For: 10.0.0.1")
    # Other clients are accepted, and the proxy itself has no limit.
    assert visitors.join("X-Forwarded-For: 2.2.2.2")
    assert visitors.join("X-Forwarded-For: 1.1.1.1, 3.3.3.3")
    assert fetch(f"{visitors.server.url}/api/healthz").status == 200
    # An address that is not a trusted proxy counts as itself, whatever header it sends.
    forged = [f"X-Forwarded-For: 4.4.4.{number}" for number in range(3)]
    assert [visitors.join(header, source=ELSEWHERE) for header in forged] == [True, True, False]
    visitors.leave()
    wait_until(lambda: visitors.join(one))
    assert not visitors.join(one)
    stop(visitors)


def test_an_ipv4_proxy_is_trusted_when_listening_on_ipv6_too(stack: ExitStack) -> None:
    flags = ("--host", "::", "--trusted-proxy", "127.0.0.1", "--max-per-address", "1")
    visitors = serve(stack, *flags)
    # The proxy has no limit, and its clients are told apart, however it writes their addresses.
    assert visitors.join("X-Forwarded-For: 1.1.1.1:4711")
    assert visitors.join("X-Forwarded-For: 2.2.2.2")
    assert visitors.join("X-Forwarded-For: [2001:db8::1]:80")
    assert visitors.join('Forwarded: for="[2001:db8:0:1::1]:80";proto=https')
    assert not visitors.join("X-Forwarded-For: [::ffff:1.1.1.1]")
    assert not visitors.join("X-Forwarded-For: 2001:db8::2")
    assert not visitors.join('Forwarded: for="2.2.2.2:80"')
    # Where every hop is trusted, the first one counts, which here is the proxy itself.
    assert visitors.join()
    assert not visitors.join()
    assert visitors.join("Forwarded: for=3.3.3.3, for=127.0.0.1")
    stop(visitors)


def test_an_address_that_makes_too_many_rooms_is_told_when_to_try_again(stack: ExitStack) -> None:
    # A burst of two; the first is made by `serve`.
    server = serve(stack, "--room-rate", "0.02", "--trusted-proxy", "127.0.0.1").server
    url = f"{server.url}/api/room"
    assert fetch(url, "POST").status == 200
    refused = fetch(url, "POST")
    assert refused.status == 429
    assert refused.json["type"] == "tag:sharechat.dev,2026:too-fast"
    assert 40 <= int(refused.headers["Retry-After"]) <= 50
    # Another address may make some, and the first one may do all the rest.
    elsewhere = {"X-Forwarded-For": "2001:db8::1"}
    assert [fetch(url, "POST", elsewhere).status for _ in range(3)] == [200, 200, 429]
    assert fetch(url, "POST", {"X-Forwarded-For": "2001:db8::2"}).status == 429
    assert fetch(f"{server.url}/api/healthz").status == 200
    assert server.stop() == 0


def test_an_address_that_joins_too_often_is_told_when_to_try_again(stack: ExitStack) -> None:
    visitors = serve(stack, "--join-rate", "0.03")
    for _ in range(3):
        assert visitors.join()
        visitors.leave()
    refusal = visitors.handshake()
    assert refusal.startswith("HTTP/1.1 429 ")
    assert "tag:sharechat.dev,2026:too-fast" in refusal
    wait = re.search(r"retry-after: (\d+)", refusal.lower())
    assert wait
    assert 20 < int(wait[1]) <= 34
    assert visitors.join(source=ELSEWHERE)
    stop(visitors)


async def test_the_members_of_one_address_share_a_limit_on_messages(nursery: trio.Nursery) -> None:
    """Takes a second of real time: the rate of a server's process is by its own clock.

    `tests/unit/test_admission.py` shows how many they may send at once.
    """
    with SharechatProcess("--message-rate", "1", "--message-burst", "1") as server:
        room = make_room(server.url)
        # Each may send one at once, but of their address only ten may.
        talkers = [await join(nursery, server.ws_url(room)) for _ in range(20)]
        began = trio.current_time()
        for talker in talkers:
            await talker.say("hello")
        # One by one each might send its message at once.
        await talkers[0].hear_chats(20)
        assert trio.current_time() - began > 0.9
        for talker in talkers:
            await talker.drop()
        assert server.stop() == 0


async def test_past_its_memory_a_server_keeps_what_it_has(nursery: trio.Nursery) -> None:
    with SharechatProcess("--max-memory", "2MiB", "--message-rate", "0") as server:
        room = make_room(server.url)
        talker = await join(nursery, server.ws_url(room))
        stored = []
        for size in (16_000, 1):  # Where no long message fits any more, a short one may.
            while True:
                await talker.say("x" * size)
                answer = await talker.hear_type("chat", "failed")
                if answer["type"] == "failed":
                    break
                stored.append(answer["message"])
            assert "full" in answer["message"]
        assert 1_600_000 < len("".join(stored)) < 2_000_000
        refused = fetch(f"{server.url}/api/room", "POST")
        assert refused.status == 503
        assert refused.json["type"] == "tag:sharechat.dev,2026:full"
        assert "Retry-After" in refused.headers
        # The room can be read, joined and left; its members stay.
        assert texts(history(server.url, room)) == stored
        other = await join(nursery, server.ws_url(room))
        assert (await other.hear())["type"] == "joined"
        await other.close()
        assert (await talker.hear_type("left"))["type"] == "left"
        await talker.close()
        assert server.stop() == 0
