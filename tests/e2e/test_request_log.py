"""What the log tells of requests and members, and what it never tells."""

import json
import socket
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest
import trio

from tests.harness.deadline import DEADLINE, eventually, wait_until
from tests.harness.http import HANDSHAKE, fetch, make_room
from tests.harness.process import ServerProcess, SharechatProcess
from tests.harness.talker import join

CLIENT = "127.0.0.9"
"""The address that these clients have, and nothing else."""


def lines(server: ServerProcess, event: str) -> list[Mapping[str, Any]]:
    logged = map(json.loads, server.stderr.splitlines())
    return [line for line in logged if line["event"] == event]


def test_the_access_log_has_a_line_for_each_request() -> None:
    with SharechatProcess("--access-log", "--log-json") as server:
        made = fetch(f"{server.url}/api/room", "POST")
        room = made.json["roomId"]
        cursor = uuid4()
        fetch(f"{server.url}/api/room/{room}/messages?before={cursor}")
        fetch(f"{server.url}/api/room/x%0A[error]%C5%BC", "HEAD")
        fetch(f"{server.url}/{'long' * 1000}")
        joined = fetch(f"{server.url}/api/serve/{room}?after=x", headers=HANDSHAKE)
        assert joined.status == 400
        fetch(f"{server.url}/api/serve/{room}", headers=HANDSHAKE)
        wait_until(lambda: len(lines(server, "request")) == 6)
        logged = lines(server, "request")
        assert [(line["method"], line["path"], line["status"]) for line in logged] == [
            ("POST", "/api/room", 200),
            ("GET", f"/api/room/{room}/messages", 400),
            ("HEAD", "/api/room/x%0A%5Berror%5D%C5%BC", 404),
            ("GET", f"/{'long' * 1000}"[:256], 404),
            ("GET", f"/api/serve/{room}", 400),
            ("GET", f"/api/serve/{room}", 101),
        ]
        assert all(0 <= line["seconds"] < 10 for line in logged)
        assert str(cursor) not in server.stderr
        assert server.stop() == 0


def test_the_lines_of_a_request_have_the_id_that_its_answer_has() -> None:
    with SharechatProcess("--access-log", "--log-json") as server:
        answers = [fetch(f"{server.url}/api/room", "POST") for _ in range(2)]
        wait_until(lambda: len(lines(server, "request")) == 2)
        for event in ("room created", "request"):
            ids = [line["request"] for line in lines(server, event)]
            assert ids == [answer.headers["X-Request-Id"] for answer in answers]
        assert ids[0] != ids[1]
        assert {line["pid"] for line in lines(server, "request")} == {server.pid}
        assert server.stop() == 0


async def test_joins_leaves_and_refusals_are_logged_at_debug(nursery: trio.Nursery) -> None:
    with SharechatProcess("--log-level", "debug", "--log-json") as server:
        room = make_room(server.url)
        talker = await join(nursery, server.ws_url(room))
        member = (await talker.hear())["memberId"]
        await talker.close()
        await eventually(lambda: lines(server, "member left"))
        for event in ("member joined", "member left"):
            (line,) = lines(server, event)
            assert (line["level"], line["room"], line["member"]) == ("debug", room, member)
            assert "request" not in line
        fetch(f"{server.url}/api/room/{uuid4()}", source=CLIENT)
        fetch(f"{server.url}/api/serve/{room}", headers=HANDSHAKE | {"Origin": "http://evil"})
        fetch(f"{server.url}/api/serve/{room}", headers=HANDSHAKE | {"Sec-WebSocket-Key": "x"})
        await eventually(lambda: len(lines(server, "refused")) == 3)
        refusals = lines(server, "refused")
        assert [line["status"] for line in refusals] == [404, 403, 400]
        assert [line["address"] for line in refusals] == [CLIENT, "127.0.0.1", "127.0.0.1"]
        assert refusals[0]["problem"] == "room-not-found"
        assert {line["level"] for line in refusals} == {"debug"}
        assert server.stop() == 0


def visit(server: ServerProcess) -> str:
    """Do everything that a client can do, well and badly; return the key of the room."""
    made = fetch(f"{server.url}/api/room", "POST", source=CLIENT)
    key, room = made.headers["Sharechat-Room-Key"], made.json["roomId"]
    url = f"{server.url}/api/room/{room}"
    fetch(f"{url}?key={key}", source=CLIENT)
    fetch(f"{server.url}/api/serve/{room}?key={key}", headers=HANDSHAKE, source=CLIENT)
    fetch(url, "PUT", source=CLIENT)
    for authorization in (f"Basic {key}", f"Bearer {key}x", f"Bearer {key}", f"Bearer {key}"):
        fetch(url, "DELETE", {"Authorization": authorization}, source=CLIENT)
    v1 = HANDSHAKE | {"Sec-WebSocket-Protocol": "sharechat.v1"}
    fetch(f"{server.url}/api/serve/{room}", headers=v1, source=CLIENT)
    fetch(server.url, headers={"Host": "evil.example"}, source=CLIENT)
    for _ in range(205):
        fetch(f"{server.url}/api/room", "POST", source=CLIENT)
    for data in (b"\x00\r\n\r\n", b"GET / HTTP/3.0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server.port), DEADLINE, (CLIENT, 0)) as peer:
            peer.sendall(data)
            assert peer.recv(100)
    return key


@pytest.mark.parametrize("level", ["debug", "info"])
def test_no_key_and_above_debug_no_address_of_a_client_is_logged(level: str) -> None:
    with SharechatProcess("--access-log", "--log-level", level) as server:
        key = visit(server)
        assert server.stop() == 0
    assert "429" in server.stderr
    assert key not in server.stderr
    assert (CLIENT in server.stderr) == (level == "debug")


def test_nothing_of_requests_is_logged_by_default() -> None:
    with SharechatProcess() as server:
        visit(server)
        assert server.stop() == 0
    events = {line.split("]", 1)[1].split("  ")[0].strip() for line in server.stderr.splitlines()}
    assert events == {"lease opened", "room created", "room deleted", "stopping"}


def test_with_log_json_the_greeting_is_json_too() -> None:
    with SharechatProcess("--log-json") as server:
        (line,) = map(json.loads, server.stdout.splitlines())
        assert (line["event"], line["url"]) == ("listening", server.url)
        assert (line["rooms"], line["pid"]) == ("memory", server.pid)
        assert server.stop() == 0
