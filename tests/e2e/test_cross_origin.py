"""Which origins may join, read and change rooms, and under which names the server is reached."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import trio

from tests.harness.http import HANDSHAKE, fetch, make_room
from tests.harness.process import SharechatProcess
from tests.harness.talker import join

FRIEND = "https://friend.example"


class Open(NamedTuple):
    """A server that pages of other origins may use."""

    server: SharechatProcess
    allowed: str
    """The origin that may, or "*"."""


@pytest.fixture(scope="module", name="opened", params=[FRIEND, "*"])
def _opened(request: pytest.FixtureRequest) -> Iterator[Open]:
    with SharechatProcess("--allowed-origin", request.param) as server:
        yield Open(server, request.param)
        assert server.stop() == 0


def refusal(url: str, room: str, origin: str | None) -> int:
    """Try to join; return the status of the problem that the server answers with."""
    headers = HANDSHAKE | ({} if origin is None else {"Origin": origin})
    response = fetch(f"{url}/api/serve/{room}", headers=headers)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json["status"] == response.status
    assert re.match("tag:sharechat.dev,2026:[a-z-]+$", response.json["type"])
    return response.status


async def test_a_handshake_for_no_room_or_from_a_foreign_origin_is_refused(
    server: SharechatProcess, room: str, nursery: trio.Nursery
) -> None:
    assert refusal(server.url, "x", None) == 404
    assert refusal(server.url, "00000000-0000-4000-8000-000000000000", None) == 404
    assert refusal(server.url, room, "https://evil.example") == 403
    assert refusal(server.url, room, "null") == 403
    for origin in (None, server.url, server.url.upper()):
        headers = {} if origin is None else {"Origin": origin}
        talker = await join(nursery, server.ws_url(room), headers)
        assert (await talker.hear())["type"] == "joined"


async def test_an_allowed_origin_may_join(nursery: trio.Nursery, opened: Open) -> None:
    server, allowed = opened
    room = make_room(server.url)
    for origin in (None, FRIEND, server.url):
        headers = {} if origin is None else {"Origin": origin}
        talker = await join(nursery, server.ws_url(room), headers)
        assert (await talker.hear())["type"] == "joined", origin
        await talker.close()
    if allowed != "*":
        assert refusal(server.url, room, "https://evil.example") == 403
        assert refusal(server.url, room, "https://evilfriend.example") == 403


def test_an_allowed_origin_may_read_and_delete(opened: Open) -> None:
    server, allowed = opened
    friend = {"Origin": FRIEND}
    made = fetch(f"{server.url}/api/room", "POST", friend)
    assert made.headers["Access-Control-Allow-Origin"] in (allowed, friend["Origin"])
    exposed = made.headers["Access-Control-Expose-Headers"].lower()
    assert {"link", "retry-after", "sharechat-room-key"} <= set(re.split(", *", exposed))
    room = f"{server.url}/api/room/{made.json['roomId']}"
    for url in (room, f"{room}/messages", f"{server.url}/api/room/x"):
        assert "Access-Control-Allow-Origin" in fetch(url, headers=friend).headers
    if allowed != "*":
        evil = fetch(room, headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in evil.headers


def test_an_allowed_origin_may_read_every_problem(opened: Open) -> None:
    server, allowed = opened
    room = make_room(server.url)
    for method, path, status in (
        ("GET", "/no/such/path", 404),
        ("GET", "/api/room/x", 404),
        ("PUT", f"/api/room/{room}", 405),
        ("GET", f"/api/serve/{room}", 426),
        ("GET", f"/api/room/{room}/messages?limit=0", 400),
        ("DELETE", f"/api/room/{room}", 401),
    ):
        friend = {"Origin": FRIEND}
        problem = fetch(server.url + path, method, friend)
        assert problem.status == status
        assert problem.headers["Access-Control-Allow-Origin"] in (allowed, friend["Origin"])
        exposed = problem.headers["Access-Control-Expose-Headers"].lower()
        assert "retry-after" in exposed
        for evil in ("https://evil.example", "xhttps://friend.example", "null"):
            headers = fetch(server.url + path, method, {"Origin": evil}).headers
            assert ("Access-Control-Allow-Origin" in headers) == (allowed == "*")


def test_a_preflight_offers_the_methods_that_the_route_has(opened: Open) -> None:
    server, allowed = opened
    for path, expected in (
        ("/api/room", {"POST", "OPTIONS"}),
        ("/api/room/x", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("/api/healthz", {"GET", "HEAD", "OPTIONS"}),
    ):
        asked = {
            "Access-Control-Request-Method": "DELETE",
            "Access-Control-Request-Headers": "authorization",
        }
        preflight = fetch(server.url + path, "OPTIONS", asked | {"Origin": FRIEND})
        assert preflight.status in (200, 204)
        methods = preflight.headers["Access-Control-Allow-Methods"]
        assert set(re.split(", *", methods)) == expected
        assert preflight.headers["Access-Control-Allow-Headers"].lower() == "authorization"
        evil = fetch(server.url + path, "OPTIONS", asked | {"Origin": "https://evil.example"})
        assert ("Access-Control-Allow-Methods" in evil.headers) == (allowed == "*")


@pytest.mark.parametrize("opened", [FRIEND], indirect=True)
@pytest.mark.parametrize("origin", [None, "https://evil.example", FRIEND])
def test_an_answer_that_depends_on_the_origin_is_not_cached_for_others(
    opened: Open, origin: str | None
) -> None:
    headers = {} if origin is None else {"Origin": origin}
    answer = fetch(f"{opened.server.url}/api/healthz", headers=headers)
    assert answer.headers["Vary"] == "Origin"


def test_by_default_no_foreign_origin_may_read(server: SharechatProcess) -> None:
    response = fetch(f"{server.url}/api/healthz", headers={"Origin": FRIEND})
    assert "Access-Control-Allow-Origin" not in response.headers


def test_a_page_of_a_foreign_origin_may_neither_make_nor_delete_a_room(
    server: SharechatProcess,
) -> None:
    made = fetch(f"{server.url}/api/room", "POST", {"Origin": server.url})
    room = f"{server.url}/api/room/{made.json['roomId']}"
    key = {"Authorization": f"Bearer {made.headers['Sharechat-Room-Key']}"}
    for origin in ("https://evil.example", "null"):
        for url, method in ((f"{server.url}/api/room", "POST"), (room, "DELETE")):
            refused = fetch(url, method, key | {"Origin": origin})
            assert refused.status == 403
            assert refused.json["type"] == "tag:sharechat.dev,2026:origin-not-allowed"
    assert fetch(room, headers={"Origin": "https://evil.example"}).status == 200
    assert fetch(room, "DELETE", key | {"Origin": server.url}).status == 204


def test_a_page_whose_name_stands_for_this_machine_is_refused(
    server: SharechatProcess, room: str
) -> None:
    """DNS rebinding: to the browser that page and the server have the same origin."""
    name = f"evil.example:{server.port}"
    page = {"Host": name, "Origin": f"http://{name}"}
    for method, path, headers in (
        ("GET", f"/api/room/{room}/messages", {"Host": name}),
        ("POST", "/api/room", page),
        ("DELETE", f"/api/room/{room}", page),
        ("GET", f"/api/serve/{room}", HANDSHAKE | page),
        ("GET", "/no/such/path", {"Host": name}),
    ):
        refused = fetch(server.url + path, method, headers)
        assert refused.status == 403, path
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.json["type"] == "tag:sharechat.dev,2026:host-not-allowed"
        assert name in refused.json["detail"]
    local = {"Host": f"localhost:{server.port}"}
    assert fetch(f"{server.url}/api/healthz", headers=local).status == 200


def test_a_name_that_is_allowed_may_be_used_by_its_pages() -> None:
    with SharechatProcess("--allowed-host", "chat.example") as server:
        page = {"Host": "chat.example", "Origin": "https://chat.example"}
        assert fetch(f"{server.url}/api/room", "POST", page).status == 200
        assert fetch(f"{server.url}/api/healthz", headers={"Host": "evil.example"}).status == 403
        assert fetch(f"{server.url}/api/healthz").status == 200
        assert server.stop() == 0


@pytest.mark.parametrize("host", ["a" * 64, f"{'a' * 64}.example", "a..b", "[::1", "\xff"])
def test_a_host_that_is_no_name_is_answered_like_any_other(host: str) -> None:
    with SharechatProcess("--allowed-host", "*") as server:
        room = make_room(server.url)
        assert fetch(f"{server.url}/api/room/{room}", headers={"Host": host}).status == 200
        handshake = fetch(f"{server.url}/api/serve/{room}", headers=HANDSHAKE | {"Host": host})
        assert handshake.status == 101
        assert server.stop() == 0
