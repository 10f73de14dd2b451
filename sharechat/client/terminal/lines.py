"""The room without a screen: lines in, lines out."""

import re
import sys
from uuid import uuid4

import click
import trio

from sharechat.client.addresses import RoomAddress
from sharechat.client.errors import ClientError, NotStoredError, UnreachableError
from sharechat.client.room import JoinedRoom, Phase, join
from sharechat.client.terminal import stdio
from sharechat.client.terminal.text import one_line
from sharechat.client.websocket import unwrapped
from sharechat.domain.messages import Message, MessageType, to_json

# JSON escapes the other control characters by itself.
_ACTIVE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class Lines:
    """Says each line that comes in and prints each message that is heard."""

    def __init__(
        self,
        room: JoinedRoom,
        *,
        json: bool,
        patience: float,
        stdin: int | None = 0,
        stdout: int | None = 1,
    ) -> None:
        self._room = room
        self._json = json
        self._patience = patience
        self._stdin = stdin
        self._stdout = stdout
        self._all_stored = True
        # What was said and has not been printed; `_printed` tells of each change.
        self._unprinted: set[str] = set()
        self._printed = trio.Event()

    async def run(self) -> bool:
        """Run until the end of the input; return whether all that was said has been stored.

        Raises what has ended the room, UnreachableError if there is no connection for too long,
        and OSError if the output cannot be written.
        """
        async with unwrapped(), trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            nursery.start_soon(self._print)
            await self._room.connected()
            async with trio.open_nursery() as saying:
                if self._stdin is not None:
                    async for line in stdio.read_lines(self._stdin):
                        if line:
                            await saying.start(self._say, line)
            while self._unprinted:
                await self._printed.wait()
            nursery.cancel_scope.cancel()
        return self._all_stored

    async def _watch(self) -> None:
        """Tell of a connection that is lost. Raises UnreachableError if it is not regained."""
        told = False
        while True:
            with trio.move_on_after(self._patience) as patience:
                while (state := self._room.state).phase is not Phase.CONNECTED:
                    if state.phase is Phase.ENDED:
                        raise state.error or ClientError("The room has been left.")
                    if state.error is not None and not told:
                        told = True
                        tell(f"{state.error} Trying again for {self._patience:g} seconds.")
                    await self._room.state_change()
            if patience.cancelled_caught:
                raise state.error or UnreachableError("The server cannot be reached.")
            if told:
                told = False
                tell("Connected.")
            while self._room.state.phase is Phase.CONNECTED:
                await self._room.state_change()

    async def _print(self) -> None:
        async for message in self._room:
            if self._stdout is not None:
                await stdio.write(self._stdout, self.line(message) + "\n")
            if message.id in self._unprinted:
                self._forget(message.id)

    async def _say(
        self, text: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        id_ = str(uuid4())
        self._unprinted.add(id_)
        try:
            await self._room.say(text, id=id_, task_status=task_status)
        except NotStoredError as error:
            self._all_stored = False
            self._forget(id_)
            tell(f"Not stored: {error} It was: {_beginning(text)}")

    def _forget(self, id_: str) -> None:
        self._unprinted.discard(id_)
        self._printed.set()
        self._printed = trio.Event()

    def line(self, message: Message) -> str:
        """Return the line for a message."""
        if self._json:
            return _ACTIVE.sub(lambda match: f"\\u{ord(match[0]):04x}", to_json(message).decode())
        when = f"{message.sent.astimezone():%Y-%m-%d %H:%M:%S}"
        if message.type is MessageType.CHAT:
            return f"{when} {one_line(message.member_name)}: {one_line(message.text)}"
        return f"{when} * {one_line(message.text)}"


async def run_lines(address: RoomAddress, *, json: bool, patience: float) -> bool:
    """Be in a room by standard input and output. See `Lines.run`."""
    # If a descriptor was closed, its number may be that of anything.
    stdin = None if sys.stdin is None else 0
    stdout = None if sys.stdout is None else 1
    async with join(address, wait=False) as room:
        lines = Lines(room, json=json, patience=patience, stdin=stdin, stdout=stdout)
        return await lines.run()


def tell(text: str) -> None:
    click.echo(f"sharechat: {one_line(text)}", err=True)


def _beginning(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"
