"""`sharechat join` and `new` where there is no screen: lines in, lines out."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from sharechat import client
from tests.harness.command import exit_code, only_line, open_sharechat, sharechat
from tests.harness.cutting_proxy import CuttingProxy, open_cutting_proxy
from tests.harness.http import fetch, history, texts
from tests.harness.process import SharechatProcess
from tests.harness.waiting import until


def without_times(output: bytes) -> list[str]:
    time = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
    lines = output.decode().splitlines()
    assert all(re.match(time, line) for line in lines)
    return [re.sub(time, "", line) for line in lines]


async def test_each_line_is_said_once_and_in_order_and_each_message_is_printed(
    unlimited: SharechatProcess, chat_room: str, address: str
) -> None:
    said = [f"line {number}" for number in range(300)]
    done = await sharechat("join", address, stdin="\n".join(said).encode())
    assert done.returncode == 0
    assert done.stderr == b""
    assert texts(history(unlimited.url, chat_room)) == said
    name = history(unlimited.url, chat_room)[0]["memberName"]
    assert without_times(done.stdout) == [
        f"* {name} joined the room.",
        *(f"{name}: {text}" for text in said),
    ]


async def test_a_file_can_be_said(
    unlimited: SharechatProcess, chat_room: str, address: str, tmp_path: Path
) -> None:
    (tmp_path / "lines").write_bytes("one\r\n\nzwei ü \xff\n".encode("latin-1") + "三".encode())
    with (tmp_path / "lines").open("rb") as file:
        done = await sharechat("join", address, stdin=file)
    assert done.returncode == 0
    assert texts(history(unlimited.url, chat_room)) == ["one", "zwei \ufffd \ufffd", "三"]


async def test_json_lines_are_the_messages_as_the_history_has_them(
    unlimited: SharechatProcess, chat_room: str, address: str
) -> None:
    done = await sharechat("join", "--json", address, stdin="ü \x1b[2J \x9b \u202e".encode())
    printed = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert done.returncode == 0
    assert printed == history(unlimited.url, chat_room)[: len(printed)]
    assert [line["type"] for line in printed] == ["joined", "chat"]
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.stdout.decode())


async def test_what_others_say_is_printed_harmlessly_on_one_line(address: str) -> None:
    async with client.join(address) as other:
        with open_sharechat("join", address) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            assert other.me is not None
            await trio.to_thread.run_sync(process.stdout.readline)
            await other.say("\x1b[31mred\nsecond line\x9b\u202e")
            line = await trio.to_thread.run_sync(process.stdout.readline)
            process.stdin.close()
            assert await exit_code(process) == 0
    assert without_times(line) == [f"{other.me.name}: ␛[31mred⏎second line<U+009B><U+202E>"]


async def test_input_waits_until_the_room_is_joined(
    unlimited: SharechatProcess, chat_room: str
) -> None:
    async with open_cutting_proxy(unlimited.port) as proxy, trio.open_nursery() as nursery:
        proxy.refuses = True
        nursery.start_soon(_let_in, proxy)
        address = f"http://127.0.0.1:{proxy.port}/room/{chat_room}"
        done = await sharechat("join", address, stdin=b"early\nlines\n")
    assert done.returncode == 0
    assert texts(history(unlimited.url, chat_room)) == ["early", "lines"]
    assert b"Connected." in done.stderr


async def _let_in(proxy: CuttingProxy) -> None:
    await until(lambda: proxy.accepted > 1)
    proxy.refuses = False


async def test_a_lost_connection_neither_loses_nor_repeats_a_line(
    unlimited: SharechatProcess, chat_room: str
) -> None:
    said = [f"line {number}" for number in range(200)]
    cut = False

    def cut_once(data: bytes) -> int | None:
        nonlocal cut
        if cut or b"line 100" not in data:
            return None
        cut = True
        return len(data) // 2

    async with open_cutting_proxy(unlimited.port) as proxy:
        proxy.passes_down = cut_once
        address = f"http://127.0.0.1:{proxy.port}/room/{chat_room}"
        done = await sharechat("join", address, stdin="\n".join(said).encode())
    assert cut
    assert done.returncode == 0
    assert texts(history(unlimited.url, chat_room)) == said
    printed = [line.partition(": ")[2] for line in without_times(done.stdout)]
    assert [text for text in printed if text] == said


async def test_a_new_room_is_made_and_joined(unlimited: SharechatProcess) -> None:
    done = await sharechat("new", unlimited.url, stdin=b"first\n")
    assert done.returncode == 0
    address, _, rest = done.stdout.partition(b"\n")
    room = client.RoomAddress.parse(address.decode())
    assert str(room) == address.decode()
    assert len(without_times(rest)) == 2
    assert texts(history(unlimited.url, room.room_id)) == ["first"]
    assert only_line(done.stderr).startswith("The room's key: ")


async def test_a_new_room_is_a_json_object_with_its_key(unlimited: SharechatProcess) -> None:
    done = await sharechat("new", unlimited.url, "--json")
    made = json.loads(done.stdout.splitlines()[0])
    assert done.returncode == 0
    api = client.RoomAddress.parse(made["address"]).api
    deleted = fetch(api, "DELETE", {"Authorization": f"Bearer {made['key']}"})
    assert deleted.status == 204


@pytest.mark.parametrize("module", ["httpx", "trio_websocket", "urwid"])
def test_a_server_does_not_import_what_only_the_client_needs(module: str) -> None:
    check = f"import sys, sharechat.serve; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_a_client_does_not_import_what_only_the_server_needs() -> None:
    check = """
import sys, sharechat.cli, sharechat.client
sharechat.cli.cli.get_command(None, "join")
print(*{"hypercorn", "psycopg", "quart", "structlog"} & {*sys.modules})
"""
    done = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""
