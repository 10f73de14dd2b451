"""What a member hears on its websocket, and what closes it."""

from contextlib import suppress

import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.harness.deadline import DEADLINE
from tests.harness.http import history, make_room, members, texts
from tests.harness.peer import Peer, compressed, text
from tests.harness.process import SharechatProcess
from tests.harness.talker import join

OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


async def test_every_member_hears_every_message_in_the_same_order(
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


async def test_binary_compressed_and_maximum_size_messages_are_heard_as_sent(
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
async def test_a_message_over_the_limit_is_closed_with_1009(
    server: SharechatProcess, room: str, nursery: trio.Nursery, message: str | bytes
) -> None:
    talker = await join(nursery, server.ws_url(room))
    with trio.fail_after(DEADLINE):
        # The server may close the connection during the send.
        with suppress(trio.BrokenResourceError, ConnectionClosed):
            await talker.websocket.send_message(message)
    assert await talker.close_code() == 1009


async def test_a_message_that_is_not_utf8_is_closed_with_1007_and_not_stored(
    server: SharechatProcess, room: str, nursery: trio.Nursery
) -> None:
    talker = await join(nursery, server.ws_url(room))
    await talker.say(b"caf\xe9")
    assert await talker.close_code() == 1007
    peer = await Peer.open(server.ws_url(room))
    await peer.send(text(b"caf\xe9"))
    assert (await peer.hear_close()).code == 1007
    await peer.stream.aclose()
    assert texts(history(server.url, room)) == []


async def test_a_message_with_a_nul_fails_and_its_member_stays(
    server: SharechatProcess, room: str, nursery: trio.Nursery
) -> None:
    talker, other = [await join(nursery, server.ws_url(room)) for _ in range(2)]
    own, _ = await talker.hear(), await other.hear()
    await talker.say("a\0b")
    await talker.say("fine")
    failed = await talker.hear_type("failed")
    assert set(failed) == set(own)
    assert failed["memberId"] == own["memberId"]
    assert "NUL" in failed["message"]
    assert await talker.hear_chats(1) == ["fine"]
    # The other member does not hear the failed message.
    assert await other.hear_chats(1) == ["fine"]
    assert [message["type"] for message in history(server.url, room)] == ["joined"] * 2 + ["chat"]


async def test_the_message_rate_slows_a_member_down_and_loses_nothing(
    nursery: trio.Nursery,
) -> None:
    with SharechatProcess("--message-rate", "50", "--message-burst", "10") as server:
        room = make_room(server.url)
        talker = await join(nursery, server.ws_url(room))
        said = [str(number) for number in range(60)]
        async with trio.open_nursery() as talking:

            async def talk() -> None:
                for words in said:
                    await talker.say(words)

            # Real time, since the server has a clock of its own; being late does no harm.
            started = trio.current_time()
            talking.start_soon(talk)
            assert await talker.hear_chats(60) == said
            assert trio.current_time() - started >= 0.99
        assert texts(history(server.url, room)) == said
        await talker.close()
        assert server.stop() == 0


async def test_without_a_message_rate_nothing_slows_a_member_down(
    unlimited: SharechatProcess, nursery: trio.Nursery
) -> None:
    room = make_room(unlimited.url)
    talker = await join(nursery, unlimited.ws_url(room))
    said = [str(number) for number in range(2000)]
    async with trio.open_nursery() as talking:

        async def talk() -> None:
            for words in said:
                await talker.say(words)

        talking.start_soon(talk)
        with trio.fail_after(50):  # At the default rate this would take 98 s.
            assert await talker.hear_chats(len(said)) == said


async def test_a_member_leaves_whether_it_closes_or_drops_its_connection(
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
        message = await witness.hear_type("left")
        assert message["message"] == f"{names[-1]} left the room."
    assert texts(history(server.url, room)) == ["bye", "bye"]
    assert len(members(server.url, room)) == 1
