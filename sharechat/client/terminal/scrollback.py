"""The part of the screen that shows the room's messages."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import urwid

from sharechat.client.terminal.log import Day, Heard, Item, Log, Note, Own
from sharechat.client.terminal.text import (
    LINK,
    Row,
    clock,
    colour_of,
    day_line,
    harmless,
    one_line,
    wrap,
)
from sharechat.domain.messages import MessageType

_INDENT = 8
"""Columns before a message's text, in all rows but its first: as wide as a time and a mark."""

Markup = str | tuple[str, str]


class Scrollback(urwid.Widget):
    """Shows the end of a log, or what the reader has scrolled back to, which stays in place."""

    _sizing = frozenset((urwid.Sizing.BOX,))
    _selectable = False

    def __init__(self, log: Log, near_top: Callable[[], None]) -> None:
        super().__init__()
        self._log = log
        self._near_top = near_top
        # The item at the bottom of the screen, and how many of its rows are below; None to
        # follow the end.
        self._anchor: tuple[object, int] | None = None
        self._size = (80, 24)

    def refresh(self) -> None:
        """Show what has changed in the log."""
        self._invalidate()

    def to_end(self) -> None:
        self._anchor = None
        self._log.read()
        self._invalidate()

    def scroll(self, pages: float) -> None:
        """Scroll by so many pages, back if the number is positive."""
        _, rows = self._size
        self.scroll_rows(round(pages * max(rows - 1, 1)))

    def scroll_rows(self, count: int) -> None:
        """Scroll by so many rows, back if the number is positive."""
        columns, rows = self._size
        items = self._log.items
        index, below = self._position(items, columns)
        below += count
        while 0 <= index < len(items) and below < 0:
            index += 1
            below += _height(items[index], columns) if index < len(items) else 0
        if index >= len(items):
            self.to_end()
            return
        # No further back than to where the oldest row is the first on the screen.
        above, top = 0, index
        while top >= 0 and above < 2 * rows + below:
            above += _height(items[top], columns)
            top -= 1
        if above < 2 * rows + below:
            self._near_top()
        below = min(below, max(above - rows, 0))
        while index > 0 and below >= (height := _height(items[index], columns)):
            below -= height
            index -= 1
        if index == len(items) - 1 and below <= 0:
            self.to_end()
            return
        self._anchor = (items[index].key, below)
        self._log.scrolled_back = True
        self._invalidate()

    def render(self, size: tuple[int, int], focus: bool = False) -> urwid.Canvas:  # noqa: ARG002
        self._size = columns, rows = size
        items = self._log.items
        index, below = self._position(items, columns)
        canvases: list[urwid.Canvas] = []
        height = 0
        while index >= 0 and height < rows + below:
            canvases.append(_canvas(items[index], columns))
            height += canvases[-1].rows()
            index -= 1
        if not canvases:
            return urwid.SolidCanvas(" ", columns, rows)
        combined = urwid.CanvasCombine([(canvas, None, False) for canvas in reversed(canvases)])
        combined.pad_trim_top_bottom(rows + below - height, -below)
        return combined

    def _position(self, items: Sequence[Item], columns: int) -> tuple[int, int]:
        """Return the index of the item at the bottom, and how many of its rows are below."""
        if self._anchor is not None:
            key, below = self._anchor
            for index in range(len(items) - 1, -1, -1):
                if items[index].key == key:
                    return index, min(below, _height(items[index], columns) - 1)
        return len(items) - 1, 0


class _Hanging(urwid.TextLayout):
    """Indents all rows but the first, and keeps links whole."""

    def supports_align_mode(self, align: object) -> bool:
        return align == "left"

    def supports_wrap_mode(self, wrap: object) -> bool:
        return wrap == "space"

    def layout(self, text: str, width: int, *_: object) -> list[list[tuple[int | None, ...]]]:
        lines = []
        for indent, start, end in _wrap(text, width):
            # urwid drops a row that begins with a segment of no width.
            line: list[tuple[int | None, ...]] = [(indent, None)] if indent else []
            if start < end:
                line.append((urwid.calc_width(text, start, end), start, end))
            lines.append(line)
        return lines

    def pack(self, maxcol: int, _: object) -> int:
        return maxcol


_hanging = _Hanging()


def _wrap(text: str, columns: int) -> list[Row]:
    return wrap(text, columns, _INDENT, lambda *where: urwid.calc_text_pos(*where)[0])


def _height(item: Item, columns: int) -> int:
    return _canvas(item, columns).rows()


@lru_cache(maxsize=1000)
def _canvas(item: Item, columns: int) -> urwid.Canvas:
    if isinstance(item, Day):
        shown = ("faint", f"── {day_line(item.day)} ──")
        return urwid.Text(shown, "center", "clip").render((columns,))
    return urwid.Text(markup(item), layout=_hanging).render((columns,))


def markup(item: Heard | Own | Note) -> list[Markup]:
    """Return how an item is shown."""
    if isinstance(item, Note):
        return [("note", item.text)]
    if isinstance(item, Own):
        mark, style = ("…", "faint") if item.failure is None else ("!", "failure")
        who: list[Markup] = [_name(item.name, "own"), "  "] if item.name else []
        text = harmless(item.text)
        if item.failure is not None:
            text += f"\nNot stored: {one_line(item.failure)} /retry says it again."
        return [("faint", clock(item.when)), (style, f" {mark} "), *who, (style, text)]
    message = item.message
    when: Markup = ("faint", f"{clock(message.sent)}   ")
    if message.type is not MessageType.CHAT:
        return [when, ("faint", one_line(message.text))]
    name = _name(message.member_name, "own" if item.mine else "name")
    return [when, name, "  ", *_linked(harmless(message.text))]


def _name(name: str, style: str) -> Markup:
    return f"{style} {colour_of(name)}", one_line(name)


def _linked(text: str) -> list[Markup]:
    pieces: list[Markup] = []
    end = 0
    for link in LINK.finditer(text):
        pieces += [text[end : link.start()], ("link", link[0])]
        end = link.end()
    return [*pieces, text[end:]]
