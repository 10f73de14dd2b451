"""The REST API: every key, header and status that clients rely on."""

import re
from datetime import UTC, datetime
from urllib.parse import urljoin
from uuid import UUID, uuid4

import pytest
import trio

from tests.harness.http import HANDSHAKE, Json, Response, fetch, history, make_room
from tests.harness.process import SharechatProcess
from tests.harness.talker import join

_NAME = re.compile("[A-Z][a-z]+ [A-Z][a-z]+")
_SENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
UNKNOWN = "5a9759fb-a35b-4311-885b-c90a8fddb8fa"
"""The id of a room that does not exist."""

_KEYS = {"id", "roomId", "memberId", "memberName", "type", "message", "sent"}


def assert_problem(response: Response, status: int, slug: str | None) -> None:
    """Assert that the response is a problem (RFC 9457) of the type that `slug` names."""
    assert response.status == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert set(response.json) == {"type", "title", "status", "detail"}
    assert response.json["status"] == status
    uri = "about:blank" if slug is None else f"tag:sharechat.dev,2026:{slug}"
    assert response.json["type"] == uri


def test_a_made_room_has_an_id_and_a_name_and_is_empty(server: SharechatProcess) -> None:
    response = fetch(f"{server.url}/api/room", "POST")

    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    assert set(response.json) == {"roomId", "roomName"}
    assert str(UUID(response.json["roomId"])) == response.json["roomId"]
    assert _NAME.fullmatch(response.json["roomName"])
    again = fetch(f"{server.url}/api/room/{response.json['roomId']}")
    assert again.json == {**response.json, "members": []}
    assert history(server.url, response.json["roomId"]) == []


async def test_members_and_messages_are_listed_in_order_with_all_their_keys(
    server: SharechatProcess, room: str, nursery: trio.Nursery
) -> None:
    talkers = [await join(nursery, server.ws_url(room)) for _ in range(3)]
    heard = [await talker.hear() for talker in talkers]
    await talkers[1].say("hello")
    said = await talkers[1].hear_chat()

    response = fetch(f"{server.url}/api/room/{room}").json
    assert set(response) == {"roomId", "roomName", "members"}
    assert [set(member) for member in response["members"]] == [{"id", "name"}] * 3
    assert [member["id"] for member in response["members"]] == [own["memberId"] for own in heard]
    assert all(_NAME.fullmatch(member["name"]) for member in response["members"])

    messages = history(server.url, room)
    assert messages == [*heard, said]
    for message, type_ in zip(messages, ["joined"] * 3 + ["chat"], strict=True):
        assert set(message) == _KEYS
        assert message["type"] == type_
        assert message["roomId"] == room
        assert _SENT.fullmatch(message["sent"])
        age = datetime.now(UTC) - datetime.fromisoformat(message["sent"])
        assert abs(age.total_seconds()) < 60
    assert messages[0]["message"] == f"{messages[0]['memberName']} joined the room."
    assert len({message["id"] for message in messages}) == 4

    await talkers[0].close()
    left = await talkers[1].hear()
    assert (left["type"], left["memberId"]) == ("left", heard[0]["memberId"])
    assert left["message"] == f"{left['memberName']} left the room."
    assert len(fetch(f"{server.url}/api/room/{room}").json["members"]) == 2
    assert history(server.url, room)[-1] == left


@pytest.mark.parametrize("path", ["", "/messages", "/messages?limit=3"])
@pytest.mark.parametrize("room_id", [UNKNOWN, "x", "%00", "1", f"{UNKNOWN}x", "%C5%BC"])
def test_an_unknown_room_is_not_found(server: SharechatProcess, room_id: str, path: str) -> None:
    assert_problem(fetch(f"{server.url}/api/room/{room_id}{path}"), 404, "room-not-found")


def test_a_room_id_in_upper_case_is_the_same_room(server: SharechatProcess, room: str) -> None:
    assert fetch(f"{server.url}/api/room/{room.upper()}").json["roomId"] == room


def links(response: Response) -> dict[str, str]:
    found = re.findall(r'<([^>]*)>; rel="(\w+)"', response.headers.get("Link", ""))
    return {rel: target for target, rel in found}


async def test_links_lead_through_the_whole_history_page_by_page(
    server: SharechatProcess, room: str, nursery: trio.Nursery
) -> None:
    talker = await join(nursery, server.ws_url(room))
    for number in range(24):
        await talker.say(str(number))
    await talker.hear_chats(24)
    base = f"{server.url}/api/room/{room}/messages"
    everything = history(server.url, room)
    assert len(everything) == 25

    newest = fetch(f"{base}?limit=10")
    assert newest.json == everything[-10:]
    assert set(links(newest)) == {"prev"}
    walked: list[Json] = newest.json
    response = newest
    while "prev" in links(response):
        response = fetch(urljoin(base, links(response)["prev"]))
        walked = response.json + walked
    assert walked == everything
    walked = response.json
    while "next" in links(response):
        response = fetch(urljoin(base, links(response)["next"]))
        walked = walked + response.json
    assert walked == everything

    middle = everything[12]["id"]
    assert fetch(f"{base}?before={middle}").json == everything[:12]
    assert fetch(f"{base}?before={middle}&limit=2").json == everything[10:12]
    assert fetch(f"{base}?after={middle}").json == everything[13:]
    assert fetch(f"{base}?after={middle}&limit=2").json == everything[13:15]
    assert set(links(fetch(f"{base}?after={middle}&limit=2"))) == {"prev", "next"}
    assert fetch(f"{base}?after={everything[-1]['id']}").json == []
    assert fetch(f"{base}?before={everything[0]['id']}").json == []
    assert fetch(f"{base}?limit=1000").json == everything
    assert not links(fetch(f"{base}?limit=1000"))


def test_an_invalid_query_is_refused(server: SharechatProcess, room: str) -> None:
    base = f"{server.url}/api/room/{room}/messages"
    for limit in ("0", "-1", "1001", "ten", "", "1.5", "%FF", "9" * 30, "%D9%A3"):
        assert_problem(fetch(f"{base}?limit={limit}"), 400, "bad-query")
    assert_problem(fetch(f"{base}?before={uuid4()}&after={uuid4()}"), 400, "bad-query")
    for cursor in (uuid4(), "x", "", "%00", "%FF"):
        assert_problem(fetch(f"{base}?before={cursor}"), 400, "bad-cursor")
        assert_problem(fetch(f"{base}?after={cursor}&limit=5"), 400, "bad-cursor")


async def test_a_message_of_another_room_is_refused_as_a_cursor(
    server: SharechatProcess, room: str, nursery: trio.Nursery
) -> None:
    own = await (await join(nursery, server.ws_url(room))).hear()
    assert fetch(f"{server.url}/api/room/{room}/messages?after={own['id']}").status == 200
    other = f"{server.url}/api/room/{make_room(server.url)}/messages?after={own['id']}"
    assert_problem(fetch(other), 400, "bad-cursor")


def test_unsupported_methods_and_unknown_paths_are_refused(
    server: SharechatProcess, room: str
) -> None:
    wrong = fetch(f"{server.url}/api/room")
    assert_problem(wrong, 405, None)
    assert "POST" in wrong.headers["Allow"]
    assert_problem(fetch(f"{server.url}/api/room/{room}", "PUT"), 405, None)
    assert_problem(fetch(f"{server.url}/nowhere"), 404, None)


def test_a_plain_request_to_a_websocket_is_told_to_upgrade(
    server: SharechatProcess, room: str
) -> None:
    response = fetch(server.ws_url(room).replace("ws", "http", 1))
    assert_problem(response, 426, "not-a-websocket")
    assert response.headers["Upgrade"] == "websocket"


def test_head_answers_as_get_does_without_a_body(server: SharechatProcess, room: str) -> None:
    for path in (f"room/{room}", f"room/{room}/messages", "healthz"):
        head = fetch(f"{server.url}/api/{path}", "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Type"] == "application/json"


def test_health_names_the_repository_and_the_queue(server: SharechatProcess) -> None:
    response = fetch(f"{server.url}/api/healthz")
    assert response.status == 200
    assert response.json == {"status": "ok", "repository": "ok", "queue": "ok"}


async def test_deleting_a_room_needs_its_key_and_closes_its_members(
    server: SharechatProcess, nursery: trio.Nursery
) -> None:
    made = fetch(f"{server.url}/api/room", "POST")
    key, room = made.headers["Sharechat-Room-Key"], made.json["roomId"]
    url = f"{server.url}/api/room/{room}"
    talkers = [await join(nursery, server.ws_url(room)) for _ in range(3)]

    bare = fetch(url, "DELETE")
    assert_problem(bare, 401, "key-missing")
    assert bare.headers["WWW-Authenticate"].startswith("Bearer")
    assert_problem(fetch(url, "DELETE", {"Authorization": f"Basic {key}"}), 401, "key-missing")
    assert_problem(fetch(url, "DELETE", {"Authorization": "Bearer wrong"}), 403, "wrong-key")
    assert_problem(fetch(url, "DELETE", {"Authorization": "Bearer \xff"}), 403, "wrong-key")
    assert fetch(url).status == 200

    done = fetch(url, "DELETE", {"Authorization": f"Bearer {key}"})
    assert (done.status, done.body) == (204, b"")
    assert "Content-Length" not in done.headers
    assert "Connection" not in done.headers
    assert [await talker.close_code() for talker in talkers] == [4410] * 3
    assert_problem(fetch(url), 404, "room-not-found")
    assert_problem(fetch(url, "DELETE", {"Authorization": f"Bearer {key}"}), 404, "room-not-found")
    handshake = fetch(f"{server.url}/api/serve/{room}", headers=HANDSHAKE)
    assert_problem(handshake, 404, "room-not-found")
