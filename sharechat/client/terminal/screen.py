"""The room on a terminal: urwid draws and reads keys, within the one loop of trio."""

import os
import signal
import sys
from itertools import islice
from math import ceil

import trio
import urwid

from sharechat.client.addresses import RoomAddress
from sharechat.client.errors import ClientError, NotStoredError
from sharechat.client.outbox import MAX_UNACKNOWLEDGED
from sharechat.client.rest import history_before, members
from sharechat.client.room import JoinedRoom, Phase, join
from sharechat.client.terminal.input import AtMostRows, InputLine
from sharechat.client.terminal.log import Log, Own
from sharechat.client.terminal.people import People
from sharechat.client.terminal.scrollback import Scrollback
from sharechat.client.terminal.terminal import Terminal
from sharechat.client.terminal.text import one_line
from sharechat.client.websocket import unwrapped
from sharechat.domain.messages import MessageType

PAGE = 100
"""How many older messages are loaded at a time."""

_MAX_NAMES = 50
"""How many names the title has at most."""

_AGAIN = 5.0
"""Seconds until something that could not be loaded is asked for again."""

_HELP = """\
/who lists who is here, /link shows the room's address, /retry says again what was not stored, \
/quit leaves (so does Ctrl-C).
Page Up and Page Down scroll, Shift with Up and Down by one line, Ctrl-End goes to the end. \
Up and Down bring back what you wrote. Alt-Enter begins a new line. //x says /x."""


class RoomScreen:
    """What is seen of one room, and what happens when a key is pressed."""

    def __init__(self, room: JoinedRoom, *, bell: bool) -> None:
        self._room = room
        self._bell = bell
        self._log = Log()
        self._people = People()
        self._header = urwid.Text("", wrap="ellipsis")
        self._status = urwid.Text("", wrap="ellipsis")
        self._scrollback = Scrollback(self._log, self._want_older)
        self._input = InputLine(self._enter)
        self._said, self._to_say = trio.open_memory_channel[Own](MAX_UNACKNOWLEDGED)
        self._wants_older = trio.Event()
        self._all_loaded = False
        self._leaving = False
        self._leave = trio.CancelScope()
        frame = urwid.Frame(
            self._scrollback,
            urwid.AttrMap(self._header, "bar"),
            urwid.Pile([urwid.AttrMap(self._status, "bar"), AtMostRows(self._input)]),
            focus_part="footer",
        )
        self._terminal = Terminal(frame, key=self._key, before_drawing=self._prepare)

    async def run(self) -> None:
        """Show the room until the user leaves. Raises what has ended the room."""
        with self._leave:
            async with unwrapped(), trio.open_nursery() as nursery:
                nursery.start_soon(self._terminal.run)
                nursery.start_soon(self._hear)
                nursery.start_soon(self._watch)
                nursery.start_soon(self._load_people)
                nursery.start_soon(self._load_older)
                async for own in self._to_say:
                    await nursery.start(self._say, own)

    def _prepare(self) -> None:
        self._header.set_text(self._title())
        self._status.set_text(self._how_it_stands())
        self._scrollback.refresh()

    def _title(self) -> str:
        if not self._room.name:
            return str(self._room.address)
        return f"{one_line(self._room.name)} · {self._who(_MAX_NAMES)}"

    def _who(self, limit: int | None = None) -> str:
        """Return who is here: first who one is oneself, since the end of the list may be cut."""
        everybody = self._people.names
        me = self._room.me
        own = everybody.get(me.id) if me else None
        names = [] if own is None else [f"{one_line(own)} (you)"]
        others = (name for id_, name in everybody.items() if me is None or id_ != me.id)
        names += [one_line(name) for name in islice(others, limit)]
        return f"{len(everybody)} here: {', '.join(names)}"

    def _how_it_stands(self) -> str:
        state = self._room.state
        reason = one_line(str(state.error or ""))
        if state.phase is Phase.WAITING:
            seconds = max(0, ceil(state.until - trio.current_time()))
            return f"Not connected, next try in {seconds} s. {reason}"
        if state.phase is not Phase.CONNECTED:
            return f"Not connected, trying now. {reason}"
        if self._wants_older.is_set():
            return "Loading older messages …"
        if self._log.unread:
            return f"{self._log.unread} new below; Ctrl-End goes there."
        return "Connected. /help lists the commands."

    # What happens in the room

    async def _hear(self) -> None:
        async for message in self._room:
            self._people.hear(message)
            first = self._log.first is None
            mine = message.id in self._log.mine
            new = self._log.hear(message)
            if self._bell and new and not mine and message.type is MessageType.CHAT:
                self._terminal.ring()
            if first:
                self._want_older()
            self._leave_if_done()
            self._terminal.draw_soon()

    async def _watch(self) -> None:
        """Show how it stands with the connection, and count down to the next try."""
        while True:
            self._terminal.draw_soon()
            counting = self._room.state.phase is Phase.WAITING
            with trio.move_on_after(1 if counting else float("inf")):
                await self._room.state_change()

    async def _load_people(self) -> None:
        await self._room.connected()
        while not self._people.complete:
            try:
                self._people.add_list(await members(self._room.address))
            except ClientError:
                # Those who come and go are heard of meanwhile.
                await trio.sleep(_AGAIN)
        self._terminal.draw_soon()

    def _want_older(self) -> None:
        if not self._all_loaded and not self._log.full:
            self._wants_older.set()

    async def _load_older(self) -> None:
        while not self._all_loaded:
            await self._wants_older.wait()
            first = self._log.first
            assert first is not None
            try:
                page = await history_before(self._room.address, first.id, PAGE)
            except ClientError as error:
                self._log.note(f"Older messages cannot be loaded: {one_line(str(error))}")
                self._terminal.draw_soon()
                await trio.sleep(_AGAIN)
            else:
                self._all_loaded = len(page) < PAGE
                if self._log.first is first:
                    self._log.add_older(page)
            self._wants_older = trio.Event()
            self._terminal.draw_soon()

    async def _say(
        self, own: Own, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        try:
            await self._room.say(own.text, id=own.id, task_status=task_status)
        except NotStoredError as error:
            self._log.fail(own.id, str(error))
            self._leave_if_done()
            self._terminal.draw_soon()

    def _leave_if_done(self) -> None:
        """Leave if the user wants to and nothing waits to be stored."""
        if self._leaving and not self._log.pending:
            self._leave.cancel()

    # What the user does

    def _key(self, key: str) -> None:
        """Handle a key that the input line has no use for."""
        match key:
            case "page up":
                self._scrollback.scroll(1)
            case "page down":
                self._scrollback.scroll(-1)
            case "shift up":
                self._scrollback.scroll_rows(1)
            case "shift down":
                self._scrollback.scroll_rows(-1)
            case "ctrl end":
                self._scrollback.to_end()
            case "ctrl d":
                self._quit()

    def _enter(self, text: str) -> bool:
        """Do what the input line says; return False if it must stay there for now."""
        self._scrollback.to_end()
        if text.startswith("/") and not text.startswith("//"):
            self._command(text.split()[0])
        else:
            me = self._room.me
            text = text[1:] if text.startswith("//") else text
            own = self._log.say(text, me.name if me else "")
            if not self._put(own):
                self._log.take_back(own)
                return False
        self._terminal.draw_soon()
        return True

    def _quit(self) -> None:
        if self._log.pending:
            self._log.note("Leaving once everything is stored. Ctrl-C leaves at once.")
        self._leaving = True
        self._leave_if_done()
        self._terminal.draw_soon()

    def _put(self, own: Own) -> bool:
        try:
            self._said.send_nowait(own)
        except trio.WouldBlock:
            self._log.note("Too much waits to be stored.")
            self._terminal.draw_soon()
            return False
        return True

    def _command(self, command: str) -> None:
        match command:
            case "/quit":
                self._quit()
            case "/help":
                self._log.note(_HELP)
            case "/link":
                self._log.note(self._room.address.page)
            case "/who":
                self._log.note(self._who())
            case "/retry":
                for own in self._log.failed:
                    if not self._put(self._log.repeat(own)):
                        self._log.fail(own.id, own.failure or "")
            case _:
                self._log.note(f"There is no {one_line(command)}. /help lists the commands.")


async def run_screen(address: RoomAddress, *, bell: bool) -> int:
    """Be in a room on this terminal; return the exit code. Raises what has ended the room."""
    async with join(address, wait=False) as room:
        try:
            await RoomScreen(room, bell=bell).run()
        except OSError:
            # Python still has something to write when it exits; failing changes the exit code.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGHUP
    return 0
