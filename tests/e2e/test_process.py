"""The command itself: how it starts, says what is wrong, and stops."""

import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress

import pytest
import trio

from sharechat.config import options
from tests.harness.deadline import DEADLINE, eventually, wait_until
from tests.harness.http import fetch, history, make_room, texts
from tests.harness.peer import Peer, text
from tests.harness.process import BIN, ServerProcess, SharechatProcess, environment
from tests.harness.talker import join


def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "sharechat"), *arguments],
        env=environment(**(env or {})),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def refused(*flags: str, env: Mapping[str, str] | None = None, says: str) -> None:
    """See that it does not start, and says why in one line."""
    done = run("serve", *flags, env=env)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("sharechat: ")
    assert says in done.stderr


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_ours(host: str) -> None:
    refused("--port", "0", "--host", host, says=host)


def test_a_wrong_flag() -> None:
    refused("--port", "99999", says="--port")


def test_a_wrong_variable() -> None:
    refused(env={"SHARECHAT_ROOM_TTL": "never"}, says="--room-ttl")


def test_help_names_every_option_with_its_variable() -> None:
    shown = run("serve", "--help")
    assert shown.returncode == 0
    words = " ".join(shown.stdout.split())
    for option in options():
        assert option.opts[0] in words
        assert f"env var: {option.envvar}" in words
    assert "serve" in run("--help").stdout
    assert re.search(r"\d+\.\d+", run("--version").stdout)


def test_a_port_that_is_taken(server: SharechatProcess) -> None:
    refused("--port", str(server.port), says=f"127.0.0.1:{server.port}")
    assert fetch(f"{server.url}/api/healthz").status == 200


def test_the_environment_sets_what_flags_do_not() -> None:
    env = {
        "SHARECHAT_ALLOWED_ORIGIN": "https://one.example https://two.example",
        "SHARECHAT_LOG_JSON": "1",
        "SHARECHAT_PORT": "1",
    }
    with SharechatProcess("--log-level", "info", env=env) as server:
        for origin in ("https://one.example", "https://two.example"):
            answer = fetch(f"{server.url}/api/room", "POST", {"Origin": origin})
            assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert server.stop() == 0
        assert '"event":"room created"' in server.stderr.replace(": ", ":")


def test_the_line_that_it_says_to_paste_works() -> None:
    with SharechatProcess() as server:
        listens, try_it = server.stdout.splitlines()
        assert listens == f"sharechat listens on {server.url}"
        command = try_it.removeprefix("Try it: ")
        assert command != try_it
        bash = shutil.which("bash")
        assert bash
        done = subprocess.run(
            [bash, "-c", command],
            env=environment(),
            input="hello\n",
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=True,
        )
        assert done.stderr == ""
        wait_until(lambda: "room created" in server.stderr)
        match = re.search(r"room=([0-9a-f-]{36})", server.stderr)
        assert match
        wait_until(lambda: len(history(server.url, match[1])) == 3)
        assert texts(history(server.url, match[1])) == ["hello\n"]
        assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stopping_tells_every_member(nursery: trio.Nursery, number: signal.Signals) -> None:
    with SharechatProcess("--message-rate", "0") as server:
        room = make_room(server.url)
        deaf = await Peer.open(server.ws_url(room))
        deaf.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        talkers = [await join(nursery, server.ws_url(room)) for _ in range(3)]
        for talker in talkers:
            await talker.hear()
        # So much that the one who does not read has something waiting.
        for _ in range(300):
            await talkers[0].say("x" * 16_000)
            for talker in talkers:
                await talker.hear_chat()
        asked = time.monotonic()
        server.signal(number)
        assert [await talker.close_code() for talker in talkers] == [1012] * 3
        exit_code = await trio.to_thread.run_sync(server.wait)
        assert exit_code == 0
        assert time.monotonic() - asked < 10
        assert "[error" not in server.stderr
        assert "Traceback" not in server.stderr
        deaf.drop()


def test_stopping_twice_is_stopping() -> None:
    with SharechatProcess() as server:
        room = make_room(server.url)
        silent = socket.create_connection(("127.0.0.1", server.port))
        with silent:
            handshake = f"GET /api/serve/{room} HTTP/1.1\r\nHost: x\r\n"
            silent.sendall(f"{handshake}Connection: Upgrade\r\nUpgrade: websocket\r\n".encode())
            silent.sendall(b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n")
            wait_until(lambda: len(history(server.url, room)) == 1)
            # It does not answer the close, so that stopping takes a second.
            server.signal(signal.SIGTERM)
            wait_until(lambda: "stopping" in server.stderr)
            server.signal(signal.SIGTERM)
            assert server.wait() == 0


# With two, hypercorn's reader waits until the first is answered, which will never be.
@pytest.mark.parametrize("requests", [1, 2])
async def test_stopping_while_somebody_reads_a_response_slowly(
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
            reader = await trio.open_tcp_stream("127.0.0.1", server.port)
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            request = f"GET /api/room/{room}/messages HTTP/1.1\r\nHost: x\r\n\r\n"
            await reader.send_all(requests * request.encode())
            assert (await reader.receive_some(9)) == b"HTTP/1.1 "

            async def read_slowly() -> None:
                with suppress(trio.BrokenResourceError):
                    async for _ in reader:
                        await trio.sleep(0.1)

            reading.start_soon(read_slowly)
            asked = time.monotonic()
            server.signal(signal.SIGTERM)
            assert await talker.close_code() == 1012
            assert await trio.to_thread.run_sync(server.wait) == 0
            assert time.monotonic() - asked < 10
            reading.cancel_scope.cancel()
        await reader.aclose()


async def test_what_was_said_right_before_stopping_and_lefts_are_stored(
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


async def test_rooms_that_nobody_is_in_vanish(nursery: trio.Nursery) -> None:
    """It takes the three seconds of real time that the server looks after rooms in."""
    with SharechatProcess("--room-ttl", "1s") as server:
        empty, full = make_room(server.url), make_room(server.url)
        talker = await join(nursery, server.ws_url(full))
        await talker.hear()
        await eventually(lambda: fetch(f"{server.url}/api/room/{empty}").status == 404)
        await talker.say("still here")
        assert await talker.hear_chats(1) == ["still here"]
        await talker.close()
        await eventually(lambda: fetch(f"{server.url}/api/room/{full}").status == 404)
        assert server.stop() == 0


async def test_plain_hypercorn_serves_the_same(nursery: trio.Nursery) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(BIN / "hypercorn"), "-k", "trio", "--bind", f"127.0.0.1:{port}"]
    app = "sharechat.bootstrap:create_app()"
    with ServerProcess([*command, app], prints_url_to="stderr") as server:
        room = make_room(server.url)
        talkers = [await join(nursery, server.ws_url(room)) for _ in range(2)]
        for talker in talkers:
            assert (await talker.hear())["type"] == "joined"
        await talkers[0].say("hello")
        assert [await talker.hear_chats(1) for talker in talkers] == [["hello"]] * 2
        assert texts(history(server.url, room)) == ["hello"]
        for talker in talkers:
            await talker.close()
        # Its workers get SIGTERM through it; what it exits with is its own affair.
        server.signal(signal.SIGTERM)
        await trio.to_thread.run_sync(server.wait)
        assert "Traceback" not in server.stderr
