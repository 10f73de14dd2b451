"""The simulation as a test: as many histories as a few seconds allow, always the same ones."""

import pytest

from tests.simulation.breaks import BREAKS
from tests.simulation.focus import history_number
from tests.simulation.history import Action, BusKind, History, Limits, Op, from_text, to_text
from tests.simulation.hunt import hunt
from tests.simulation.simulate import simulate

# They compute all the time, so beside other work they take a multiple of it.
pytestmark = pytest.mark.time_limit(300)


def test_no_history_violates_an_invariant() -> None:
    finding = hunt(0, 100)
    assert finding is None, f"\n{finding}"


@pytest.mark.parametrize("number", range(15))
def test_a_history_replays_exactly(number: int) -> None:
    history = history_number(number)
    assert simulate(history) == simulate(from_text(to_text(history)))


@pytest.mark.parametrize("name", BREAKS)
def test_the_simulation_finds_a_broken_protocol(name: str) -> None:
    broken = BREAKS[name]
    with broken.apply():
        assert hunt(broken.first, 1000, broken.focus) is not None


def test_a_process_that_fails_to_start_is_asked_for_nothing() -> None:
    outage, start = Op(0, Action.OUTAGE, variant=5), Op(0, Action.START)
    requests = [Op(0, Action.DELETE, target=1)] * 6
    history = History(
        seed=0,
        processes=1,
        initial_members=0,
        limits=Limits.REAL,
        bus=BusKind.FAKE,
        old_entries=0,
        patience=0,
        quiet_time=0,
        ops=(outage, start, *requests),
    )
    assert not simulate(history).violations
