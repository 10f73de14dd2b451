"""`sharechat.v1` on the wire, over `sharechat serve` and over plain hypercorn."""

import json
from collections.abc import AsyncIterator, Mapping
from uuid import uuid4

import pytest
import trio

from tests.harness.http import Json, history, make_room
from tests.harness.plain_asgi import hypercorn
from tests.harness.process import SharechatProcess
from tests.harness.talker import Talker, join

V1 = "sharechat.v1"
LIMIT = 16 * 1024
"""Bytes of UTF-8 that a message may have."""


@pytest.fixture(params=["sharechat serve", "hypercorn"], name="url")
async def _url(request: pytest.FixtureRequest, unlimited: SharechatProcess) -> AsyncIterator[str]:
    """The address of a new room's websocket."""
    if request.param == "hypercorn":
        async with hypercorn(message_rate=0) as url:
            yield await room_at(url)
    else:
        yield await room_at(unlimited.url)


async def room_at(url: str) -> str:
    room = await trio.to_thread.run_sync(make_room, url)
    return f"{url.replace('http', 'ws')}/api/serve/{room}"


async def log_of(url: str) -> list[Json]:
    server, _, room = url.replace("ws:", "http:").partition("/api/serve/")
    return await trio.to_thread.run_sync(history, server, room)


def frame(id_: object, message: object, **more: object) -> str:
    return json.dumps({"id": id_, "message": message, **more})


def answered(talker: Talker) -> Mapping[str, str]:
    """Return the headers with which the handshake was answered; names in lower case."""
    headers = talker.websocket.handshake_headers
    return {name.decode().lower(): value.decode() for name, value in headers}


async def join_v1(nursery: trio.Nursery, url: str) -> Talker:
    """Join, and hear the welcome and the member's own `joined`."""
    talker = await join(nursery, url, subprotocols=[V1])
    assert [(await talker.hear())["type"] for _ in range(2)] == ["welcome", "joined"]
    return talker


@pytest.mark.parametrize("offer", [[V1], ["chat", V1, "sharechat.v2"]])
async def test_the_subprotocol_is_accepted_if_it_is_among_those_offered(
    url: str, nursery: trio.Nursery, offer: list[str]
) -> None:
    talker = await join(nursery, url, subprotocols=offer)
    assert talker.websocket.subprotocol == V1
    welcome, joined = await talker.hear(), await talker.hear()
    assert set(welcome) == {"type", "roomId", "roomName", "memberId", "memberName"}
    assert welcome["type"] == "welcome"
    assert welcome["roomId"] == url.rpartition("/")[2]
    assert joined["type"] == "joined"
    for member in (welcome, joined):
        assert member["memberId"] == answered(talker)["sharechat-member-id"]
        assert member["memberName"] == answered(talker)["sharechat-member-name"]


@pytest.mark.parametrize("offer", [[], ["chat", "sharechat.v2"]])
async def test_without_the_subprotocol_each_frame_is_a_text(
    url: str, nursery: trio.Nursery, offer: list[str]
) -> None:
    talker = await join(nursery, url, subprotocols=offer)
    assert talker.websocket.subprotocol is None
    joined = await talker.hear()
    assert set(joined) == {"id", "roomId", "memberId", "memberName", "type", "message", "sent"}
    assert joined["type"] == "joined"
    assert joined["memberId"] == answered(talker)["sharechat-member-id"]
    assert joined["memberName"] == answered(talker)["sharechat-member-name"]
    said = frame(str(uuid4()), "hello")
    await talker.say(said)
    heard = await talker.hear()
    assert heard["message"] == said
    assert heard["id"] not in said


async def test_a_message_keeps_the_id_that_its_author_chose(
    url: str, nursery: trio.Nursery
) -> None:
    author, other = await join_v1(nursery, url), await join(nursery, url)
    await other.hear_type("joined")
    ids = [str(uuid4()) for _ in range(3)]
    await author.say(frame(ids[0], "one"))
    await author.say(frame(ids[1].upper(), "two"))
    await author.say(frame(ids[2], "three").encode())
    expected = list(zip(ids, ["one", "two", "three"], strict=True))
    for talker in (author, other):
        heard = [await talker.hear_chat() for _ in ids]
        assert [(m["id"], m["message"]) for m in heard] == expected
    assert [(m["id"], m["message"]) for m in (await log_of(url))[2:]] == expected


async def test_a_repeat_is_answered_to_its_sender_alone(url: str, nursery: trio.Nursery) -> None:
    author, other = await join_v1(nursery, url), await join_v1(nursery, url)
    id_ = str(uuid4())
    await author.say(frame(id_, "first"))
    stored = await author.hear_chat()
    for talker in (author, other):
        await talker.say(frame(id_, "again"))
        await talker.say(frame(str(uuid4()), "next"))
    for talker in (author, other):
        heard = [await talker.hear_chat() for _ in range(3 if talker is author else 4)]
        assert heard.count(stored) == (1 if talker is author else 2)
        assert [m["message"] for m in heard if m != stored] == ["next", "next"]
    assert [m["message"] for m in (await log_of(url))[2:]] == ["first", "next", "next"]


async def test_a_client_that_comes_back_hears_a_repeat_in_its_place_and_as_the_answer(
    url: str, nursery: trio.Nursery
) -> None:
    witness, lost = await join(nursery, url), await join(nursery, url, subprotocols=[V1])
    await witness.hear_type("joined")
    joined = await lost.hear_type("joined")
    id_ = str(uuid4())
    await lost.say(frame(id_, "hello"))
    stored = await witness.hear_chat()
    await lost.drop()
    await witness.hear_type("left")
    back = await join(nursery, f"{url}?after={joined['id']}", subprotocols=[V1])
    await back.say(frame(id_, "hello"))
    assert (await back.hear())["type"] == "welcome"
    heard = [await back.hear() for _ in range(4)]
    assert heard[0] == stored
    assert heard.count(stored) == 2
    assert [m["type"] for m in heard[1:] if m != stored] == ["left", "joined"]
    assert [m["type"] for m in await log_of(url)].count("chat") == 1


async def test_what_is_no_frame_fails_with_a_reason_and_the_connection_stays(
    url: str, nursery: trio.Nursery
) -> None:
    talker = await join_v1(nursery, url)
    id_ = str(uuid4())
    for sent, reason, failed_id in (
        ("hello", "This is not JSON.", None),
        (b"[]", "This is not a JSON object.", None),
        ('{"message": "x"}', 'The key "id" is missing.', None),
        (frame("x", "x"), 'The value of "id" is not a UUID.', None),
        (frame(5, "x"), 'The value of "id" is not a UUID.', None),
        (json.dumps({"id": id_}), 'The key "message" is missing.', id_),
        (frame(id_, 5), 'The value of "message" is not a string.', id_),
        (frame(id_, "x", type="chat"), 'There are other keys than "id" and "message".', id_),
        (frame(id_, "x" * (LIMIT + 1)), "The message has more than 16384 bytes.", id_),
        (frame(id_, "é" * (LIMIT // 2 + 1)), "The message has more than 16384 bytes.", id_),
        (frame(id_, "\1" * (LIMIT + 1)), "The message has more than 16384 bytes.", id_),
    ):
        await talker.say(sent)
        failed = await talker.hear()
        assert (failed["type"], failed["message"]) == ("failed", reason)
        assert failed["id"] == failed_id or failed_id is None
    await talker.say(frame(id_, "a\0b"))
    failed = await talker.hear()
    assert (failed["type"], failed["id"]) == ("failed", id_)
    await talker.say(frame(id_, "fine"))
    assert (await talker.hear())["message"] == "fine"
    assert [m["message"] for m in (await log_of(url))[1:]] == ["fine"]


@pytest.mark.parametrize("character", ["x", "é", "🐢", "\1", '"'])
async def test_the_longest_message_is_heard_however_it_is_escaped(
    url: str, nursery: trio.Nursery, character: str
) -> None:
    talker = await join_v1(nursery, url)
    text = character * (LIMIT // len(character.encode()))
    for escaped in (True, False):
        said = {"id": str(uuid4()), "message": text}
        await talker.say(json.dumps(said, ensure_ascii=escaped))
        assert (await talker.hear())["message"] == text


async def test_a_frame_over_its_own_limit_is_closed_with_1009(
    url: str, nursery: trio.Nursery
) -> None:
    talker = await join_v1(nursery, url)
    await talker.say(frame(str(uuid4()), "\1" * LIMIT + " " * 300))
    assert (await talker.hear_close()).code == 1009
    assert [m for m in await log_of(url) if m["type"] == "chat"] == []
