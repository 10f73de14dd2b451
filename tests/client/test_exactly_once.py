"""A message is stored once from the sender's hand on, however often the connection is lost."""

import random
from itertools import count

import pytest
import trio

from sharechat import client
from sharechat.client import room as room_module
from sharechat.client.addresses import RoomAddress
from tests.harness.cutting_proxy import CuttingProxy, open_cutting_proxy
from tests.harness.http import history, make_room
from tests.harness.process import SharechatProcess
from tests.harness.waiting import until

PATIENCE = 60


@pytest.fixture(autouse=True)
def _come_back_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_module, "FIRST_PAUSE", 0.01)


def through(proxy: CuttingProxy, room: str) -> str:
    return f"http://127.0.0.1:{proxy.port}/room/{room}"


def chats(server: SharechatProcess, room: str) -> list[str]:
    return [m["message"] for m in history(server.url, room) if m["type"] == "chat"]


async def listen(room: client.JoinedRoom, heard: list[client.Message]) -> None:
    async for message in room:
        heard.append(message)  # noqa: PERF401 - it never ends


async def cut_and_wait(proxy: CuttingProxy) -> None:
    """Cut the connection, and wait until the client has opened another."""
    connections = proxy.accepted
    proxy.cut()
    await until(lambda: proxy.accepted > connections)


@pytest.mark.parametrize(
    "where", ["before the handshake", "after the send", "before the echo", "within a frame"]
)
async def test_a_connection_cut_at_any_point_loses_and_repeats_nothing(
    unlimited: SharechatProcess, where: str
) -> None:
    room = make_room(unlimited.url)
    numbers = count()

    def cut_up(data: bytes) -> int | None:
        if where == "before the handshake":
            return 0 if data.startswith(b"GET") and next(numbers) % 2 else None
        if where == "after the send":
            return len(data) if not data.startswith(b"GET") and next(numbers) % 3 == 1 else None
        return None

    def cut_down(data: bytes) -> int | None:
        if b'"type":"chat"' not in data:
            return None
        if where == "before the echo":
            return 0 if next(numbers) % 3 == 1 else None
        if where == "within a frame":
            return len(data) // 2 if next(numbers) % 3 == 1 else None
        return None

    said = [str(number) for number in range(20)]
    heard: list[client.Message] = []
    async with open_cutting_proxy(unlimited.port) as proxy:
        proxy.passes_up, proxy.passes_down = cut_up, cut_down
        with trio.fail_after(PATIENCE):
            async with client.join(through(proxy, room)) as joined, trio.open_nursery() as nursery:
                nursery.start_soon(listen, joined, heard)
                for text in said:
                    if where == "before the handshake":
                        proxy.cut()
                    stored = await joined.say(text)
                    assert stored.text == text
                await until(lambda: said[-1] in [message.text for message in heard])
                nursery.cancel_scope.cancel()
        assert proxy.accepted > 5
    assert chats(unlimited, room) == said
    assert [m.text for m in heard if m.type == "chat"] == said
    log = [message["id"] for message in history(unlimited.url, room)]
    assert [m.id for m in heard] == log[: len(heard)]


async def test_a_thousand_messages_over_fifty_cuts_are_stored_once_each_in_order(
    unlimited: SharechatProcess,
) -> None:
    room = make_room(unlimited.url)
    rng = random.Random(1)
    said = [str(number) for number in range(1000)]
    cuts_before = set(rng.sample(range(1, 1000), 50))
    async with open_cutting_proxy(unlimited.port) as proxy:
        with trio.fail_after(PATIENCE):
            async with client.join(through(proxy, room), hear=False) as joined:
                async with trio.open_nursery() as nursery:
                    for number, text in enumerate(said):
                        if number in cuts_before:
                            await cut_and_wait(proxy)
                        await nursery.start(joined.say, text)
                        # Now and then some answers arrive before the next message or cut.
                        await trio.sleep(rng.choice((0, 0, 0.002)))
        assert proxy.accepted > 50
    assert chats(unlimited, room) == said


async def test_a_client_is_connected_once_it_can_come_back_without_a_gap(
    unlimited: SharechatProcess,
) -> None:
    """Its first connection is cut between the `welcome` and its own `joined`."""
    room = make_room(unlimited.url)
    numbers = count()

    def cut(data: bytes) -> int | None:
        at = data.find(b'"type":"joined"')
        if at < 0 or next(numbers) > 0:
            return None
        return data.rfind(b'{"id"', 0, at) - 4  # The frame's header has four bytes.

    async with open_cutting_proxy(unlimited.port) as proxy:
        proxy.passes_down = cut
        with trio.fail_after(PATIENCE):
            async with client.join(through(proxy, room)) as joined:
                assert proxy.accepted == 2
                await joined.say("hello")
                proxy.cut()
                assert (await joined.__anext__()).type == "joined"
                assert (await joined.__anext__()).text == "hello"


@pytest.mark.parametrize("answers_lost", [0, 1])
async def test_saying_again_what_an_earlier_program_said_does_not_bring_back_the_past(
    unlimited: SharechatProcess, answers_lost: int
) -> None:
    answers = count()

    def lose_answers(data: bytes) -> int | None:
        return 0 if old.id.encode() in data and next(answers) < answers_lost else None

    room = make_room(unlimited.url)
    async with open_cutting_proxy(unlimited.port) as proxy:
        with trio.fail_after(PATIENCE):
            async with client.join(through(proxy, room), hear=False) as earlier:
                old = await earlier.say("old")
                await earlier.say("between")
            proxy.passes_down = lose_answers
            async with client.join(through(proxy, room)) as joined:
                assert await joined.say("old", id=old.id) == old
                await cut_and_wait(proxy)
                await joined.say("new")
                heard: list[client.Message] = []
                while not heard or heard[-1].text != "new":
                    heard.append(await joined.__anext__())
    assert [m.text for m in heard if m.type == "chat"] == ["old", "new"]
    assert len({m.id for m in heard}) == len(heard)


async def test_leaving_fails_what_has_not_been_acknowledged(
    unlimited: SharechatProcess,
) -> None:
    room = make_room(unlimited.url)
    async with open_cutting_proxy(unlimited.port) as proxy:
        proxy.passes_up = lambda data: None if data.startswith(b"GET") else 0
        async with client.join(through(proxy, room)) as joined, trio.open_nursery() as nursery:
            nursery.start_soon(joined.say, "never sent")
            # The proxy cuts the connection at the message, and would cut the next one as well.
            await joined.state_change()
            nursery.cancel_scope.cancel()
    assert chats(unlimited, room) == []


async def test_a_deleted_room_ends_it(unlimited: SharechatProcess) -> None:
    new = await client.create_room(unlimited.url)
    async with client.join(new.address) as joined:
        async for message in joined:
            assert message.type == "joined"
            await client.delete_room(new.address, new.key)
            break
        with trio.fail_after(PATIENCE), pytest.raises(client.RoomGoneError) as caught:
            await joined.__anext__()
        assert caught.value.code == 4410
        with pytest.raises(client.RoomGoneError):
            await joined.say("too late")
        assert joined.state.phase.value == "ended"


async def test_a_room_that_is_not_there_cannot_be_joined(unlimited: SharechatProcess) -> None:
    address = RoomAddress.parse(f"{unlimited.url}/room/00000000-0000-4000-8000-000000000000")
    with trio.fail_after(PATIENCE), pytest.raises(client.RoomGoneError):
        async with client.join(address):
            pass
