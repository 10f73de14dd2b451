"""The contract of the Connection port, sentence by sentence, for every adapter and every fake."""

import tracemalloc

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from wsproto.frame_protocol import Opcode

from sharechat.domain.batch import Batch
from sharechat.domain.errors import ConnectionClosedError
from sharechat.domain.outcomes import NOT_UTF8, RESTARTING, TOO_LARGE, TOO_SLOW, Close
from sharechat.domain.ports import Connection
from sharechat.net.direct_connection import MAX_HELD_BACK
from tests.harness.connections import ADAPTERS, Connect, asgi
from tests.harness.deadline import DEADLINE
from tests.harness.pair import LIMIT, batch, websockets
from tests.harness.peer import Peer, frame, text
from tests.harness.waiting import until


@pytest.fixture(name="connect", params=ADAPTERS)
def _connect(request: pytest.FixtureRequest) -> Connect:
    return ADAPTERS[request.param]


async def send(connection: Connection, *batches: Batch) -> None:
    """Send batches as a member does."""
    for next_ in batches:
        while not connection.offer(next_):
            await connection.drain()
    await connection.drain()


async def raises_closed(connection: Connection) -> None:
    with trio.fail_after(DEADLINE), pytest.raises(ConnectionClosedError):
        await connection.receive()


async def test_receive_returns_each_text_in_order(connect: Connect) -> None:
    async with connect() as (connection, client):
        await client.says("one", "", "żółw\n🐢")
        with trio.fail_after(DEADLINE):
            assert [await connection.receive() for _ in range(3)] == ["one", "", "żółw\n🐢"]


async def test_a_cancelled_receive_loses_nothing(connect: Connect) -> None:
    async with connect() as (connection, client):
        with trio.move_on_after(0.01):
            await connection.receive()
        await client.says("hello")
        await wait_all_tasks_blocked(0.01)
        with trio.CancelScope() as scope:
            scope.cancel()
            await connection.receive()
        with trio.fail_after(DEADLINE):
            assert await connection.receive() == "hello"


async def test_what_a_client_said_before_it_went_is_received_first(connect: Connect) -> None:
    async with connect() as (connection, client):
        await client.says("one", "two")
        await client.hangs_up()
        with trio.fail_after(DEADLINE):
            assert [await connection.receive() for _ in range(2)] == ["one", "two"]
        await raises_closed(connection)
        await raises_closed(connection)


async def test_receive_raises_once_a_client_is_gone_without_a_word(connect: Connect) -> None:
    async with connect() as (connection, client):
        client.drops()
        await raises_closed(connection)


async def test_a_pause_takes_up_no_text(connect: Connect) -> None:
    async with connect() as (connection, client):
        await client.says("one", "two")
        with trio.fail_after(DEADLINE):
            assert await connection.receive() == "one"
            await connection.pause(0.05)
            assert not connection.gone
            assert await connection.receive() == "two"


async def test_a_cancelled_pause_loses_nothing(connect: Connect) -> None:
    async with connect() as (connection, client):
        with trio.move_on_after(0.01):
            await connection.pause(DEADLINE)
        await client.says("hello")
        with trio.fail_after(DEADLINE):
            assert await connection.receive() == "hello"


async def test_once_receive_has_raised_the_client_is_gone(connect: Connect) -> None:
    async with connect() as (connection, client):
        assert not connection.gone
        await client.hangs_up()
        await raises_closed(connection)
        assert connection.gone


async def test_offered_batches_arrive_once_and_in_order(connect: Connect) -> None:
    async with connect() as (connection, client), trio.open_nursery() as nursery:
        nursery.start_soon(send, connection, batch("a", "b"), batch("c"), batch("d", "e", "f"))
        assert await client.hears(6) == list("abcdef")


async def test_the_backlog_counts_what_waits_and_drain_empties_it(connect: Connect) -> None:
    async with connect() as (connection, client):
        assert connection.backlog == 0
        large = batch("x" * 1_000_000)
        assert connection.offer(large)
        assert 0 <= connection.backlog <= large.size + 10
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.drain)
            assert await client.hears(1) == ["x" * 1_000_000]
        assert connection.backlog == 0


async def test_with_nothing_to_send_drain_returns(connect: Connect) -> None:
    async with connect() as (connection, _):
        with trio.fail_after(DEADLINE):
            await connection.drain()


async def fill(connection: Connection, start: int = 0) -> int:
    """Offer batches, numbered from `start`, until one is not taken; return how many were."""
    count = 0
    while connection.offer(batch(f"{start + count}".ljust(1000))):
        count += 1
        assert count < 100_000
    return count


async def test_a_batch_is_not_taken_if_too_much_waits_and_then_is_never_sent(
    connect: Connect,
) -> None:
    async with connect() as (connection, client):
        taken = await fill(connection)
        assert not connection.offer(batch("refused".ljust(1000)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.drain)
            heard = await client.hears(taken)
        assert [int(text) for text in heard] == list(range(taken))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, connection, batch("next"))
            assert await client.hears(1) == ["next"]


async def test_an_empty_buffer_takes_a_batch_of_any_size(connect: Connect) -> None:
    async with connect() as (connection, client), trio.open_nursery() as nursery:
        texts = [f"{number}".ljust(5000) for number in range(200)]
        assert connection.offer(batch(*texts))
        nursery.start_soon(connection.drain)
        assert await client.hears(len(texts)) == texts


async def test_a_batch_may_be_offered_while_another_task_drains(connect: Connect) -> None:
    async with connect() as (connection, client), trio.open_nursery() as nursery:
        taken = await fill(connection)
        nursery.start_soon(keep_draining, connection)
        await wait_all_tasks_blocked()
        taken += await fill(connection, start=taken)
        heard = await client.hears(taken)
        assert [int(text) for text in heard] == list(range(taken))
        nursery.cancel_scope.cancel()


async def keep_draining(connection: Connection) -> None:
    while True:
        await connection.drain()
        await trio.sleep(0.001)


async def give_up_on(connection: Connection) -> None:
    """Send until that raises."""
    with trio.fail_after(DEADLINE), pytest.raises(ConnectionClosedError):
        await send_for_ever(connection)


async def send_for_ever(connection: Connection) -> None:
    while True:
        await send(connection, batch("x" * 10_000))


async def test_sending_raises_once_the_client_is_gone(connect: Connect) -> None:
    async with connect() as (connection, client), trio.open_nursery() as nursery:
        nursery.start_soon(give_up_on, connection)
        # As a member does; over plain ASGI nothing else finds out that the client is gone.
        nursery.start_soon(raises_closed, connection)
        await wait_all_tasks_blocked(0.01)
        client.drops()


async def test_nothing_is_taken_once_the_connection_is_being_closed(connect: Connect) -> None:
    async with connect() as (connection, client), trio.open_nursery() as nursery:
        nursery.start_soon(connection.aclose, RESTARTING)
        await wait_all_tasks_blocked()
        with pytest.raises(ConnectionClosedError):
            connection.offer(batch("more"))
        await client.sees_close()
        with pytest.raises(ConnectionClosedError):
            connection.offer(batch("more"))


@pytest.mark.parametrize("close", [RESTARTING, TOO_SLOW])
async def test_a_close_tells_the_client_why(connect: Connect, close: Close) -> None:
    async with connect() as (connection, client), trio.open_nursery() as nursery:
        nursery.start_soon(connection.aclose, close)
        assert await client.sees_close() == (close.code, close.reason)


async def test_a_close_without_a_reason_is_normal(connect: Connect) -> None:
    async with connect() as (connection, client), trio.open_nursery() as nursery:
        nursery.start_soon(connection.aclose)
        code, _ = await client.sees_close()
        assert code == 1000


async def test_a_connection_may_be_closed_again(connect: Connect) -> None:
    async with connect() as (connection, client), trio.open_nursery() as nursery:
        nursery.start_soon(connection.aclose, RESTARTING)
        assert (await client.sees_close())[0] == RESTARTING.code
        with trio.fail_after(DEADLINE):
            await connection.aclose(TOO_SLOW)
            await connection.aclose()


async def test_a_cancelled_close_still_closes(connect: Connect) -> None:
    async with connect() as (connection, client), trio.open_nursery() as nursery:

        async def close_cancelled() -> None:
            with trio.CancelScope() as scope:
                scope.cancel()
                await connection.aclose(RESTARTING)

        nursery.start_soon(close_cancelled)
        assert (await client.sees_close())[0] == RESTARTING.code


async def test_closing_after_the_client_is_gone_ends(connect: Connect) -> None:
    async with connect() as (connection, client):
        client.drops()
        await raises_closed(connection)
        with trio.fail_after(DEADLINE):
            await connection.aclose(RESTARTING)


async def test_after_a_cancelled_drain_a_close_cuts_no_message_in_two(connect: Connect) -> None:
    async with connect() as (connection, client), trio.open_nursery() as nursery:
        await fill(connection)
        with trio.move_on_after(0.01):
            await connection.drain()
        nursery.start_soon(connection.aclose, RESTARTING)
        # A client that reads the websocket protocol would fail at half a frame.
        assert (await client.sees_close())[0] == RESTARTING.code


@pytest.mark.parametrize("connect_socket", [ADAPTERS["direct"], ADAPTERS["direct, over TLS"], asgi])
@pytest.mark.parametrize(
    ("violation", "close"),
    [(b"x" * (LIMIT + 1), TOO_LARGE), (b"\xff", NOT_UTF8)],
    ids=["too large", "not UTF-8"],
)
async def test_a_client_that_breaks_the_rules_counts_as_gone_and_is_told_why(
    connect_socket: Connect, violation: bytes, close: Close
) -> None:
    async with connect_socket() as (connection, client):
        await client.says("before")
        peer = client._peer  # type: ignore[attr-defined]
        await peer.send(frame(Opcode.BINARY, violation))
        with trio.fail_after(DEADLINE):
            assert await connection.receive() == "before"
        await raises_closed(connection)
        await raises_closed(connection)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.aclose, RESTARTING)
            assert await client.sees_close() == (close.code, close.reason)


async def test_a_ping_is_answered_during_a_pause() -> None:
    async with websockets() as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.pause, DEADLINE)
        await peer.send(text("held back") + frame(Opcode.PING, b"there?"))
        assert await peer.hear_pong() == b"there?"
        nursery.cancel_scope.cancel()


async def test_a_pause_ends_when_the_client_closes() -> None:
    async with websockets() as (connection, peer):
        await peer.send(text("held back") + frame(Opcode.CLOSE, b"\x03\xe8"))
        with trio.fail_after(DEADLINE):
            await connection.pause(2 * DEADLINE)
        assert connection.gone
        assert await connection.receive() == "held back"


@pytest.mark.parametrize("message", ["x" * 4000, "x" * 40, "!"])
async def test_what_is_read_ahead_during_a_pause_takes_little_memory(message: str) -> None:
    data = text(message) * (1 + 4000 // len(message))
    async with websockets(buffers=4096) as (connection, peer), trio.open_nursery() as nursery:
        tracemalloc.start()
        nursery.start_soon(connection.pause, DEADLINE)
        nursery.start_soon(send_on, peer, data)
        await until(lambda: connection.held_back >= MAX_HELD_BACK)
        await wait_all_tasks_blocked(0.05)  # Nothing more is read.
        memory = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert memory < 2 * MAX_HELD_BACK
        nursery.cancel_scope.cancel()


async def send_on(peer: Peer, data: bytes) -> None:
    while True:
        await peer.stream.send_all(data)


async def test_drain_gives_up_on_a_client_that_stalls() -> None:
    async with websockets(buffers=4096, stall_timeout=0.05) as (connection, _):
        assert connection.offer(batch("x" * 1_000_000))
        with trio.fail_after(DEADLINE), pytest.raises(ConnectionClosedError):
            await connection.drain()
