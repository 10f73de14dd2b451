"""The Connection over plain ASGI, with the test in the place of the server and the client."""

import math
from typing import cast

import pytest
import trio
import trio.testing
from quart.wrappers import Websocket

from sharechat.domain.errors import ConnectionClosedError
from sharechat.domain.outcomes import NOT_UTF8, RESTARTING, TOO_LARGE, Close
from sharechat.web import asgi_connection as module
from sharechat.web.asgi_connection import AsgiConnection
from tests.harness.pair import LIMIT, batch


class Server:
    """What Quart shows of an ASGI server; it records what is sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.closes: list[tuple[int, str]] = []
        self.read = 0
        """How many messages have been received."""
        self.stalls = False
        self._says, self._messages = trio.open_memory_channel[str | bytes](math.inf)

    # The client.

    def says(self, *messages: str | bytes) -> None:
        for message in messages:
            self._says.send_nowait(message)

    def goes(self) -> None:
        self._says.close()

    # What AsgiConnection uses of a Websocket.

    async def receive(self) -> str | bytes:
        message = await self._messages.receive()
        self.read += 1
        return message

    async def send(self, data: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.stalls:
            await trio.sleep_forever()
        self.sent.append(data)

    async def close(self, code: int, reason: str) -> None:
        await trio.lowlevel.checkpoint()
        self.closes.append((code, reason))


@pytest.fixture(name="server")
def _server() -> Server:
    return Server()


@pytest.fixture(name="connection")
def _connection(server: Server) -> AsgiConnection:
    return AsgiConnection(cast(Websocket, server), LIMIT)


async def test_nothing_is_sent_after_the_client_has_gone(
    server: Server, connection: AsgiConnection
) -> None:
    assert connection.offer(batch("waits"))
    server.goes()
    with pytest.raises(ConnectionClosedError):
        await connection.receive()
    assert connection.gone
    with pytest.raises(ConnectionClosedError):
        connection.offer(batch("too late"))
    with pytest.raises(ConnectionClosedError):
        await connection.drain()
    await connection.aclose(RESTARTING)
    await connection.aclose()
    assert (server.sent, server.closes) == ([], [])


async def test_nothing_is_sent_after_the_close(server: Server, connection: AsgiConnection) -> None:
    assert connection.offer(batch("waits"))
    server.goes()
    await connection.aclose(RESTARTING)
    with pytest.raises(ConnectionClosedError):
        await connection.drain()
    with pytest.raises(ConnectionClosedError):
        connection.offer(batch("too late"))
    await connection.aclose()
    assert server.sent == []
    assert server.closes == [(RESTARTING.code, RESTARTING.reason)]


async def test_a_client_that_goes_while_it_is_held_back_is_noticed(
    server: Server, connection: AsgiConnection, autojump_clock: trio.testing.MockClock
) -> None:
    server.says("one", "two")
    server.goes()
    await connection.pause(1000)
    assert trio.current_time() < 1000
    assert connection.gone
    assert [await connection.receive(), await connection.receive()] == ["one", "two"]
    with pytest.raises(ConnectionClosedError):
        await connection.receive()


async def test_a_client_that_is_held_back_is_read_only_up_to_a_bound(
    server: Server, connection: AsgiConnection, autojump_clock: trio.testing.MockClock
) -> None:
    """Until then its server answers its pings."""
    server.says(*["x" * LIMIT] * 100)
    await connection.pause(5)
    assert trio.current_time() == 5
    before = server.read
    assert 10 * LIMIT < before * LIMIT <= module.MAX_HELD_BACK
    await connection.pause(5)
    assert server.read == before
    for _ in range(100):
        assert await connection.receive() == "x" * LIMIT


@pytest.mark.parametrize(
    ("message", "why"),
    [("x" * (LIMIT + 1), TOO_LARGE), (b"\xff", NOT_UTF8), ("é" * LIMIT, TOO_LARGE)],
)
async def test_a_client_that_sends_something_invalid_counts_as_gone(
    server: Server, connection: AsgiConnection, message: str | bytes, why: Close
) -> None:
    server.says("fine", message, "after")
    assert await connection.receive() == "fine"
    with pytest.raises(ConnectionClosedError):
        await connection.receive()
    assert connection.gone
    server.goes()
    await connection.aclose()
    assert server.closes == [(why.code, why.reason)]


async def test_a_close_waits_for_the_client_to_answer_and_drops_what_it_still_says(
    server: Server, connection: AsgiConnection, autojump_clock: trio.testing.MockClock
) -> None:
    server.says(*"abcdef")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.aclose, RESTARTING)
        await trio.sleep(module.CLOSE_TIMEOUT / 2)
        assert server.closes == [(RESTARTING.code, RESTARTING.reason)]
        assert server.read == 6
        server.goes()
    assert trio.current_time() == module.CLOSE_TIMEOUT / 2


async def test_a_close_ends_although_the_client_does_not_answer(
    server: Server, connection: AsgiConnection, autojump_clock: trio.testing.MockClock
) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()  # It does so in spite of that, since the client is to see the close.
        await connection.aclose(RESTARTING)
    assert server.closes == [(RESTARTING.code, RESTARTING.reason)]
    assert trio.current_time() == module.CLOSE_TIMEOUT


async def test_a_server_that_does_not_get_rid_of_a_message_counts_as_gone(
    server: Server, connection: AsgiConnection, autojump_clock: trio.testing.MockClock
) -> None:
    server.stalls = True
    assert connection.offer(batch("one", "two"))
    with pytest.raises(ConnectionClosedError):
        await connection.drain()
    assert trio.current_time() == module.STALL_TIMEOUT
    assert connection.gone
    await connection.aclose()
    assert server.closes == []


async def test_a_message_that_takes_less_than_the_timeout_is_sent(
    server: Server, connection: AsgiConnection, autojump_clock: trio.testing.MockClock
) -> None:
    assert connection.offer(batch("one", "two"))
    assert connection.backlog > 0
    await connection.drain()
    assert len(server.sent) == 2
    assert connection.backlog == 0
