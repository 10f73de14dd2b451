"""A command in a pseudo-terminal, read by a terminal emulator."""

import fcntl
import os
import struct
import subprocess
import termios
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pyte
import trio

from tests.harness.deadline import DEADLINE
from tests.harness.process import BIN, environment

_POLL = 0.02
"""Seconds between two looks at what is not on the screen, such as whether the command has ended."""


class Terminal:
    """What a user would see and do."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int, columns: int, rows: int) -> None:
        self._process = process
        self._fd = fd
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        """All that the command has written."""
        self._changed = trio.Event()

    @property
    def rows(self) -> list[str]:
        return [row.rstrip() for row in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.rows)

    @property
    def input_row(self) -> str:
        return self.rows[-1]

    @property
    def cursor(self) -> tuple[int, int]:
        return self._screen.cursor.x, self._screen.cursor.y

    def colour_of(self, text: str) -> str:
        """Return the foreground colour where a text begins."""
        y = next(number for number, row in enumerate(self.rows) if text in row)
        char = self._screen.buffer[y][self.rows[y].index(text)]
        return str(char.fg)

    @property
    def colours(self) -> set[str]:
        return {
            str(colour)
            for row in self._screen.buffer.values()
            for char in row.values()
            for colour in (char.fg, char.bg)
        }

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def enter(self, text: str) -> None:
        self.type(f"{text}\r")

    def resize(self, columns: int, rows: int) -> None:
        self._screen.resize(rows, columns)
        _set_size(self._fd, columns, rows)

    def hang_up(self) -> None:
        """Close the terminal, as if its window was closed."""
        trio.lowlevel.notify_closing(self._fd)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, self._fd)  # Its number stays taken until it is closed at the end.
        os.close(nothing)

    def row_with(self, text: str) -> str:
        """Return the first row that has a text, "" if there is none."""
        return next((row for row in self.rows if text in row), "")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds. Raises AssertionError, with what is on the screen."""
        with trio.move_on_after(DEADLINE) as patience:
            while not condition():
                # Not every condition is about what the command writes.
                with trio.move_on_after(_POLL):
                    await self._changed.wait()
        if patience.cancelled_caught:
            raise AssertionError(f"the screen does not get there:\n{self.text}")

    async def shows(self, text: str) -> None:
        """Wait until the text is somewhere on the screen."""
        await self.until(lambda: text in self.text)

    async def exit_code(self) -> int:
        await self.until(lambda: self._process.poll() is not None)
        return int(self._process.returncode)

    async def read(self) -> None:
        """Feed the emulator until the command has closed its terminal."""
        with suppress(OSError, trio.ClosedResourceError):  # EIO is a terminal's end.
            while True:
                await trio.lowlevel.wait_readable(self._fd)
                data = os.read(self._fd, 65536)
                self.written += data
                self._stream.feed(data)
                self._changed.set()
                self._changed = trio.Event()


@asynccontextmanager
async def open_terminal(
    arguments: Sequence[str], *, columns: int = 80, rows: int = 24, **variables: str
) -> AsyncIterator[Terminal]:
    """Run `sharechat` with these arguments in a terminal of its own, and kill it at the end."""
    ours, theirs = os.openpty()
    _set_size(ours, columns, rows)
    env = environment(**{"TERM": "xterm-256color", "LANG": "C.UTF-8", **variables})
    if "NO_COLOR" not in variables:
        env.pop("NO_COLOR", None)
    process = subprocess.Popen(  # noqa: ASYNC220 - starting it takes a moment only
        [str(BIN / "sharechat"), *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=env,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(theirs)
    terminal = Terminal(process, ours, columns, rows)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(terminal.read)
            yield terminal
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@asynccontextmanager
async def open_room(
    address: str, *options: str, columns: int = 80, rows: int = 24, **variables: str
) -> AsyncIterator[Terminal]:
    """Join a room in a terminal, once it can be seen that it has been joined."""
    arguments = ["join", address, *options]
    async with open_terminal(arguments, columns=columns, rows=rows, **variables) as terminal:
        await terminal.shows("Connected.")
        await terminal.shows("(you)")
        yield terminal


def _take_terminal() -> None:
    """Make standard input the controlling terminal, so that Ctrl-C is a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _set_size(fd: int, columns: int, rows: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
