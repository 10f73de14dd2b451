"""Stopping: every member is closed with 1012 and leaves, and nobody can hold the server up."""

import signal
import socket
import time
from contextlib import suppress
from functools import partial

import pytest
import trio

from tests.harness.cluster import cluster
from tests.harness.deadline import eventually, wait_until
from tests.harness.http import history, make_room, members
from tests.harness.peer import Peer, text, upgrade
from tests.harness.process import BIN, ServerProcess, SharechatProcess, serve_flags
from tests.harness.reader import PATIENCE, Reader
from tests.harness.sockets import shrink_receive_buffer
from tests.harness.stalled import StalledMembers
from tests.harness.talker import join

STOP_LIMIT = 10
"""Seconds that stopping may take, whatever clients do."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_stopping_closes_every_member_though_one_does_not_read(
    nursery: trio.Nursery, number: signal.Signals
) -> None:
    with SharechatProcess("--message-rate", "0") as server:
        room = make_room(server.url)
        stalled = await Peer.open(server.ws_url(room))
        shrink_receive_buffer(stalled.stream)
        talkers = [await join(nursery, server.ws_url(room)) for _ in range(3)]
        for talker in talkers:
            await talker.hear()
        # Enough to leave something in the stalled member's buffer.
        for _ in range(300):
            await talkers[0].say("x" * 16_000)
            for talker in talkers:
                await talker.hear_chat()
        asked = time.monotonic()
        server.signal(number)
        assert [await talker.close_code() for talker in talkers] == [1012] * 3
        exit_code = await trio.to_thread.run_sync(server.wait)
        assert exit_code == 0
        assert time.monotonic() - asked < STOP_LIMIT
        assert "[error" not in server.stderr
        assert "Traceback" not in server.stderr
        stalled.drop()


async def test_a_server_under_nohup_survives_the_end_of_its_terminal(
    nursery: trio.Nursery,
) -> None:
    with ServerProcess(["nohup", str(BIN / "sharechat"), *serve_flags(())]) as server:
        talker = await join(nursery, server.ws_url(make_room(server.url)))
        assert (await talker.hear())["type"] == "joined"
        server.signal(signal.SIGHUP)
        for number in range(3):
            await talker.say(str(number))
            assert (await talker.hear_chat())["message"] == str(number)
        server.signal(signal.SIGTERM)
        assert await talker.close_code() == 1012
        assert await trio.to_thread.run_sync(server.wait) == 0


def test_a_second_signal_does_not_interrupt_stopping() -> None:
    with SharechatProcess() as server:
        room = make_room(server.url)
        with socket.create_connection(("127.0.0.1", server.port)) as silent:
            silent.sendall(upgrade(f"/api/serve/{room}"))
            wait_until(lambda: len(history(server.url, room)) == 1)
            # This member does not answer the close frame, so stopping takes a second.
            server.signal(signal.SIGTERM)
            wait_until(lambda: "stopping" in server.stderr)
            server.signal(signal.SIGTERM)
            assert server.wait() == 0


# With two pipelined requests hypercorn reads nothing more until it has answered the first,
# which here it never does.
@pytest.mark.parametrize("requests", [1, 2])
async def test_stopping_does_not_wait_for_a_client_that_reads_a_response_slowly(
    nursery: trio.Nursery, requests: int
) -> None:
    with SharechatProcess("--message-rate", "0") as server:
        room = make_room(server.url)
        talker = await join(nursery, server.ws_url(room))
        for _ in range(60):
            for _ in range(10):
                await talker.say("x" * 16_000)
            await talker.hear_chats(10)
        async with trio.open_nursery() as reading:
            client = await trio.open_tcp_stream("127.0.0.1", server.port)
            shrink_receive_buffer(client)
            request = f"GET /api/room/{room}/messages HTTP/1.1\r\nHost: localhost\r\n\r\n"
            await client.send_all(requests * request.encode())
            assert (await client.receive_some(9)) == b"HTTP/1.1 "

            async def read_slowly() -> None:
                with suppress(trio.BrokenResourceError):
                    async for _ in client:
                        await trio.sleep(0.1)

            reading.start_soon(read_slowly)
            asked = time.monotonic()
            server.signal(signal.SIGTERM)
            assert await talker.close_code() == 1012
            assert await trio.to_thread.run_sync(server.wait) == 0
            assert time.monotonic() - asked < STOP_LIMIT
            reading.cancel_scope.cancel()
        await client.aclose()


async def test_members_that_have_heard_everything_are_closed_with_1012(
    nursery: trio.Nursery,
) -> None:
    with SharechatProcess() as server:
        room = make_room(server.url)
        witness = await join(nursery, server.ws_url(room))
        peer = await Peer.open(server.ws_url(room))
        await peer.hear_text()
        await peer.send(text("last words"))
        assert await witness.hear_chats(1) == ["last words"]
        server.signal(signal.SIGTERM)
        assert await witness.close_code() == 1012
        assert (await peer.hear_close()).code == 1012
        await peer.stream.aclose()
        assert await trio.to_thread.run_sync(server.wait) == 0


@pytest.mark.time_limit(180)
@pytest.mark.usefixtures("many_files")
async def test_stopping_with_five_hundred_stalled_members_stores_every_left_in_time() -> None:
    many, reading = 500, 3
    # A cluster of its own, in which no process of another test has just died.
    with cluster() as servers, StalledMembers() as stalled:
        server = servers.serve("--message-rate", "0", "--log-level", "warning")
        other = servers.serve("--log-level", "warning")
        room = make_room(server.url)
        async with trio.open_nursery() as nursery:
            readers = [await Reader.open(server.ws_url(room), nursery) for _ in range(reading)]
            async with trio.open_nursery() as joining:
                for _ in range(4):
                    joining.start_soon(
                        trio.to_thread.run_sync, partial(stalled.join, server, room, many // 4)
                    )
            await eventually(lambda: len(members(server.url, room)) == many + reading, PATIENCE)
            # Enough to leave something in the stalled members' buffers, but not to fill them.
            for number in range(50):
                await readers[0].round_trip(f"words-{number}")
            asked = time.monotonic()
            server.signal(signal.SIGTERM)
            assert await trio.to_thread.run_sync(server.wait) == 0
            took = time.monotonic() - asked
            print(f"stopped after {took:.2f} s")
            assert took < STOP_LIMIT
            nursery.cancel_scope.cancel()
        assert [reader.close_code() for reader in readers] == [1012] * reading
        assert server.stderr == ""
        everything = history(other.url, room)
        came, went = (
            {message["memberId"] for message in everything if message["type"] == type_}
            for type_ in ("joined", "left")
        )
        assert len(came) == many + reading
        assert went == came
        assert len(everything) == 2 * len(came) + 50
        assert members(other.url, room) == []
        assert other.stop() == 0
