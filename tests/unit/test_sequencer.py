"""Entries in any order, any number of times: each comes out once, in order."""

from datetime import UTC, datetime
from random import Random

import pytest

from sharechat.actors.sequencer import Sequencer
from sharechat.domain.ids import MemberId, new_room_id
from sharechat.domain.messages import Entry, Identity, stamp
from tests.harness.drafts import chat

ROOM = new_room_id()
AUTHOR = Identity(MemberId("m"), "Teal Heron")


def entries(*seqs: int) -> list[Entry]:
    now = datetime.now(UTC)
    return [Entry(seq, stamp(chat(ROOM, AUTHOR, str(seq)), now)) for seq in seqs]


def seqs(taken: list[Entry]) -> list[int]:
    return [entry.seq for entry in taken]


def test_what_comes_in_order_is_given_at_once() -> None:
    sequencer = Sequencer(0)
    assert seqs(sequencer.take(entries(1, 2))) == [1, 2]
    assert seqs(sequencer.take(entries(3))) == [3]
    assert (sequencer.position, sequencer.head, sequencer.behind) == (3, 3, False)


def test_it_begins_after_the_position_it_is_given() -> None:
    sequencer = Sequencer(10)
    assert not sequencer.behind
    assert seqs(sequencer.take(entries(9, 10, 11))) == [11]


def test_what_is_repeated_is_given_once() -> None:
    sequencer = Sequencer(0)
    assert seqs(sequencer.take(entries(1, 1, 2, 1, 2))) == [1, 2]
    assert seqs(sequencer.take(entries(1, 2))) == []


def test_what_is_too_early_waits_for_what_is_missing() -> None:
    sequencer = Sequencer(0)
    assert seqs(sequencer.take(entries(3, 2))) == []
    assert sequencer.behind
    assert seqs(sequencer.take(entries(1))) == [1, 2, 3]
    assert not sequencer.behind


def test_a_second_gap_stays_a_gap() -> None:
    sequencer = Sequencer(0)
    assert seqs(sequencer.take(entries(2, 5, 1))) == [1, 2]
    assert (sequencer.position, sequencer.head, sequencer.behind) == (2, 5, True)
    assert seqs(sequencer.take(entries(3, 4))) == [3, 4, 5]


def test_what_was_only_heard_of_makes_it_behind() -> None:
    sequencer = Sequencer(3)
    sequencer.expect(2)
    states = [sequencer.behind]
    sequencer.expect(5)
    states.append(sequencer.behind)
    assert seqs(sequencer.take(entries(4, 5))) == [4, 5]
    assert [*states, sequencer.behind] == [False, True, False]


def test_more_early_ones_than_it_may_keep_are_known_of_but_not_kept() -> None:
    sequencer = Sequencer(0, capacity=2)
    sequencer.take(entries(5, 4, 3, 2))
    assert seqs(sequencer.take(entries(1))) == [1]
    assert sequencer.behind
    assert seqs(sequencer.take(entries(2, 3))) == [2, 3, 4, 5]


@pytest.mark.parametrize("seed", range(20))
def test_any_order_with_repeats_gives_all_once_in_order(seed: int) -> None:
    random = Random(seed)
    sequencer = Sequencer(0, capacity=8)
    given: list[int] = []
    log = entries(*range(1, 31))
    while sequencer.position < len(log):
        some = random.choices(log, k=5) + random.sample(log, k=3)
        given += seqs(sequencer.take(some))
        if sequencer.behind and random.random() < 0.3:  # a repair
            given += seqs(sequencer.take(log[sequencer.position : sequencer.position + 4]))
    assert given == list(range(1, 31))
