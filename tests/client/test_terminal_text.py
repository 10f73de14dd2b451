"""What is shown is harmless, readable on any background, and keeps links whole."""

import re
from datetime import UTC, date, datetime

import pytest
import urwid

from sharechat.client.terminal.text import (
    COLOURS,
    MAX_COMBINING,
    clock,
    colour_of,
    day_line,
    harmless,
    is_harmless,
    one_line,
    wrap,
)
from sharechat.domain.names import member_name


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\r\nor\u2028three", "two\nlines\nor\nthree"),
        ("a line of websocat\n", "a line of websocat"),
        ("\x1b[2J\x07\x7f", "␛[2J␇␡"),
        ("\x9b31m\x85", "<U+009B>31m<U+0085>"),
        ("a\tb", "a    b"),
        ("\u202egnp.exe\u202c", "<U+202E>gnp.exe<U+202C>"),
        ("\u2066x\u2069\ufeff\u00ad\u200b", "<U+2066>x<U+2069><U+FEFF><U+00AD><U+200B>"),
        ("\U000e0041\U000e0042", "<U+E0041><U+E0042>"),
        ("\ud800", "<U+D800>"),
        ("שלום עולם, مرحبا", "שלום עולם, مرحبا"),
        ("می‌خواهم", "می‌خواهم"),
        ("👩‍👩‍👧 ❤️ 👍🏽 🇪🇺", "👩‍👩‍👧 ❤️ 👍🏽 🇪🇺"),
        ("\U0001f3f4\U000e0067\U000e0062\U000e007f", "\U0001f3f4\U000e0067\U000e0062\U000e007f"),
        ("\u0301e\u0301", "◌\u0301e\u0301"),
        ("x\n\u0301", "x\n◌\u0301"),
    ],
)
def test_text_is_shown_harmlessly(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_marks_do_not_pile_up_over_other_lines() -> None:
    assert harmless("e" + "\u0301" * 500 + "x") == "e" + "\u0301" * MAX_COMBINING + "x"


def test_no_control_character_is_left() -> None:
    everything = "".join(map(chr, range(0x300)))
    shown = harmless(everything).replace("\n", "")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", shown)
    assert not any(is_harmless(chr(code)) for code in (*range(32), *range(127, 160)) if code != 10)


def test_a_message_of_several_lines_can_be_shown_on_one() -> None:
    assert one_line("a\nb\x1b") == "a⏎b␛"


def test_a_name_always_has_the_same_colour_and_names_differ() -> None:
    names = {member_name() for _ in range(200)}
    assert all(colour_of(name) == colour_of(name) for name in names)
    assert {colour_of(name) for name in names} == set(COLOURS)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_colour_is_readable_on_black_and_on_white(colour: str) -> None:
    # The contrast ratio of the Web Content Accessibility Guidelines, 1.4.3; large text needs 3.
    levels = {"0": 0, "6": 0x5F, "8": 0x87, "a": 0xAF, "d": 0xD7, "f": 0xFF}
    parts = [levels[digit] / 255 for digit in colour[1:]]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert (luminance + 0.05) / 0.05 > 3.5
    assert 1.05 / (luminance + 0.05) > 3.5


def test_times_and_days_are_those_here() -> None:
    noon = datetime(2026, 11, 23, 12, 5, tzinfo=UTC)
    assert clock(noon) == f"{noon.astimezone():%H:%M}"
    assert day_line(date(2026, 11, 3)) == "Tuesday, 3 November 2026"


def rows(text: str, columns: int, indent: int = 4) -> list[str]:
    def position(text: str, start: int, end: int, columns: int) -> int:
        return int(urwid.calc_text_pos(text, start, end, columns)[0])

    urwid.set_encoding("utf-8")
    wrapped = wrap(text, columns, indent, position)
    shown = [" " * row.indent + text[row.start : row.end] for row in wrapped]
    assert all(urwid.calc_width(row, 0, len(row)) <= columns for row in shown)
    return shown


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("", 20, [""]),
        ("short", 20, ["short"]),
        ("one two three four", 12, ["one two", "    three", "    four"]),
        ("a\n\nb\n", 12, ["a", "    ", "    b", "    "]),
        ("abcdefghijklmnopqrst", 12, ["abcdefghijkl", "    mnopqrst"]),
        ("see http://abc.de", 16, ["see", "http://abc.de"]),
        ("日本語テスト日本語", 12, ["日本語テスト", "    日本語"]),
    ],
)
def test_words_are_kept_whole(text: str, columns: int, expected: list[str]) -> None:
    assert rows(text, columns) == expected


def test_a_link_is_kept_whole_even_if_it_takes_a_row_without_indentation() -> None:
    link = "https://example.org/0123456789"
    assert rows(f"look at {link} now", 30) == ["look at", link, "    now"]
    assert rows(f"look at {link}", 36) == ["look at", f"    {link}"]
    assert rows(f"{link} {link}", 30) == [link, link]


def test_a_link_that_is_wider_than_the_screen_fills_rows_from_edge_to_edge() -> None:
    link = "https://example.org/" + "x" * 40
    assert rows(f"at {link} now", 20) == ["at", link[:20], link[20:40], link[40:], "    now"]


def test_a_row_of_one_column_ends_nothing() -> None:
    assert "".join(rows("ab c", 1)).replace(" ", "") == "abc"
