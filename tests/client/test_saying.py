"""What a program can rely on when it says several things, does not wait to join, or leaves."""

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from sharechat import client
from sharechat.client.outbox import MAX_UNACKNOWLEDGED
from tests.harness.cutting_proxy import open_cutting_proxy
from tests.harness.http import history, make_room, texts
from tests.harness.process import SharechatProcess

PATIENCE = 30


async def test_messages_that_are_started_one_by_one_are_stored_in_that_order(
    unlimited: SharechatProcess,
) -> None:
    room = make_room(unlimited.url)
    said = [str(number) for number in range(3 * MAX_UNACKNOWLEDGED)]
    with trio.fail_after(PATIENCE):
        async with client.join(f"{unlimited.url}/room/{room}", hear=False) as joined:
            async with trio.open_nursery() as nursery:
                for text in said:
                    await nursery.start(joined.say, text)
    assert texts(history(unlimited.url, room)) == said


async def test_joining_without_waiting_can_be_left_while_there_is_no_connection(
    unlimited: SharechatProcess,
) -> None:
    room = make_room(unlimited.url)
    async with open_cutting_proxy(unlimited.port) as proxy:
        proxy.refuses = True
        address = f"http://127.0.0.1:{proxy.port}/room/{room}"
        with trio.fail_after(PATIENCE):
            async with client.join(address, wait=False) as joined:
                while joined.state.phase.value != "waiting":
                    await joined.state_change()
                assert isinstance(joined.state.error, client.UnreachableError)
    assert history(unlimited.url, room) == []


async def test_joining_without_waiting_raises_what_ends_the_room_where_it_is_used(
    unlimited: SharechatProcess,
) -> None:
    nowhere = f"{unlimited.url}/room/00000000-0000-4000-8000-000000000000"
    with trio.fail_after(PATIENCE):
        async with client.join(nowhere, wait=False) as joined:
            with pytest.raises(client.RoomGoneError):
                await joined.connected()


async def test_a_server_that_accepts_and_sends_nothing_counts_as_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sharechat.client.room.WELCOME_TIMEOUT", 0.2)

    async def stay_silent(request: WebSocketRequest) -> None:
        connection = await request.accept(subprotocol="sharechat.v1")
        with suppress(ConnectionClosed):
            await connection.get_message()

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, stay_silent, "127.0.0.1", 0, None)
        address = f"http://127.0.0.1:{server.port}/room/00000000-0000-4000-8000-000000000000"
        with trio.fail_after(PATIENCE):
            async with client.join(address, wait=False) as joined:
                while joined.state.phase.value != "waiting":
                    await joined.state_change()
                assert isinstance(joined.state.error, client.UnreachableError)
        nursery.cancel_scope.cancel()


async def test_who_is_in_a_room_can_be_asked(unlimited: SharechatProcess) -> None:
    address = f"{unlimited.url}/room/{make_room(unlimited.url)}"
    with trio.fail_after(PATIENCE):
        assert await client.members(address) == []
        async with client.join(address) as joined:
            async for message in joined:
                assert message.type is client.MessageType.JOINED
                break
            assert await client.members(address) == [joined.me]


async def test_who_waits_to_say_something_is_told_when_the_room_ends(
    unlimited: SharechatProcess,
) -> None:
    new = await client.create_room(unlimited.url)
    told: list[Exception] = []

    async def say(joined: client.JoinedRoom) -> None:
        try:
            await joined.say("never stored")
        except client.ClientError as error:
            told.append(error)

    async with open_cutting_proxy(unlimited.port) as proxy:
        address = f"http://127.0.0.1:{proxy.port}/room/{new.address.room_id}"
        with trio.fail_after(PATIENCE):
            async with client.join(address, hear=False) as joined:
                proxy.refuses = True
                proxy.cut()
                await joined.state_change()
                async with trio.open_nursery() as nursery:
                    for _ in range(MAX_UNACKNOWLEDGED + 2):
                        nursery.start_soon(say, joined)
                    await client.delete_room(new.address, new.key)
                    proxy.refuses = False
    assert len(told) == MAX_UNACKNOWLEDGED + 2


async def test_a_message_for_which_the_connection_would_be_closed_is_refused_before(
    unlimited: SharechatProcess,
) -> None:
    address = f"{unlimited.url}/room/{make_room(unlimited.url)}"
    with trio.fail_after(PATIENCE):
        async with client.join(address, hear=False) as joined:
            with pytest.raises(client.NotStoredError):
                await joined.say("x" * 200_000)
            assert (await joined.say("short")).text == "short"


@pytest.mark.parametrize("way", ["left", "cancelled"])
async def test_leaving_takes_only_as_long_as_the_server_takes_to_answer_the_close(
    unlimited: SharechatProcess, mock_clock: MockClock, way: str
) -> None:
    """The clock is slow: the second that the server has for its answer takes ten of real time."""
    mock_clock.rate = 0.1
    received = b""

    def record(data: bytes) -> None:
        nonlocal received
        received += data

    room = make_room(unlimited.url)
    async with open_cutting_proxy(unlimited.port) as proxy:
        proxy.passes_down = record
        with trio.CancelScope() as scope:
            async with client.join(f"http://127.0.0.1:{proxy.port}/room/{room}") as joined:
                await joined.say("hello")
                began = trio.current_time()
                if way == "cancelled":
                    scope.cancel()
    assert trio.current_time() - began < 0.9
    assert received.endswith(CLOSED_NORMALLY)


CLOSED_NORMALLY = b"\x88\x02\x03\xe8"
"""A server's close frame with the code 1000."""
