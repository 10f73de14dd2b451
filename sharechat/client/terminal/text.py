"""Pure functions over what is shown: harmless text, colours, times, lines that keep links whole."""

import re
import unicodedata
from collections.abc import Callable
from datetime import date, datetime
from typing import NamedTuple
from zlib import crc32

MAX_COMBINING = 8
"""Combining marks that one character may have; more would be drawn over other lines."""

# Joiners, which emoji and several scripts need, and the marks that say which way punctuation
# goes. Other format characters hide text, or reorder what stands around them.
_HARMLESS_FORMATS = frozenset("\u200c\u200d\u200e\u200f\u061c")

_SUBDIVISION_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{1,7}\U000e007f")

LINK = re.compile(r"https?://[^\s<>\"`]+")

COLOURS = (
    *("#a66", "#f00", "#d60", "#a60", "#680", "#080", "#086", "#088", "#08a"),
    *("#08d", "#06f", "#66f", "#86d", "#a0f", "#a6a", "#d0d", "#d0a", "#d06"),
)
"""Colours, of the usual 256, that have a contrast of 3.8 with black as well as with white."""


def harmless(text: str) -> str:
    """Return `text` with everything visible that could act on a terminal or hide something.

    Line feeds stay, except at the end: programs that send lines, as websocat does, end every
    message with one. Control characters, bidirectional overrides and invisible characters
    become visible, and marks beyond MAX_COMBINING are dropped.
    """
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    shown: list[str] = []
    marks = 0
    position = 0
    while position < len(text):
        if flag := _SUBDIVISION_FLAG.match(text, position):
            shown.append(flag[0])
            position = flag.end()
            continue
        char = text[position]
        position += 1
        category = unicodedata.category(char)
        if category in ("Mn", "Me"):
            if not shown or shown[-1] == "\n":
                shown.append("\N{DOTTED CIRCLE}")
            marks += 1
            if marks <= MAX_COMBINING:
                shown.append(char)
            continue
        marks = 0
        shown.append(_visible(char, category))
    return "".join(shown).rstrip("\n")


def _visible(char: str, category: str) -> str:
    if char == "\n":
        return char
    if char == "\t":
        return "    "
    if char < " ":
        return chr(0x2400 + ord(char))  # A picture of the control character.
    if char == "\x7f":
        return "\N{SYMBOL FOR DELETE}"
    if category in ("Cc", "Cs") or (category == "Cf" and char not in _HARMLESS_FORMATS):
        return f"<U+{ord(char):04X}>"
    return char


def is_harmless(char: str) -> bool:
    """Return whether a single character can be shown as it is."""
    category = unicodedata.category(char)
    return category in ("Mn", "Me") or _visible(char, category) == char


def one_line(text: str) -> str:
    """Return `text` as `harmless` does, on one line."""
    return harmless(text).replace("\n", "\N{RETURN SYMBOL}")


def colour_of(name: str) -> str:
    """Return the colour of a name, which is always the same."""
    return COLOURS[crc32(name.encode()) % len(COLOURS)]


def local_day(when: datetime) -> date:
    """Return the day of a moment, here."""
    return when.astimezone().date()


def clock(when: datetime) -> str:
    """Return the time of a moment, here."""
    return f"{when.astimezone():%H:%M}"


def day_line(day: date) -> str:
    return f"{day:%A}, {day.day} {day:%B %Y}"


class Row(NamedTuple):
    """One row of a text that has been wrapped: `text[start:end]`, moved to the right."""

    indent: int
    start: int
    end: int


def wrap(
    text: str, columns: int, indent: int, position: Callable[[str, int, int, int], int]
) -> list[Row]:
    """Return the rows of `text`; all rows but the first are indented.

    Words are kept whole if they fit into a row, and links if they fit into one that is not
    indented. `position(text, start, end, columns)` returns where the part of the text that fits
    into the columns ends.
    """
    if columns <= 2 * indent:
        indent = 0
    rows: list[Row] = []
    start, line_end = 0, _line_end(text, 0)
    links = [match.span() for match in LINK.finditer(text)]
    while True:
        margin = indent if rows else 0
        room = columns - margin
        end = position(text, start, line_end, room)
        if end >= line_end:
            rows.append(Row(margin, start, line_end))
            if line_end >= len(text):
                return rows
            start, line_end = line_end + 1, _line_end(text, line_end + 1)
            continue
        end = max(end, start + 1)
        link = next(((a, b) for a, b in links if a < end < b or (a == start and end < b)), None)
        if link is not None and link[0] > start:
            end = link[0]  # The link gets a row of its own.
        elif link is not None and margin:
            # As wide as can be, so that the link is whole if that is at all possible.
            whole = min(link[1], position(text, start, line_end, columns))
            rows.append(Row(0, start, whole))
            start = _skip_space(text, whole, line_end)
            if start == line_end == len(text):
                return rows
            continue
        elif text[end] != " " and (space := text.rfind(" ", start + 1, end)) > 0:
            end = space
        rows.append(Row(margin, start, _trim_end(text, start, end)))
        start = _skip_space(text, end, line_end)


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end == -1 else end


def _skip_space(text: str, start: int, end: int) -> int:
    return start + 1 if start < end and text[start] == " " else start


def _trim_end(text: str, start: int, end: int) -> int:
    return end - 1 if end - 1 > start and text[end - 1] == " " else end
