"""The line in which one writes."""

import re
from collections.abc import Callable

import urwid

from sharechat.client.terminal.text import is_harmless

MAX_HISTORY = 200
"""How many lines can be had back with the arrow keys."""

MAX_ROWS = 6
"""Rows of the screen that a long text takes while it is written."""

MAX_PASTED = 100_000
"""Characters that are taken from what is pasted; no message may be longer."""

_WORD = re.compile(r"\w+")


class InputLine(urwid.Edit):
    """An Edit with a history and the usual keys; `enter` returns whether it took the text."""

    def __init__(self, enter: Callable[[str], bool]) -> None:
        super().__init__("> ", multiline=True)
        self._enter = enter
        # What has been pasted so far, which goes in at once: for each character it would be slow.
        self._pasted: list[str] | None = None
        # The last one is what is being written.
        self._history: list[str] = [""]
        self._position = 0

    def valid_char(self, ch: str) -> bool:
        return len(ch) == 1 and is_harmless(ch)

    def keypress(self, size: tuple[int], key: str) -> str | None:
        if key == "begin paste" or self._pasted is not None:
            self._paste(key)
            return None
        if key == "enter":
            self._submit()
            return None
        if key == "ctrl d" and self.edit_text:
            key = "delete"
        if (action := self._ACTIONS.get(key)) is not None:
            action(self)
            return None
        rest = super().keypress(size, key)
        if rest in ("up", "down"):
            self._recall(-1 if rest == "up" else 1)
            return None
        return rest

    def _paste(self, key: str) -> None:
        """Take a key as a part of what is pasted: a line feed does not end the text."""
        if key == "begin paste":
            self._pasted = []
        elif key == "end paste":
            self.insert_text("".join(self._pasted or ()))
            self._pasted = None
        elif self._pasted is not None and len(self._pasted) < MAX_PASTED:
            if self.valid_char(key):
                self._pasted.append(key)
            else:
                self._pasted.append({"enter": "\n", "tab": "    "}.get(key, ""))

    def _submit(self) -> None:
        text = self.edit_text
        if not text.strip() or not self._enter(text):
            return
        if self._history[-2:-1] != [text]:
            self._history[-1:] = [text, ""]
        del self._history[:-MAX_HISTORY]
        self._position = len(self._history) - 1
        self.set_edit_text("")

    def _recall(self, step: int) -> None:
        position = self._position + step
        if not 0 <= position < len(self._history):
            return
        if self._position == len(self._history) - 1:
            self._history[-1] = self.edit_text
        self._position = position
        self.set_edit_text(self._history[position])
        self.set_edit_pos(len(self.edit_text))

    def _replace(self, start: int, end: int) -> None:
        """Remove a part of the text, and put the cursor there."""
        self.set_edit_text(self.edit_text[:start] + self.edit_text[end:])
        self.set_edit_pos(start)

    def _word_start(self) -> int:
        starts = [word.start() for word in _WORD.finditer(self.edit_text, 0, self.edit_pos)]
        return starts[-1] if starts else 0

    def _word_end(self) -> int:
        word = _WORD.search(self.edit_text, self.edit_pos)
        return word.end() if word else len(self.edit_text)

    _ACTIONS: dict[str, Callable[["InputLine"], None]] = {  # noqa: RUF012 - a constant
        "ctrl a": lambda self: self.set_edit_pos(0),
        "ctrl e": lambda self: self.set_edit_pos(len(self.edit_text)),
        "ctrl k": lambda self: self._replace(self.edit_pos, len(self.edit_text)),
        "ctrl u": lambda self: self._replace(0, self.edit_pos),
        "ctrl w": lambda self: self._replace(self._word_start(), self.edit_pos),
        "meta d": lambda self: self._replace(self.edit_pos, self._word_end()),
        "meta b": lambda self: self.set_edit_pos(self._word_start()),
        "meta f": lambda self: self.set_edit_pos(self._word_end()),
        "ctrl left": lambda self: self.set_edit_pos(self._word_start()),
        "ctrl right": lambda self: self.set_edit_pos(self._word_end()),
        "meta enter": lambda self: self.insert_text("\n"),
    }


class AtMostRows(urwid.WidgetDecoration[InputLine]):
    """Shows MAX_ROWS of the input line, those around the cursor."""

    _sizing = frozenset((urwid.Sizing.FLOW,))
    _selectable = True

    def rows(self, size: tuple[int], focus: bool = False) -> int:
        return min(MAX_ROWS, self.original_widget.rows(size, focus))

    def keypress(self, size: tuple[int], key: str) -> str | None:
        return self.original_widget.keypress(size, key)

    def get_cursor_coords(self, size: tuple[int]) -> tuple[int, int] | None:
        x, y = self.original_widget.get_cursor_coords(size)
        return x, y - self._hidden(y)

    def render(self, size: tuple[int], focus: bool = False) -> urwid.Canvas:
        canvas = urwid.CompositeCanvas(self.original_widget.render(size, focus))
        _, y = self.original_widget.get_cursor_coords(size)
        canvas.trim(self._hidden(y), self.rows(size, focus))
        return canvas

    @staticmethod
    def _hidden(cursor: int) -> int:
        return max(0, cursor - MAX_ROWS + 1)
