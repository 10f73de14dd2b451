"""How `sharechat join` and `new` end, on a screen and without one."""

import signal
from collections.abc import Sequence

import pytest

from sharechat import client
from tests.harness.command import exit_code, only_line, open_sharechat, sharechat
from tests.harness.cutting_proxy import open_cutting_proxy
from tests.harness.deadline import eventually
from tests.harness.http import history, make_room, members, texts
from tests.harness.process import SharechatProcess
from tests.harness.terminal import open_room
from tests.harness.waiting import until


@pytest.mark.parametrize(
    ("keys", "code"), [("/quit\r", 0), ("\x04", 0), ("\x03", 130)], ids=["quit", "ctrl-d", "ctrl-c"]
)
async def test_leaving_has_an_exit_code_and_leaves_the_terminal_as_it_was(
    unlimited: SharechatProcess, chat_room: str, address: str, keys: str, code: int
) -> None:
    async with open_room(address) as terminal:
        terminal.type(keys)
        assert await terminal.exit_code() == code
        await terminal.until(lambda: b"\x1b[?1049l" in terminal.written)
        assert b"\x1b[?7h" in terminal.written
        assert b"Traceback" not in terminal.written
    await eventually(lambda: members(unlimited.url, chat_room) == [])


async def test_a_terminal_that_is_closed_ends_it(
    unlimited: SharechatProcess, chat_room: str, address: str
) -> None:
    async with open_room(address) as terminal:
        terminal.hang_up()
        assert await terminal.exit_code() == 128 + signal.SIGHUP
    await eventually(lambda: members(unlimited.url, chat_room) == [])


async def test_a_room_that_is_deleted_ends_the_screen_with_one_line(
    unlimited: SharechatProcess,
) -> None:
    new = await client.create_room(unlimited.url)
    async with open_room(str(new.address)) as terminal:
        await client.delete_room(new.address, new.key)
        assert await terminal.exit_code() == 1
        await terminal.until(lambda: b"sharechat: The room has been deleted." in terminal.written)
        assert b"Traceback" not in terminal.written


async def test_a_connection_that_cannot_be_had_is_given_up(unlimited: SharechatProcess) -> None:
    async with open_cutting_proxy(unlimited.port) as proxy:
        proxy.refuses = True
        address = f"http://127.0.0.1:{proxy.port}/room/{make_room(unlimited.url)}"
        done = await sharechat("join", address, "--patience", "0.5")
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"Trying again for 0.5 seconds." in done.stderr


async def test_a_connection_that_cannot_be_kept_is_given_up(
    unlimited: SharechatProcess, chat_room: str
) -> None:
    async with open_cutting_proxy(unlimited.port) as proxy:
        address = f"http://127.0.0.1:{proxy.port}/room/{chat_room}"
        with open_sharechat("join", address, "--patience", "0.5") as process:
            await until(lambda: members(unlimited.url, chat_room) != [])
            proxy.refuses = True
            proxy.cut()
            assert await exit_code(process) == 1


async def test_a_room_that_is_not_there_ends_with_one_line(unlimited: SharechatProcess) -> None:
    address = f"{unlimited.url}/room/00000000-0000-4000-8000-000000000000"
    done = await sharechat("join", address, stdin=b"lost\n")
    assert (done.returncode, done.stdout) == (1, b"")
    assert only_line(done.stderr) == "sharechat: There is no such room."


async def test_a_room_that_is_deleted_ends_with_one_line(unlimited: SharechatProcess) -> None:
    new = await client.create_room(unlimited.url)
    with open_sharechat("join", str(new.address)) as process:
        assert process.stderr is not None
        await until(lambda: members(unlimited.url, new.address.room_id) != [])
        await client.delete_room(new.address, new.key)
        assert await exit_code(process) == 1
        assert only_line(process.stderr.read()) == "sharechat: The room has been deleted."


async def test_a_line_that_is_not_stored_is_told_of_and_the_others_are_said(
    unlimited: SharechatProcess, chat_room: str, address: str
) -> None:
    done = await sharechat("join", address, stdin=b"before\n" + b"x" * 20_000 + b"\nafter\n")
    assert done.returncode == 1
    assert only_line(done.stderr).startswith("sharechat: Not stored: ")
    assert texts(history(unlimited.url, chat_room)) == ["before", "after"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["join"], "Missing argument"),
        (["join", "nowhere"], "no room's id"),
        (["join", "ftp://example.org/room/0"], "ftp:// is not"),
        (["new", "http://"], "no host"),
        (["join", "--patience", "0", "x"], "--patience"),
    ],
)
async def test_wrong_use_ends_with_one_line(arguments: Sequence[str], reason: str) -> None:
    done = await sharechat(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert reason in only_line(done.stderr)


async def test_ctrl_c_leaves_the_room(
    unlimited: SharechatProcess, chat_room: str, address: str
) -> None:
    with open_sharechat("join", address) as process:
        await until(lambda: members(unlimited.url, chat_room) != [])
        process.send_signal(signal.SIGINT)
        assert await exit_code(process) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b""
    await until(lambda: members(unlimited.url, chat_room) == [])


async def test_an_output_that_nobody_reads_ends_it_quietly(
    unlimited: SharechatProcess, chat_room: str, address: str
) -> None:
    with open_sharechat("join", address) as process:
        await until(lambda: members(unlimited.url, chat_room) != [])
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        async with client.join(address):
            assert await exit_code(process) == 1
        assert process.stderr.read() == b""


async def test_a_room_on_a_server_that_is_not_there_cannot_be_made() -> None:
    done = await sharechat("new", "http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, b"")
    assert "cannot be reached" in only_line(done.stderr)


async def test_quitting_waits_until_what_was_said_is_stored(
    unlimited: SharechatProcess, chat_room: str
) -> None:
    async with open_cutting_proxy(unlimited.port) as proxy:
        async with open_room(f"http://127.0.0.1:{proxy.port}/room/{chat_room}") as terminal:
            proxy.refuses = True
            proxy.cut()
            await terminal.shows("Not connected, ")
            terminal.enter("last words")
            terminal.enter("/quit")
            await terminal.shows("Leaving once everything is stored.")
            proxy.refuses = False
            assert await terminal.exit_code() == 0
    assert texts(history(unlimited.url, chat_room)) == ["last words"]
