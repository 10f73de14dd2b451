"""What a member sees on its websocket, from one that keeps to the rules and one that does not."""

import re
import socket
from contextlib import suppress

import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.harness.deadline import DEADLINE, eventually
from tests.harness.http import HANDSHAKE, fetch, history, make_room, texts
from tests.harness.peer import Peer, compressed, text
from tests.harness.process import SharechatProcess
from tests.harness.talker import join

OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


async def test_all_hear_all_in_one_order(
    server: SharechatProcess, room: str, nursery: trio.Nursery
) -> None:
    talkers = [await join(nursery, server.ws_url(room)) for _ in range(5)]
    owns = [await talker.hear() for talker in talkers]
    assert [own["type"] for own in owns] == ["joined"] * 5
    heard: list[list[str]] = [[] for _ in talkers]
    async with trio.open_nursery() as talking:
        for index in range(len(talkers)):

            async def talk(index: int = index) -> None:
                for number in range(20):
                    await talkers[index].say(f"{index}: {number}")

            async def listen(index: int = index) -> None:
                heard[index] = await talkers[index].hear_chats(100)

            talking.start_soon(talk)
            talking.start_soon(listen)
    assert heard == [texts(history(server.url, room))] * 5
    for index in range(5):
        mine = [said for said in heard[0] if said.startswith(f"{index}:")]
        assert mine == [f"{index}: {number}" for number in range(20)]


async def test_binary_compressed_and_the_largest(
    server: SharechatProcess, room: str, nursery: trio.Nursery
) -> None:
    talker = await join(nursery, server.ws_url(room))
    peer = await Peer.open(server.ws_url(room), OFFER)
    said = ["żółw", "", "🐢" * 4096, "é" * 8192, "x" * 16384]
    for words in said:
        await talker.say(words.encode())
    assert await talker.hear_chats(len(said)) == said
    await peer.send(b"".join(compressed(words.encode()) for words in said))
    assert await talker.hear_chats(len(said)) == said
    peer.drop()
    await talker.close()


@pytest.mark.parametrize("message", ["x" * 16385, b"x" * 16385, "é" * 8193, "x" * 1_000_000])
async def test_too_large(
    server: SharechatProcess, room: str, nursery: trio.Nursery, message: str | bytes
) -> None:
    talker = await join(nursery, server.ws_url(room))
    with trio.fail_after(DEADLINE):
        # It may be closed while we send.
        with suppress(trio.BrokenResourceError, ConnectionClosed):
            await talker.websocket.send_message(message)
    assert await talker.close_code() == 1009


async def test_not_utf8(server: SharechatProcess, room: str, nursery: trio.Nursery) -> None:
    talker = await join(nursery, server.ws_url(room))
    await talker.say(b"caf\xe9")
    assert await talker.close_code() == 1007
    peer = await Peer.open(server.ws_url(room))
    await peer.send(text(b"caf\xe9"))
    assert (await peer.hear_close()).code == 1007
    await peer.stream.aclose()
    assert texts(history(server.url, room)) == []


async def test_a_nul_fails_and_the_member_stays(
    server: SharechatProcess, room: str, nursery: trio.Nursery
) -> None:
    talker, other = [await join(nursery, server.ws_url(room)) for _ in range(2)]
    own, _ = await talker.hear(), await other.hear()
    await talker.say("a\0b")
    await talker.say("fine")
    while (failed := await talker.hear())["type"] != "failed":
        pass
    assert set(failed) == set(own)
    assert failed["memberId"] == own["memberId"]
    assert "NUL" in failed["message"]
    assert await talker.hear_chats(1) == ["fine"]
    # The other hears nothing of it, not even as a chat message.
    assert [await other.hear_chats(1)] == [["fine"]]
    assert [message["type"] for message in history(server.url, room)] == ["joined"] * 2 + ["chat"]


async def test_the_rate_slows_and_loses_nothing(nursery: trio.Nursery) -> None:
    with SharechatProcess("--message-rate", "50", "--message-burst", "10") as server:
        room = make_room(server.url)
        talker = await join(nursery, server.ws_url(room))
        said = [str(number) for number in range(60)]
        async with trio.open_nursery() as talking:

            async def talk() -> None:
                for words in said:
                    await talker.say(words)

            started = trio.current_time()
            talking.start_soon(talk)
            assert await talker.hear_chats(10) == said[:10]
            burst = trio.current_time() - started
            assert await talker.hear_chats(50) == said[10:]
            assert trio.current_time() - started >= 0.99
            assert burst < 0.9
        assert texts(history(server.url, room)) == said
        assert server.stop() == 0


async def test_without_a_rate(unlimited: SharechatProcess, nursery: trio.Nursery) -> None:
    room = make_room(unlimited.url)
    talker = await join(nursery, unlimited.ws_url(room))
    said = [str(number) for number in range(2000)]
    started = trio.current_time()
    async with trio.open_nursery() as talking:

        async def talk() -> None:
            for words in said:
                await talker.say(words)

        talking.start_soon(talk)
        assert await talker.hear_chats(len(said)) == said
    assert trio.current_time() - started < 2000 / 20 / 4


async def test_who_does_not_read_is_closed_and_nobody_waits_for_it(
    unlimited: SharechatProcess, nursery: trio.Nursery
) -> None:
    room = make_room(unlimited.url)
    deaf = await Peer.open(unlimited.ws_url(room))
    deaf.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    talker = await join(nursery, unlimited.ws_url(room))
    # What the kernel may hold for it, and 1 MiB that may wait.
    for number in range(800):
        await talker.say(f"{number}:".ljust(16_000, "x"))
        assert (await talker.hear_chats(1))[0].startswith(f"{number}:")
    await left(unlimited, room, but=1)
    assert unlimited.memory < 200_000_000
    deaf.drop()


async def test_who_does_not_read_leaves_and_nobody_waits_for_it(
    unlimited: SharechatProcess, nursery: trio.Nursery
) -> None:
    """That it is told 1013 if it reads again in time is shown in `tests/web`."""
    room = make_room(unlimited.url)
    slow = await Peer.open(unlimited.ws_url(room))
    slow.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    talker = await join(nursery, unlimited.ws_url(room))
    while len(fetch(f"{unlimited.url}/api/room/{room}").json["members"]) == 2:
        for _ in range(50):
            await talker.say("x" * 16_000)
        await talker.hear_chats(50)
    slow.drop()


async def left(server: SharechatProcess, room: str, but: int = 0) -> None:
    """Wait until only so many members are left."""
    url = f"{server.url}/api/room/{room}"
    await eventually(lambda: len(fetch(url).json["members"]) == but)


async def test_leaving_by_the_door_and_by_the_window(
    server: SharechatProcess, room: str, nursery: trio.Nursery
) -> None:
    witness = await join(nursery, server.ws_url(room))
    names = []
    for way in ("close", "drop"):
        talker = await join(nursery, server.ws_url(room))
        names.append((await talker.hear())["memberName"])
        await talker.say("bye")
        await talker.hear_chat()
        await (talker.close() if way == "close" else talker.drop())
        while (message := await witness.hear())["type"] != "left":
            pass
        assert message["message"] == f"{names[-1]} left the room."
    assert texts(history(server.url, room)) == ["bye", "bye"]
    await left(server, room, but=1)


def refused(url: str, room: str, origin: str | None) -> int:
    headers = HANDSHAKE | ({} if origin is None else {"Origin": origin})
    answer = fetch(f"{url}/api/serve/{room}", headers=headers)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["status"] == answer.status
    assert re.match("tag:sharechat.dev,2026:[a-z-]+$", answer.json["type"])
    return answer.status


async def test_refused_handshakes(
    server: SharechatProcess, room: str, nursery: trio.Nursery
) -> None:
    assert refused(server.url, "x", None) == 404
    assert refused(server.url, "00000000-0000-4000-8000-000000000000", None) == 404
    assert refused(server.url, room, "https://evil.example") == 403
    assert refused(server.url, room, "null") == 403
    for origin in (None, server.url, server.url.upper()):
        headers = {} if origin is None else {"Origin": origin}
        talker = await join(nursery, server.ws_url(room), headers)
        assert (await talker.hear())["type"] == "joined"


@pytest.mark.parametrize("allowed", ["https://friend.example", "*"])
async def test_allowed_origins(nursery: trio.Nursery, allowed: str) -> None:
    with SharechatProcess("--allowed-origin", allowed) as server:
        room = make_room(server.url)
        for origin in (None, "https://friend.example", server.url):
            headers = {} if origin is None else {"Origin": origin}
            talker = await join(nursery, server.ws_url(room), headers)
            assert (await talker.hear())["type"] == "joined", origin
        if allowed != "*":
            assert refused(server.url, room, "https://evil.example") == 403
        assert server.stop() == 0


@pytest.mark.parametrize("allowed", ["https://friend.example", "*"])
def test_cross_origin_requests(allowed: str) -> None:
    with SharechatProcess("--allowed-origin", allowed) as server:
        friend = {"Origin": "https://friend.example"}
        made = fetch(f"{server.url}/api/room", "POST", friend)
        assert made.headers["Access-Control-Allow-Origin"] in (allowed, friend["Origin"])
        exposed = made.headers["Access-Control-Expose-Headers"].lower()
        assert {"link", "retry-after", "sharechat-room-key"} <= set(re.split(", *", exposed))
        room = f"{server.url}/api/room/{made.json['roomId']}"
        for url in (room, f"{room}/messages", f"{server.url}/api/room/x"):
            assert "Access-Control-Allow-Origin" in fetch(url, headers=friend).headers
        preflight = fetch(
            room,
            "OPTIONS",
            friend
            | {
                "Access-Control-Request-Method": "DELETE",
                "Access-Control-Request-Headers": "authorization",
            },
        )
        assert preflight.status in (200, 204)
        assert "DELETE" in preflight.headers["Access-Control-Allow-Methods"]
        assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()
        if allowed != "*":
            evil = fetch(room, headers={"Origin": "https://evil.example"})
            assert "Access-Control-Allow-Origin" not in evil.headers
        assert server.stop() == 0


def test_without_allowed_origins_other_pages_read_nothing(server: SharechatProcess) -> None:
    answer = fetch(f"{server.url}/api/healthz", headers={"Origin": "https://friend.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers
