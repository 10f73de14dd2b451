"""What a program does over HTTP: make a room, read its history, delete it."""

import socket
from functools import partial

import pytest
import trio

from sharechat import client
from sharechat.domain.ids import MessageId
from tests.harness.cutting_proxy import open_cutting_proxy
from tests.harness.deadline import DEADLINE
from tests.harness.process import SharechatProcess

NOBODY = "00000000-0000-4000-8000-000000000000"


async def room_with(
    server: SharechatProcess, *texts: str
) -> tuple[client.NewRoom, list[MessageId]]:
    """Make a room in which these texts were said; return it and the ids of the texts."""
    new = await client.create_room(server.url)
    async with client.join(new.address, hear=False) as joined:
        ids = [(await joined.say(text)).id for text in texts]
    return new, ids


async def test_a_new_room_can_be_joined_by_its_address(unlimited: SharechatProcess) -> None:
    new = await client.create_room(f"{unlimited.url}/")
    assert new.address.page.startswith(f"{unlimited.url}/room/")
    with trio.fail_after(DEADLINE):
        async with client.join(str(new.address)) as joined:
            assert joined.name == new.name


async def test_the_history_is_every_message_in_order(unlimited: SharechatProcess) -> None:
    said = ["[", '"},{"', "é🐢", "", "x" * 16_000]
    new, _ = await room_with(unlimited, *said)
    messages = [message async for message in client.history(new.address)]
    assert [m.text for m in messages if m.type == "chat"] == said
    assert messages[0].type == "joined"
    assert [m async for m in client.history(str(new.address))][: len(messages)] == messages


async def test_the_history_after_a_message_is_what_came_later(unlimited: SharechatProcess) -> None:
    new, ids = await room_with(unlimited, "one", "two", "three")
    later = [message async for message in client.history(new.address, after=ids[0])]
    assert [m.text for m in later if m.type == "chat"] == ["two", "three"]


async def test_the_history_of_an_empty_room_is_empty(unlimited: SharechatProcess) -> None:
    new = await client.create_room(unlimited.url)
    assert [message async for message in client.history(new.address)] == []


async def test_a_history_that_is_cut_off_is_not_taken_for_a_whole_one(
    unlimited: SharechatProcess,
) -> None:
    new, _ = await room_with(unlimited, *["x" * 16_000] * 4)
    async with open_cutting_proxy(unlimited.port) as proxy:
        proxy.passes_down = lambda data: len(data) // 2
        address = f"http://127.0.0.1:{proxy.port}/room/{new.address.room_id}"
        with trio.fail_after(DEADLINE), pytest.raises(client.UnreachableError):
            _ = [message async for message in client.history(address)]


async def test_a_room_is_deleted_with_its_key_alone(unlimited: SharechatProcess) -> None:
    new, other = [await client.create_room(unlimited.url) for _ in range(2)]
    with pytest.raises(client.RefusedError) as caught:
        await client.delete_room(new.address, other.key)
    assert (caught.value.code, caught.value.retry) == (403, False)
    await client.delete_room(str(new.address), new.key)
    with pytest.raises(client.RoomGoneError, match=r"There is no such room\."):
        await client.delete_room(new.address, new.key)


async def test_what_the_room_does_not_have_is_refused(unlimited: SharechatProcess) -> None:
    new = await client.create_room(unlimited.url)
    with pytest.raises(client.RefusedError) as caught:
        _ = [message async for message in client.history(new.address, after=NOBODY)]
    assert (caught.value.code, caught.value.retry) == (400, False)
    with pytest.raises(client.RoomGoneError):
        _ = [message async for message in client.history(f"{unlimited.url}/room/{NOBODY}")]


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # It does not listen.
        with trio.fail_after(DEADLINE), pytest.raises(client.UnreachableError) as caught:
            await client.create_room(f"http://127.0.0.1:{closed.getsockname()[1]}")
    assert caught.value.retry


async def test_an_address_in_which_no_room_is_named_is_refused() -> None:
    with pytest.raises(ValueError, match=r"The address has no room's id\."):
        await client.delete_room("chat.example", "key")
    with pytest.raises(ValueError, match=r"The address has no host\."):
        await client.create_room("")


async def test_another_servers_answer_is_no_room() -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, host="127.0.0.1")
        (listener,) = await nursery.start(serve, answer, 0)
        port = listener.socket.getsockname()[1]
        with trio.fail_after(DEADLINE), pytest.raises(client.ProtocolError):
            await client.create_room(f"http://127.0.0.1:{port}")
        nursery.cancel_scope.cancel()
