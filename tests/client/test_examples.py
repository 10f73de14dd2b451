"""The programs in examples/, each run as a process."""

import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from sharechat import client
from tests.harness.cutting_proxy import CuttingProxy, open_cutting_proxy
from tests.harness.deadline import DEADLINE, eventually
from tests.harness.http import Json, history, make_room, members, texts
from tests.harness.process import SharechatProcess, environment
from tests.harness.waiting import until

EXAMPLES = Path(__file__).parents[2] / "examples"


@asynccontextmanager
async def running(name: str, *arguments: str) -> AsyncIterator[None]:
    """Run an example, and stop it at the end; it must not have ended before."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    process = await trio.lowlevel.open_process(command, env=environment())
    try:
        yield
        assert process.poll() is None
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        with trio.fail_after(DEADLINE):
            await process.wait()


def page(port: int, room: str) -> str:
    return f"http://127.0.0.1:{port}/room/{room}"


async def members_come(server: SharechatProcess, room: str, count: int) -> None:
    await eventually(lambda: len(members(server.url, room)) >= count)


async def chats_come(server: SharechatProcess, rooms: list[str], count: int) -> None:
    for room in rooms:
        await eventually(lambda: len(texts(history(server.url, room))) >= count)  # noqa: B023


async def log_of(server: SharechatProcess, room: str) -> list[Json]:
    return await trio.to_thread.run_sync(history, server.url, room)


async def test_the_echo_bot_answers_others_and_not_itself(unlimited: SharechatProcess) -> None:
    room = make_room(unlimited.url)
    address = page(unlimited.port, room)
    with trio.fail_after(DEADLINE):
        async with running("echo_bot.py", address), client.join(address) as joined:
            await members_come(unlimited, room, 2)
            for text in ("one", "two"):
                await joined.say(text)
            heard: list[str] = []
            async for message in joined:
                if message.type == "chat":
                    heard.append(message.text)
                if len(heard) == 4:
                    break
    assert sorted(heard) == ["You said: one", "You said: two", "one", "two"]
    assert texts(await log_of(unlimited, room)) == heard


async def test_the_bridge_copies_each_message_once_though_its_connections_are_cut(
    unlimited: SharechatProcess,
) -> None:
    rooms = [make_room(unlimited.url) for _ in range(2)]
    said = [str(number) for number in range(30)]

    async def talk(joined: client.JoinedRoom, proxy: CuttingProxy | None) -> None:
        for number, text in enumerate(said):
            if proxy and number % 5 == 2:
                connections = proxy.accepted
                proxy.cut()
                await until(lambda: proxy.accepted > connections)  # noqa: B023
            await joined.say(text)

    with trio.fail_after(DEADLINE * 2):
        async with open_cutting_proxy(unlimited.port) as proxy:
            async with (
                running("bridge.py", *(page(proxy.port, room) for room in rooms)),
                client.join(page(unlimited.port, rooms[0]), hear=False) as one,
                client.join(page(unlimited.port, rooms[1]), hear=False) as two,
            ):
                for room in rooms:
                    await members_come(unlimited, room, 2)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(talk, one, proxy)
                    nursery.start_soon(talk, two, None)
                await chats_come(unlimited, rooms, 60)
                # A copy of a copy would come before these.
                for joined in (one, two):
                    await joined.say("the end")
                await chats_come(unlimited, rooms, 62)
    for room in rooms:
        chats = texts(await log_of(unlimited, room))
        copies = [text.partition(": ")[2] for text in chats if ": " in text]
        assert copies == [*said, "the end"]
        assert [text for text in chats if ": " not in text] == [*said, "the end"]


async def test_the_logger_goes_on_after_the_last_whole_line(
    unlimited: SharechatProcess, tmp_path: Path
) -> None:
    room, path = make_room(unlimited.url), tmp_path / "room.jsonl"
    address = page(unlimited.port, room)

    def logged() -> list[Json]:
        whole = [line for line in path.read_bytes().splitlines(True) if line.endswith(b"\n")]
        return [json.loads(line) for line in whole]

    with trio.fail_after(DEADLINE):
        async with client.join(address, hear=False) as joined:
            async with running("logger.py", address, str(path)):
                await members_come(unlimited, room, 2)
                await joined.say("one")
                await until(lambda: path.exists() and b'"one"' in path.read_bytes())
            with path.open("ab") as file:
                file.write(b'{"id": "cut of')
            await joined.say("two")
            async with running("logger.py", address, str(path)):
                await until(lambda: b'"two"' in path.read_bytes())
                await joined.say("three")
                await until(lambda: b'"three"' in path.read_bytes())
    log = await log_of(unlimited, room)
    written = logged()
    assert written == log[log.index(written[0]) :][: len(written)]
    assert {"one", "two", "three"} <= set(texts(written))


async def test_a_client_hears_a_room_from_past_a_message_on(unlimited: SharechatProcess) -> None:
    room = make_room(unlimited.url)
    address = page(unlimited.port, room)
    with trio.fail_after(DEADLINE):
        async with client.join(address, hear=False) as joined:
            stored = [await joined.say(text) for text in ("one", "two", "three")]
            async with client.join(address, after=stored[0].id) as later:
                assert [await later.__anext__() for _ in range(2)] == stored[1:]
                assert (await later.__anext__()).type == "joined"


async def test_a_cursor_that_the_room_does_not_have_is_refused(unlimited: SharechatProcess) -> None:
    room = make_room(unlimited.url)
    with trio.fail_after(DEADLINE), pytest.raises(client.RefusedError) as caught:
        async with client.join(page(unlimited.port, room), after=room):
            pass
    assert caught.value.code == 4400


@pytest.mark.parametrize("name", ["bridge.py", "echo_bot.py", "logger.py"])
async def test_a_program_that_is_called_wrongly_says_how(name: str) -> None:
    done = await trio.run_process(
        [sys.executable, str(EXAMPLES / name)], check=False, capture_stderr=True, env=environment()
    )
    assert done.returncode == 1
    assert f"python examples/{name} https://" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
