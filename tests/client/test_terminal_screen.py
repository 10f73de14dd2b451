"""What the screen of `sharechat join` shows."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sharechat import client
from tests.harness.cutting_proxy import CuttingProxy, open_cutting_proxy
from tests.harness.deadline import eventually
from tests.harness.http import history, texts
from tests.harness.process import SharechatProcess
from tests.harness.terminal import Terminal, open_room, open_terminal


@asynccontextmanager
async def open_proxied_room(
    server: SharechatProcess, room: str
) -> AsyncIterator[tuple[Terminal, CuttingProxy]]:
    async with open_cutting_proxy(server.port) as proxy:
        async with open_room(f"http://127.0.0.1:{proxy.port}/room/{room}") as terminal:
            yield terminal, proxy


def stored(terminal: Terminal, text: str) -> bool:
    """Return whether something that was said here is shown, without a mark."""
    row = terminal.row_with(text)
    return bool(row) and " … " not in row


def shown(terminal: Terminal) -> list[int]:
    """Return the numbers of the messages on the screen that are called "message <number>."."""
    return [int(number) for number in re.findall(r"message (\d+)\.", terminal.text)]


async def changed(terminal: Terminal, before: str) -> None:
    await terminal.until(lambda: terminal.text != before or TOP in before)


async def test_two_screens_in_a_room_show_what_the_other_says(address: str) -> None:
    async with open_room(address) as one, open_room(address, columns=60, rows=12) as other:
        await one.shows("2 here: ")
        one.enter("hello over there")
        await other.shows("hello over there")
        other.enter("and hello to you, 日本語 👍 שלום")
        await one.shows("and hello to you, 日本語 👍 שלום")
        assert one.input_row == other.input_row == ">"


async def test_a_name_has_the_same_colour_for_everybody(address: str) -> None:
    async with open_room(address) as one, open_room(address) as other:
        one.enter("which colour am I?")
        await other.shows("which colour am I?")
        await one.until(lambda: stored(one, "which colour am I?"))
        name = other.row_with("which colour am I?")[8:].partition("  ")[0]
        colour = other.colour_of(f"{name}  which")
        assert colour == one.colour_of(f"{name}  which")
        assert colour != "default"


async def test_no_color_is_honoured(address: str) -> None:
    async with open_room(address, NO_COLOR="1") as terminal:
        terminal.enter("without colours, https://example.org")
        await terminal.shows("without colours")
        assert terminal.colours == {"default"}


async def test_escape_sequences_that_others_say_do_nothing(address: str) -> None:
    async with client.join(address) as other, open_room(address) as terminal:
        await other.say("\x1b[2J\x1b]0;title\x07\x1b[31m\x9b5mred \u202eorder")
        await terminal.shows("␛[2J␛]0;title␇␛[31m<U+009B>5mred <U+202E>order")
        for sequence in (b"\x1b[2J\x1b]", b"\x07", b"\xc2\x9b", "\u202e".encode()):
            assert sequence not in terminal.written


async def test_older_messages_are_loaded_while_scrolling_back(address: str) -> None:
    async with client.join(address) as other:
        for number in range(350):
            await other.say(f"message {number}.")
        async with open_room(address) as terminal:
            await terminal.shows("message 349.")
            terminal.type("my draft")
            for _ in range(60):
                terminal.type("\x1b[5~")
                await changed(terminal, terminal.text)
                if TOP in terminal.text:
                    break
            await terminal.until(lambda: shown(terminal)[:10] == list(range(10)))
            await other.say("something new")
            await terminal.shows("1 new below")
            assert "message 0." in terminal.text
            assert terminal.input_row == "> my draft"
            terminal.type("\x1b[1;5F")
            await terminal.shows("something new")
            assert "new below" not in terminal.text


TOP = "message 0."


async def test_a_lost_connection_is_shown_and_what_is_said_meanwhile_is_stored_later(
    unlimited: SharechatProcess, chat_room: str
) -> None:
    async with open_proxied_room(unlimited, chat_room) as (terminal, proxy):
        proxy.refuses = True
        proxy.cut()
        await terminal.shows("Not connected, ")
        terminal.enter("said in between")
        await terminal.until(lambda: " … " in terminal.row_with("said in between"))
        await terminal.shows("next try in ")
        assert texts(history(unlimited.url, chat_room)) == []
        proxy.refuses = False
        await terminal.shows("Connected.")
        await terminal.until(lambda: stored(terminal, "said in between"))
        assert texts(history(unlimited.url, chat_room)) == ["said in between"]
        await terminal.until(lambda: "1 here: " in terminal.text)


async def test_the_screen_is_there_before_there_is_a_connection(
    unlimited: SharechatProcess, chat_room: str
) -> None:
    async with open_cutting_proxy(unlimited.port) as proxy:
        proxy.refuses = True
        address = f"http://127.0.0.1:{proxy.port}/room/{chat_room}"
        async with open_terminal(["join", address]) as terminal:
            await terminal.shows("Not connected, ")
            terminal.enter("early")
            proxy.refuses = False
            await terminal.shows("  early")
            await eventually(lambda: texts(history(unlimited.url, chat_room)) == ["early"])


async def test_resizing_wraps_anew_and_keeps_links_whole(address: str) -> None:
    link = "https://example.org/a/path/that/is/long?query=1"
    async with open_room(address) as terminal:
        terminal.enter(f"have a look at {link} when you can")
        await terminal.shows(link)
        terminal.resize(len(link), 12)
        await terminal.until(lambda: link in terminal.rows and terminal.input_row == ">")
        terminal.resize(120, 30)
        await terminal.until(lambda: terminal.row_with(link).endswith("when you can"))
        await terminal.until(lambda: len(terminal.rows) == 30 and terminal.input_row == ">")


@pytest.mark.parametrize(("options", "rings"), [([], False), (["--bell"], True)])
async def test_the_bell_rings_only_if_asked_for(
    address: str, options: list[str], rings: bool
) -> None:
    async with client.join(address) as other, open_room(address, *options) as terminal:
        terminal.enter("mine")
        await terminal.until(lambda: stored(terminal, "mine"))
        assert b"\a" not in terminal.written
        await other.say("ding")
        await terminal.shows("ding")
        assert (b"\a" in terminal.written) is rings


async def test_a_new_room_prints_its_address_before_the_screen(
    unlimited: SharechatProcess,
) -> None:
    async with open_terminal(["new", unlimited.url]) as terminal:
        await terminal.shows("Connected.")
        before = terminal.written.partition(b"\x1b[?1049h")[0].decode()
        address = client.RoomAddress.parse(before.splitlines()[0])
        assert [m["type"] for m in history(unlimited.url, address.room_id)] == ["joined"]


async def test_a_dumb_terminal_gets_lines(
    unlimited: SharechatProcess, chat_room: str, address: str
) -> None:
    async with open_terminal(["join", address], TERM="dumb") as terminal:
        await terminal.shows("joined the room.")
        terminal.enter("typed")
        await terminal.shows(": typed")
        assert b"\x1b" not in terminal.written
        terminal.type("\x04")
        assert await terminal.exit_code() == 0
