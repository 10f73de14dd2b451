"""Names: two random words in title case, from many."""

import re
from collections.abc import Callable

import pytest

from sharechat.domain import names

KINDS = [names.room_name, names.member_name]


@pytest.mark.parametrize("make", KINDS)
def test_a_name_is_two_words_in_title_case(make: Callable[[], str]) -> None:
    for _ in range(500):
        assert re.fullmatch(r"[A-Z][a-z]+ [A-Z][a-z]+", make())


@pytest.mark.parametrize("make", KINDS)
def test_two_names_are_seldom_the_same(make: Callable[[], str]) -> None:
    assert len({make() for _ in range(100)}) > 90


def test_a_member_name_begins_with_a_colour_and_a_room_name_with_another_adjective() -> None:
    rooms = [names.room_name().split() for _ in range(5000)]
    members = [names.member_name().split() for _ in range(5000)]
    adjectives, room_nouns = ({name[i] for name in rooms} for i in (0, 1))
    colours, member_nouns = ({name[i] for name in members} for i in (0, 1))
    assert "Imperfect" in adjectives
    assert "Teal" in colours
    assert "Teal" not in adjectives
    assert "Heron" in room_nouns & member_nouns
