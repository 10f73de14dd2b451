"""The sequencer takes entries in any order and any number of times; each comes out once."""

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


def test_entries_that_come_in_order_are_returned_immediately() -> None:
    sequencer = Sequencer(0)
    assert seqs(sequencer.take(entries(1, 2))) == [1, 2]
    assert seqs(sequencer.take(entries(3))) == [3]
    assert (sequencer.position, sequencer.head, sequencer.behind) == (3, 3, False)


def test_entries_up_to_the_initial_position_are_dropped() -> None:
    sequencer = Sequencer(10)
    assert not sequencer.behind
    assert seqs(sequencer.take(entries(9, 10, 11))) == [11]


def test_a_repeated_entry_is_returned_once() -> None:
    sequencer = Sequencer(0)
    assert seqs(sequencer.take(entries(1, 1, 2, 1, 2))) == [1, 2]
    assert seqs(sequencer.take(entries(1, 2))) == []


def test_an_early_entry_waits_for_the_missing_ones() -> None:
    sequencer = Sequencer(0)
    assert seqs(sequencer.take(entries(3, 2))) == []
    assert sequencer.behind
    assert seqs(sequencer.take(entries(1))) == [1, 2, 3]
    assert not sequencer.behind


def test_filling_one_gap_leaves_the_next_one_open() -> None:
    sequencer = Sequencer(0)
    assert seqs(sequencer.take(entries(2, 5, 1))) == [1, 2]
    assert (sequencer.position, sequencer.head, sequencer.behind) == (2, 5, True)
    assert seqs(sequencer.take(entries(3, 4))) == [3, 4, 5]


def test_a_sequencer_is_behind_if_it_expects_more_than_it_has_returned() -> None:
    sequencer = Sequencer(3)
    sequencer.expect(2)
    states = [sequencer.behind]
    sequencer.expect(5)
    states.append(sequencer.behind)
    assert seqs(sequencer.take(entries(4, 5))) == [4, 5]
    assert [*states, sequencer.behind] == [False, True, False]


def test_early_entries_beyond_the_capacity_are_expected_but_not_kept() -> None:
    sequencer = Sequencer(0, capacity=2)
    sequencer.take(entries(5, 4, 3, 2))
    assert seqs(sequencer.take(entries(1))) == [1]
    assert sequencer.behind
    assert seqs(sequencer.take(entries(2, 3))) == [2, 3, 4, 5]


def test_an_entry_that_is_not_kept_is_expected_nevertheless() -> None:
    sequencer = Sequencer(0, capacity=2)
    sequencer.take(entries(2, 3, 4))
    assert seqs(sequencer.take(entries(1))) == [1, 2, 3]
    assert (sequencer.head, sequencer.behind) == (4, True)


@pytest.mark.parametrize("seed", range(20))
def test_entries_in_any_order_with_repeats_are_all_returned_once_in_order(seed: int) -> None:
    random = Random(seed)
    sequencer = Sequencer(0, capacity=8)
    returned: list[int] = []
    log = entries(*range(1, 31))
    while sequencer.position < len(log):
        some = random.choices(log, k=5) + random.sample(log, k=3)
        returned += seqs(sequencer.take(some))
        if sequencer.behind and random.random() < 0.3:  # Read what is missing, as a room does.
            returned += seqs(sequencer.take(log[sequencer.position : sequencer.position + 4]))
    assert returned == list(range(1, 31))
