"""urwid on trio: one loop, in which drawing is a task."""

import errno
import os
from collections.abc import Callable, Mapping, Sequence

import trio
import urwid

from sharechat.client.terminal.text import COLOURS

_BETWEEN_DRAWINGS = 0.02
"""Seconds; a room in which much is said is drawn no more often than this."""

_READ = 16 * 1024
"""Bytes that are read at a time."""

_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"

_FEW_COLOURS = ("dark red", "dark green", "dark magenta", "dark cyan")
"""For terminals with 16 colours, whose exact shades the user has chosen."""

_GREY = "h244"


def palette() -> list[tuple[str, ...]]:
    """Return what each style is: with 16 colours, without colours, and with 256."""
    names = []
    for number, colour in enumerate(COLOURS):
        few = _FEW_COLOURS[number % len(_FEW_COLOURS)]
        names.append((f"name {colour}", few, "", "", colour, ""))
        names.append((f"own {colour}", f"{few},bold", "", "bold", f"{colour},bold", ""))
    return [
        *names,
        ("bar", "standout", "", "standout", "standout", ""),
        ("faint", "", "", "", _GREY, ""),
        ("note", "bold", "", "bold", "bold", ""),
        ("link", "underline", "", "underline", "underline", ""),
        ("failure", "dark red,bold", "", "bold", "#f00,bold", ""),
    ]


def count_colours(environment: Mapping[str, str]) -> int:
    """Return how many colours to use: 1 is none."""
    if environment.get("NO_COLOR"):
        return 1
    many = "256color" in environment.get("TERM", "") or "COLORTERM" in environment
    return 256 if many else 16


class _Screen(urwid.display.raw.Screen):
    """A screen whose terminal does not wrap, and may go away.

    Terminals disagree on the width of some emoji. If a row gets wider than urwid has computed,
    it must not run over the next one.
    """

    def _read_raw_input(self, timeout: int) -> bytearray:
        # That of urwid reads until nothing is left, and so for ever once the terminal is gone.
        if self._input_fileno() not in self._wait_for_input_ready(timeout):
            return bytearray()
        if not (data := os.read(self._input_fileno(), _READ)):
            raise OSError(errno.EIO, "The terminal is gone")
        return bytearray(data)

    def start(self, *args: object, **more: object) -> object:
        started = super().start(*args, **more)
        self.write(_NO_WRAP)
        return started

    def stop(self) -> object:
        self.write(_WRAP)
        return super().stop()


class Terminal:
    """Draws a widget on the terminal and gives it the keys; `key` gets those that are left."""

    def __init__(
        self,
        widget: urwid.Widget,
        *,
        key: Callable[[str], None],
        before_drawing: Callable[[], None],
    ) -> None:
        self._before_drawing = before_drawing
        self._changed = trio.Event()
        self._events = urwid.TrioEventLoop()
        self._screen = _Screen(bracketed_paste_mode=True)
        self._screen.register_palette(palette())
        self._screen.set_terminal_properties(colors=count_colours(os.environ))
        # The terminals that are left understand it, whatever the locale is.
        urwid.set_encoding("utf-8")
        self._loop = _Loop(
            widget,
            screen=self._screen,
            handle_mouse=False,
            event_loop=self._events,
            input_filter=self._filter,
            unhandled_input=lambda pressed: key(pressed) if isinstance(pressed, str) else None,
        )

    async def run(self) -> None:
        """Draw and read keys until cancelled; then leave the terminal as it was."""
        with self._loop.start():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._draw)
                await self._events.run_async()

    def draw_soon(self) -> None:
        self._changed.set()

    def ring(self) -> None:
        self._screen.write("\a")

    async def _draw(self) -> None:
        while True:
            self._changed = trio.Event()
            if self._screen.started:
                self._before_drawing()
                self._loop.draw_screen()
            await trio.sleep(_BETWEEN_DRAWINGS)
            await self._changed.wait()

    def _filter(self, keys: list[str], _raw: Sequence[int]) -> list[str]:
        self.draw_soon()
        return keys


class _Loop(urwid.MainLoop):
    """Does not draw by itself, which would happen where trio drops what is raised."""

    def entering_idle(self) -> None:
        pass
